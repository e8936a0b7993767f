// What differs between two documents: every node, edge and note, and every part of the workflow itself, each told once;
// and one document in which both stand together, for a graph that shows it.

import {
  at,
  type EdgeDoc,
  edgeName,
  type GraphDoc,
  type GraphPath,
  isGraph,
  joinPath,
  type Json,
  type JsonObject,
  type NodeDoc,
  type NoteDoc,
  omit,
  record,
  same,
  splitPath,
  type WorkflowDoc,
} from "./document";

/** `moved`: nothing but its place on the canvas differs. */
export type Kind = "added" | "removed" | "changed" | "moved";

/** One value that differs; `undefined` where there is none. */
export interface Part {
  path: readonly string[];
  before: Json | undefined;
  after: Json | undefined;
}

interface Told {
  kind: Kind;
  /** As in `Comparison.both`: the path of a node, that of an edge with its id, `note:` and its id; or a key of the document. */
  name: string;
  parts: readonly Part[];
  /** The whole of it, for a text; without the nodes inside of it, which are told by themselves. */
  before: Json | undefined;
  after: Json | undefined;
}

export type Change =
  /** `elsewhere`: where the node of this id stands in the other document, when it went into or out of a body. */
  | (Told & { about: "node"; elsewhere?: string })
  | (Told & { about: "edge"; path: GraphPath; edge: EdgeDoc })
  | (Told & { about: "note"; note: NoteDoc })
  | (Told & { about: "workflow" });

export interface Comparison {
  /** Everything that stands in either, as it is after where it is in both; edges that are gone may bear another id. */
  both: WorkflowDoc;
  changes: readonly Change[];
}

const DRAWN = ["x", "y", "w", "h", "collapsed"];
const APART = new Set(["nodes", "edges", "layout", "notes"]);

export function compared(before: WorkflowDoc, after: WorkflowDoc): Comparison {
  const changes: Change[] = [];
  for (const key of keys(before, after)) {
    if (APART.has(key)) continue;
    const [one, other] = [at(asObject(before), key), at(asObject(after), key)];
    const parts = differing(one, other, [key]);
    if (parts.length > 0) changes.push({ kind: kindOf(one, other), about: "workflow", name: key, parts, before: one, after: other });
  }
  const graph = unitedGraph(before, after, [], (name) => isMoved(at(before.layout, name), at(after.layout, name)), changes);
  const notes = unitedNotes(before.notes ?? {}, after.notes ?? {}, changes);
  tellOfMoversBetweenGraphs(changes);
  return { both: { ...after, ...graph, notes }, changes };
}

function unitedGraph(
  before: GraphDoc | undefined,
  after: GraphDoc | undefined,
  path: GraphPath,
  hasMoved: (name: string) => boolean,
  changes: Change[],
): GraphDoc {
  const nodes = record<NodeDoc>();
  for (const id of keys(after?.nodes, before?.nodes)) {
    const [one, other] = [at(before?.nodes, id), at(after?.nodes, id)];
    const name = joinPath(path, id);
    const [left, right] = [one && plain(one), other && plain(other)];
    const parts = left && right ? differing(left, right) : [];
    const told = { about: "node" as const, name, parts, before: left, after: right };
    if (!left || !right || parts.length > 0) changes.push({ ...told, kind: kindOf(left, right) });
    else if (hasMoved(name)) changes.push({ ...told, kind: "moved" });
    const [inner, now] = [bodyOf(one), bodyOf(other)];
    const node = (other ?? one)!;
    const body = inner || now ? unitedGraph(inner, now, [...path, id], hasMoved, changes) : undefined;
    nodes[id] = body === undefined ? node : { ...node, config: { ...node.config, body: body as unknown as Json } };
  }
  const edges = unitedEdges(before?.edges ?? {}, after?.edges ?? {}, path, changes);
  return { nodes, edges };
}

/** The same edge is that with the same ends: an id is only a name, which a new edge between other nodes may take over. */
function unitedEdges(
  before: Readonly<Record<string, EdgeDoc>>,
  after: Readonly<Record<string, EdgeDoc>>,
  path: GraphPath,
  changes: Change[],
): Record<string, EdgeDoc> {
  const edges = record<EdgeDoc>();
  const left = new Set(Object.keys(before));
  const partners = new Map<string, string>();
  for (const [id, edge] of Object.entries(after)) {
    const twin = at(before, id);
    if (twin !== undefined && endsOf(twin) === endsOf(edge)) partners.set(id, id);
  }
  for (const id of partners.values()) left.delete(id);
  const byEnds = new Map<string, string[]>();
  for (const id of left) byEnds.set(endsOf(before[id]!), [...(byEnds.get(endsOf(before[id]!)) ?? []), id]);
  for (const [id, edge] of Object.entries(after)) {
    edges[id] = edge;
    const partner = partners.get(id) ?? byEnds.get(endsOf(edge))?.shift();
    const told = { about: "edge" as const, name: edgeName(path, id), path, edge, after: asObject(edge) };
    if (partner === undefined) {
      changes.push({ ...told, kind: "added", parts: [], before: undefined });
      continue;
    }
    left.delete(partner);
    const renamed = partner === id ? [] : [{ path: ["id"], before: partner, after: id }];
    const parts = [...renamed, ...differing(asObject(before[partner]!), asObject(edge))];
    if (parts.length > 0) changes.push({ ...told, kind: "changed", parts, before: asObject(before[partner]!) });
  }
  for (const id of left) {
    let free = id;
    while (Object.hasOwn(edges, free)) free += "~";
    const edge = before[id]!;
    edges[free] = edge;
    const name = edgeName(path, free);
    changes.push({ kind: "removed", about: "edge", name, path, edge, parts: [], before: asObject(edge), after: undefined });
  }
  return edges;
}

