// Every change of a document that the editor can make, as pure functions. What they are given is never changed.

import {
  allIds,
  at as under,
  BODY_TYPES,
  freeId,
  type EdgeDoc,
  graphAt,
  type GraphDoc,
  type GraphPath,
  ID_PATTERN,
  isGraph,
  joinPath,
  type Json,
  type JsonObject,
  type NodeDoc,
  nodeAt,
  type NoteDoc,
  omit,
  type Place,
  splitPath,
  withGraph,
  type WorkflowDoc,
} from "./document";
import { renameInExpression, renameInJson } from "./references";
import { expressionKeys, type NodeType, type Registry, type Schema } from "./types";

export interface Point {
  x: number;
  y: number;
}

/** A new node of this type: what its schema requires, filled from defaults and from what is plain in its example. */
export function blankNode(type: NodeType): NodeDoc {
  const properties = (type.config_schema["properties"] ?? {}) as Record<string, Schema>;
  const config: JsonObject = {};
  for (const key of (type.config_schema["required"] ?? []) as string[]) {
    const example = type.example[key];
    const isPlain = example !== undefined && type.parts[key] !== "expression" && !JSON.stringify(example).includes("{{");
    config[key] = isPlain ? structuredClone(example) : blankValue(properties[key] ?? {});
  }
  if (BODY_TYPES.has(type.name)) config["body"] = { nodes: {}, edges: {} };
  return { type: type.name, config };
}

function blankValue(schema: Schema): Json {
  if (schema["default"] !== undefined) return structuredClone(schema["default"]) as Json;
  const kind = Array.isArray(schema["type"]) ? schema["type"][0] : schema["type"];
  if (kind === "object") return {};
  if (kind === "array") return [];
  if (kind === "integer" || kind === "number") return (schema["minimum"] as number | undefined) ?? 0;
  return kind === "boolean" ? false : "";
}

export function addNode(
  doc: WorkflowDoc,
  path: GraphPath,
  node: NodeDoc,
  at: Point,
  wanted = node.type,
): { doc: WorkflowDoc; id: string } {
  const id = freeId(wanted, allIds(doc));
  const grown = withGraph(doc, path, (graph) => ({ ...graph, nodes: { ...graph.nodes, [id]: node } }));
  const open = BODY_TYPES.has(node.type) ? { open: true } : {};
  return { doc: withPlaces(grown, { [joinPath(path, id)]: { ...rounded(at), ...open } }), id };
}

export function removeNodes(doc: WorkflowDoc, names: readonly string[]): WorkflowDoc {
  const gone = new Set(names);
  let result = doc;
  for (const name of names) {
    const { path, id } = splitPath(name);
    if (nodeAt(result, name) === undefined) continue;
    result = withGraph(result, path, (graph) => ({
      ...graph,
      nodes: omit(graph.nodes, [id]),
      edges: Object.fromEntries(
        Object.entries(graph.edges ?? {}).filter(([, edge]) => edge.from !== id && edge.to !== id),
      ),
    }));
  }
  const below = (name: string): boolean => [...gone].some((one) => name === one || name.startsWith(`${one}/`));
  return tidied({
    ...result,
    layout: filtered(result.layout, (name) => !below(name)),
    notes: mapped(result.notes, (note) => (note.nodes ? { ...note, nodes: note.nodes.filter((n) => !below(n)) } : note)),
  });
}

/** Takes nodes out and joins what was before them with what was after them. */
export function removeKeepingFlow(doc: WorkflowDoc, names: readonly string[]): WorkflowDoc {
  let result = doc;
  for (const name of names) {
    const { path, id } = splitPath(name);
    const edges = Object.values(graphAt(result, path)?.edges ?? {});
    const before = edges.filter((edge) => edge.to === id);
    const after = edges.filter((edge) => edge.from === id && (edge.port ?? "out") !== "error");
    result = removeNodes(result, [name]);
    for (const one of before) {
      for (const other of after) {
        if (refusal(result, path, one.from, other.to, one.port) === null) {
          result = addEdge(result, path, { ...one, to: other.to }).doc;
        }
      }
    }
  }
  return result;
}

/** Why these two may not be connected, in words; null when they may. */
export function refusal(doc: GraphDoc, path: GraphPath, from: string, to: string, port = "out"): string | null {
  const graph = graphAt(doc, path);
  if (graph === undefined || under(graph.nodes, from) === undefined || under(graph.nodes, to) === undefined) {
    return "An edge joins two nodes of the same graph.";
  }
  if (from === to) return "A node cannot follow itself; use a loop.";
  const edges = Object.values(graph.edges ?? {});
  if (edges.some((edge) => edge.from === from && edge.to === to && (edge.port ?? "out") === port)) {
    return "These two are connected already.";
  }
  return reaches(edges, to, from) ? "That would make a circle; use a loop." : null;
}

export function reaches(edges: readonly EdgeDoc[], from: string, to: string): boolean {
  const seen = new Set([from]);
  const open = [from];
  while (open.length > 0) {
    const here = open.pop()!;
    if (here === to) return true;
    for (const edge of edges) {
      if (edge.from === here && !seen.has(edge.to)) {
        seen.add(edge.to);
        open.push(edge.to);
      }
    }
  }
  return false;
}

/** What an edge is called by itself: its ends, and its port when that is not the usual one. */
function stemOf(edge: EdgeDoc): string {
  const port = edge.port === undefined || edge.port === "out" ? "" : `-${edge.port}`;
  return `${edge.from}${port}-${edge.to}`;
}

export function addEdge(doc: WorkflowDoc, path: GraphPath, edge: EdgeDoc): { doc: WorkflowDoc; id: string } {
  const taken = new Set(Object.keys(graphAt(doc, path)?.edges ?? {}));
  const stem = stemOf(edge);
  let id = stem;
  for (let number = 2; taken.has(id); number++) id = `${stem}-${number}`;
  const { port: name, ...rest } = edge;
  const clean: EdgeDoc = name === undefined || name === "out" ? rest : edge;
  return {
    doc: withGraph(doc, path, (graph) => ({ ...graph, edges: { ...graph.edges, [id]: clean } })),
    id,
  };
}

export function removeEdges(doc: WorkflowDoc, path: GraphPath, ids: readonly string[]): WorkflowDoc {
  return withGraph(doc, path, (graph) => ({ ...graph, edges: omit(graph.edges ?? {}, ids) }));
}

/** Changes fields of an edge; undefined takes a field away. */
export function setEdge(doc: WorkflowDoc, path: GraphPath, id: string, change: Partial<EdgeDoc>): WorkflowDoc {
  return withGraph(doc, path, (graph) => {
    const edge = under(graph.edges, id);
    if (edge === undefined) return graph;
    return { ...graph, edges: { ...graph.edges, [id]: withoutUndefined({ ...edge, ...change }) } };
  });
}

/** Takes an end of an edge elsewhere; its condition stays. The same document where it may not go there. */
export function reconnect(doc: WorkflowDoc, path: GraphPath, id: string, ends: { from: string; to: string; port: string }): WorkflowDoc {
  if (reconnectRefusal(doc, path, id, ends) !== null) return doc;
  return setEdge(doc, path, id, { ...ends, port: ends.port === "out" ? (undefined as never) : ends.port });
}

/** Why an edge may not get these ends, in words; null when it may. */
export function reconnectRefusal(doc: WorkflowDoc, path: GraphPath, id: string, { from, to, port }: { from: string; to: string; port: string }): string | null {
  return refusal(removeEdges(doc, path, [id]), path, from, to, port);
}