/** Groups are open, so that nothing is hidden in them. */
function unitedNotes(before: Readonly<Record<string, NoteDoc>>, after: Readonly<Record<string, NoteDoc>>, changes: Change[]): Record<string, NoteDoc> {
  const notes = record<NoteDoc>();
  for (const id of keys(after, before)) {
    const [one, other] = [at(before, id), at(after, id)];
    const note = (other ?? one)!;
    const { collapsed: _, ...open } = note;
    notes[id] = open;
    const parts = one && other ? differing(asObject(omit(asObject(one), DRAWN)), asObject(omit(asObject(other), DRAWN))) : [];
    const told = { about: "note" as const, name: `note:${id}`, note, parts, before: one && asObject(one), after: other && asObject(other) };
    if (!one || !other || parts.length > 0) changes.push({ ...told, kind: kindOf(told.before, told.after) });
    else if (!same(one, other)) changes.push({ ...told, kind: "moved" });
  }
  return notes;
}

/** Ids are unique in a document, so a node that is gone here and new there is the same one. */
function tellOfMoversBetweenGraphs(changes: Change[]): void {
  const gone = new Map<string, Change>();
  for (const one of changes) if (one.about === "node" && one.kind === "removed") gone.set(splitPath(one.name).id, one);
  for (const one of changes) {
    if (one.about !== "node" || one.kind !== "added") continue;
    const other = gone.get(splitPath(one.name).id);
    if (other?.about !== "node") continue;
    one.elsewhere = other.name;
    other.elsewhere = one.name;
  }
}

function isMoved(one: { x: number; y: number } | undefined, other: { x: number; y: number } | undefined): boolean {
  return one !== undefined && other !== undefined && (one.x !== other.x || one.y !== other.y);
}

function bodyOf(node: NodeDoc | undefined): GraphDoc | undefined {
  const body: unknown = node?.config?.["body"];
  return isGraph(body) ? body : undefined;
}

/** A node without the graph inside of it. */
function plain(node: NodeDoc): JsonObject {
  const body = bodyOf(node);
  if (body === undefined) return asObject(node);
  return { ...asObject(node), config: { ...node.config, body: asObject(omit(asObject(body), ["nodes", "edges"])) } };
}

function kindOf(before: unknown, after: unknown): Kind {
  return before === undefined ? "added" : after === undefined ? "removed" : "changed";
}

/** Every value that differs, as deep inside of objects as it goes; lists are compared as a whole. */
function differing(one: Json | undefined, other: Json | undefined, path: readonly string[] = []): Part[] {
  if (same(one, other)) return [];
  if (!isObject(one) || !isObject(other)) return [{ path, before: one, after: other }];
  return keys(one, other).flatMap((key) => differing(at(one, key), at(other, key), [...path, key]));
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function asObject(value: object): JsonObject {
  return value as JsonObject;
}

/** The keys of the first in its order, then what only the second has. */
function keys(one: object | undefined, other: object | undefined): string[] {
  return [...new Set([...Object.keys(one ?? {}), ...Object.keys(other ?? {})])];
}

function endsOf(edge: EdgeDoc): string {
  return JSON.stringify([edge.from, edge.to, edge.port ?? "out"]);
}

const LONGEST = 80;

/** One difference in plain words: `url changed from “…” to “…”`. */
export function told({ path, before, after }: Part): string {
  const name = (path[0] === "config" && path.length > 1 ? path.slice(1) : path).join(".");
  if (before === undefined) return `${name} set to ${brief(after)}`;
  if (after === undefined) return `${name} removed, was ${brief(before)}`;
  return `${name} changed from ${brief(before)} to ${brief(after)}`;
}

export function brief(value: Json | undefined): string {
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "");
  const short = text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
  return typeof value === "string" ? `“${short}”` : short;
}

/** How many there are of each kind: `2 added, 1 moved only`. */
export function counted(changes: readonly Change[]): string {
  const kinds: readonly Kind[] = ["added", "removed", "changed", "moved"];
  return kinds
    .map((kind) => ({ kind, count: changes.filter((one) => one.kind === kind).length }))
    .filter(({ count }) => count > 0)
    .map(({ kind, count }) => `${count} ${kind === "moved" ? "moved only" : kind}`)
    .join(", ");
}

/** The same document with its keys in one order, so that texts differ only where documents do. */
export function inOrder(value: Json): Json {
  if (Array.isArray(value)) return value.map(inOrder);
  if (!isObject(value)) return value;
  const sorted = record<Json>();
  for (const key of Object.keys(value).sort()) sorted[key] = inOrder(value[key]!);
  return sorted;
}