/** Puts a node into an edge: before → node → after, the condition and the port stay with the first half. */
export function splice(doc: WorkflowDoc, path: GraphPath, edgeId: string, id: string): WorkflowDoc {
  const edge = under(graphAt(doc, path)?.edges, edgeId);
  if (edge === undefined || edge.from === id || edge.to === id) return doc;
  const cut = removeEdges(doc, path, [edgeId]);
  if (refusal(cut, path, edge.from, id, edge.port) !== null) return doc;
  const first = addEdge(cut, path, { ...edge, to: id }).doc;
  return refusal(first, path, id, edge.to) === null ? addEdge(first, path, { from: id, to: edge.to }).doc : doc;
}

/** Changes fields of a node; undefined takes a field away. */
export function setNode(doc: WorkflowDoc, name: string, change: Partial<NodeDoc>): WorkflowDoc {
  const { path, id } = splitPath(name);
  return withGraph(doc, path, (graph) => {
    const node = under(graph.nodes, id);
    if (node === undefined) return graph;
    return { ...graph, nodes: { ...graph.nodes, [id]: withoutUndefined({ ...node, ...change }) } };
  });
}

export function setConfig(doc: WorkflowDoc, name: string, key: string, value: Json | undefined): WorkflowDoc {
  const config = nodeAt(doc, name)?.config ?? {};
  return setNode(doc, name, { config: value === undefined ? omit(config, [key]) : { ...config, [key]: value } });
}

/** What a graph gives; undefined leaves it to its last nodes. */
export function setOutput(doc: WorkflowDoc, path: GraphPath, output: Json | undefined): WorkflowDoc {
  return withGraph(doc, path, ({ output: _, ...graph }) => (output === undefined ? graph : { ...graph, output }));
}

/** Why a node may not have this id; null when it may. */
export function idRefusal(doc: WorkflowDoc, name: string, id: string): string | null {
  if (id === splitPath(name).id) return null;
  if (!ID_PATTERN.test(id)) return "Letters, digits, _ and -, a letter first, at most 63.";
  return allIds(doc).has(id) ? "Another node has this id." : null;
}

/** Why these nodes may not go into that graph, in words; null when they may. */
export function moveRefusal(doc: WorkflowDoc, names: readonly string[], path: GraphPath): string | null {
  if (graphAt(doc, path) === undefined) return "There is no such map or loop.";
  const to = path.join("/");
  if (names.some((name) => to === name || to.startsWith(`${name}/`))) return "A node cannot go into itself.";
  return names.some((name) => nodeAt(doc, name) === undefined) ? "There is no such node." : null;
}

/**
 * Takes nodes into another graph: into the body of a map or loop, or out of it. Edges among them go along; edges that
 * would cross the border are left out and counted as `lost`.
 */
export function moveNodes(
  doc: WorkflowDoc,
  names: readonly string[],
  path: GraphPath,
  points: Readonly<Record<string, Point>> = {},
): { doc: WorkflowDoc; names: string[]; lost: number } {
  const to = path.join("/");
  const movers = names.filter(
    (name) => !names.some((other) => name.startsWith(`${other}/`)) && splitPath(name).path.join("/") !== to,
  );
  if (movers.length === 0 || moveRefusal(doc, movers, path) !== null) return { doc, names: [...names], lost: 0 };
  let [result, lost] = [doc, 0];
  for (const name of movers) {
    const { path: from, id } = splitPath(name);
    const together = new Set(movers.filter((one) => splitPath(one).path.join("/") === from.join("/")).map((one) => splitPath(one).id));
    const source = graphAt(result, from)!;
    const own = Object.entries(source.edges ?? {}).filter(([, edge]) => edge.from === id || edge.to === id);
    // An edge between two movers goes with the second of them, when both ends are there.
    const moving = own.filter(([, edge]) => under(graphAt(result, path)?.nodes, edge.from === id ? edge.to : edge.from) !== undefined);
    const waiting = own.filter(([, edge]) => together.has(edge.from) && together.has(edge.to) && !moving.some(([, one]) => one === edge));
    lost += own.length - moving.length - waiting.length;
    const node = source.nodes[id]!;
    const gone = own.filter((one) => !waiting.includes(one)).map(([key]) => key);
    result = withGraph(result, from, (graph) => ({ ...graph, nodes: omit(graph.nodes, [id]), edges: omit(graph.edges ?? {}, gone) }));
    result = withGraph(result, path, (graph) => ({ ...graph, nodes: { ...graph.nodes, [id]: node } }));
    for (const [, edge] of moving) result = addEdge(result, path, edge).doc;
  }
  const moved = (key: string): string => {
    const mover = movers.find((name) => key === name || key.startsWith(`${name}/`));
    return mover === undefined ? key : joinPath(path, splitPath(mover).id) + key.slice(mover.length);
  };
  const layout = Object.fromEntries(
    Object.entries(result.layout ?? {}).map(([key, place]) => {
      const point = under(points, key);
      return [moved(key), point === undefined ? place : { ...place, ...rounded(point) }];
    }),
  );
  const isInside = (name: string): boolean => movers.some((one) => name === one || name.startsWith(`${one}/`));
  const notes = mapped(result.notes, (note) => (note.nodes ? { ...note, nodes: note.nodes.filter((one) => !isInside(one)) } : note));
  return { doc: tidied({ ...result, layout, notes }), names: names.map(moved), lost };
}

/** Groups take up what was put into them and let go what was taken out, by where its middle stands. */
export function regroup(doc: WorkflowDoc, middles: Readonly<Record<string, Point>>): WorkflowDoc {
  const groups = Object.entries(doc.notes ?? {}).filter(([, note]) => note.kind === "group" && !note.collapsed);
  let result = doc;
  for (const [name, middle] of Object.entries(middles)) {
    if (name.includes("/") || nodeAt(result, name) === undefined) continue;
    const around = groups
      .filter(([, one]) => middle.x >= one.x && middle.x <= one.x + one.w && middle.y >= one.y && middle.y <= one.y + one.h)
      .sort(([, one], [, other]) => one.w * one.h - other.w * other.h)[0]?.[0];
    for (const [key, group] of groups) {
      const now = under(result.notes, key)?.nodes ?? group.nodes ?? [];
      if (key === around && !now.includes(name)) result = setNote(result, key, { nodes: [...now, name] });
      if (key !== around && now.includes(name)) result = setNote(result, key, { nodes: now.filter((one) => one !== name) });
    }
  }
  return result;
}

/** Gives a node another id, everywhere: edges, expressions, layout, groups. */
export function renameNode(doc: WorkflowDoc, name: string, id: string, registry: Registry): WorkflowDoc {
  const { path, id: before } = splitPath(name);
  if (before === id || idRefusal(doc, name, id) !== null) return doc;
  const names = new Map([[before, id]]);
  const renamed = withGraph(doc, path, (graph) => renameIn(graph, names, registry, true));
  const moved = (key: string): string =>
    key === name || key.startsWith(`${name}/`) ? joinPath(path, id) + key.slice(name.length) : key;
  return tidied({
    ...renamed,
    layout: renamed.layout && Object.fromEntries(Object.entries(renamed.layout).map(([key, at]) => [moved(key), at])),
    notes: mapped(renamed.notes, (note) => (note.nodes ? { ...note, nodes: note.nodes.map(moved) } : note)),
  });
}

/** The graph with references to nodes renamed, and with `own` the nodes themselves; bodies see outer nodes, so also there. */
export function renameIn(
  graph: GraphDoc,
  names: ReadonlyMap<string, string>,
  registry: Registry,
  own: boolean,
): GraphDoc {
  const nodes = Object.fromEntries(
    Object.entries(graph.nodes).map(([key, node]) => {
      const { body, ...config } = node.config ?? {};
      const changed = renameInJson(config, names, expressionKeys(node, registry)) as JsonObject;
      if (isGraph(body)) changed["body"] = renameIn(body, names, registry, false) as unknown as Json;
      else if (body !== undefined) changed["body"] = renameInJson(body, names);
      return [own ? (names.get(key) ?? key) : key, node.config === undefined ? node : { ...node, config: changed }];
    }),
  );
  // An edge that is named by its ends keeps being so.
  const edges =
    graph.edges &&
    Object.fromEntries(
      Object.entries(graph.edges).map(([key, edge]) => {
        const changed = edgeOf(edge);
        const stem = stemOf(changed);
        return [key === stemOf(edge) && under(graph.edges, stem) === undefined ? stem : key, changed];
      }),
    );
  const output = graph.output === undefined ? {} : { output: renameInJson(graph.output, names) };
  return { ...graph, nodes, ...(edges ? { edges } : {}), ...output };

  function edgeOf(edge: EdgeDoc): EdgeDoc {
    const when = edge.when === undefined ? {} : { when: renameInExpression(edge.when, names) };
    const ends = own ? { from: names.get(edge.from) ?? edge.from, to: names.get(edge.to) ?? edge.to } : {};
    return { ...edge, ...ends, ...when };
  }
}

export function movePlaces(doc: WorkflowDoc, points: Readonly<Record<string, Point>>): WorkflowDoc {
  const layout = doc.layout ?? {};
  const changed = Object.entries(points).filter(([name, at]) => {
    const now = under(layout, name);
    const to = rounded(at);
    return now === undefined || now.x !== to.x || now.y !== to.y;
  });
  if (changed.length === 0) return doc;
  return withPlaces(doc, Object.fromEntries(changed.map(([name, at]) => [name, { ...under(layout, name), ...rounded(at) }])));
}

export function setPlace(doc: WorkflowDoc, name: string, change: Partial<Place>): WorkflowDoc {
  return withPlaces(doc, { [name]: withoutUndefined({ ...(under(doc.layout, name) ?? { x: 0, y: 0 }), ...change }) });
}

function withPlaces(doc: WorkflowDoc, places: Record<string, Place>): WorkflowDoc {
  return { ...doc, layout: { ...doc.layout, ...places } };
}

export function addNote(doc: WorkflowDoc, note: NoteDoc): { doc: WorkflowDoc; id: string } {
  const id = freeId(note.kind ?? "note", new Set(Object.keys(doc.notes ?? {})));
  return { doc: { ...doc, notes: { ...doc.notes, [id]: { ...note, ...rounded(note) } } }, id };
}

export function setNote(doc: WorkflowDoc, id: string, change: Partial<NoteDoc>): WorkflowDoc {
  const note = under(doc.notes, id);
  return note === undefined ? doc : { ...doc, notes: { ...doc.notes, [id]: withoutUndefined({ ...note, ...change }) } };
}

export function removeNotes(doc: WorkflowDoc, ids: readonly string[]): WorkflowDoc {
  return tidied({ ...doc, notes: doc.notes && omit(doc.notes, ids) });
}

/** Changes a part of the document that belongs to no node; undefined takes it away. */
export function setDocument(doc: WorkflowDoc, change: Partial<WorkflowDoc>): WorkflowDoc {
  return withoutUndefined({ ...doc, ...change });
}

/** Without places and notes of nobody: what is empty is left out of the document. */
function tidied(doc: WorkflowDoc): WorkflowDoc {
  const { layout, notes, ...rest } = doc;
  return {
    ...rest,
    ...(layout && Object.keys(layout).length > 0 ? { layout } : {}),
    ...(notes && Object.keys(notes).length > 0 ? { notes } : {}),
  };
}

function filtered<T>(record: Record<string, T> | undefined, keep: (key: string) => boolean): Record<string, T> {
  return Object.fromEntries(Object.entries(record ?? {}).filter(([key]) => keep(key)));
}

function mapped<T>(record: Record<string, T> | undefined, change: (value: T) => T): Record<string, T> {
  return Object.fromEntries(Object.entries(record ?? {}).map(([key, value]) => [key, change(value)]));
}

function rounded(at: Point): Point {
  return { x: Math.round(at.x), y: Math.round(at.y) };
}

function withoutUndefined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as T;
}
