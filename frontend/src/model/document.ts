// The workflow document as the editor sees it: plain JSON, never changed in place, so that an older one is an undo step.
//
// A graph is named by its path: the ids of the map and loop nodes around it, the outermost first; [] is the top.
// A node is named by the path of its graph and its id, joined by "/", as in a run's node paths without their indexes.

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

export interface NodeDoc {
  type: string;
  title?: string;
  description?: string;
  config?: JsonObject;
  retry?: JsonObject;
  timeout?: string;
  join?: "all" | "any" | { n: number };
  on_failure?: "fail_run" | "skip" | "review" | { continue: Json } | { review: string[] };
  cache?: JsonObject;
}

export interface EdgeDoc {
  from: string;
  to: string;
  port?: string;
  when?: string;
}

export interface GraphDoc {
  nodes: Record<string, NodeDoc>;
  edges?: Record<string, EdgeDoc>;
  output?: Json;
}

/** Where a node stands; `open` is an expanded body, `w` and `h` its size. */
export interface Place {
  x: number;
  y: number;
  open?: boolean;
  w?: number;
  h?: number;
}

/** A sticky note, or a named group around nodes. For people alone; no IR knows of it. */
export interface NoteDoc {
  kind?: "note" | "group";
  text: string;
  x: number;
  y: number;
  w: number;
  h: number;
  color?: string;
  nodes?: string[];
  collapsed?: boolean;
}

export interface WorkflowDoc extends GraphDoc {
  name: string;
  description?: string;
  inputs?: Json;
  limits?: JsonObject;
  layout?: Record<string, Place>;
  notes?: Record<string, NoteDoc>;
}

export type GraphPath = readonly string[];

export const ID_PATTERN = /^[A-Za-z_][A-Za-z0-9_-]{0,62}$/;
export const BODY_TYPES = new Set(["map", "loop"]);

/** What stands under a key, never what objects have by nature: `constructor` and `__proto__` are ids like others. */
export function at<T>(record: Readonly<Record<string, T>> | undefined, key: string): T | undefined {
  return record !== undefined && Object.hasOwn(record, key) ? record[key] : undefined;
}

/** An empty record to which any key may be assigned, `__proto__` as well. */
export function record<T>(): Record<string, T> {
  return Object.create(null) as Record<string, T>;
}

export function joinPath(path: GraphPath, id: string): string {
  return [...path, id].join("/");
}

/** Edges are named by the path of their graph and their id, with "#" between: ids of nodes have no "#". */
export function edgeName(path: GraphPath, id: string): string {
  return `${path.join("/")}#${id}`;
}

export function splitPath(name: string): { path: string[]; id: string } {
  const parts = name.split("/");
  return { path: parts.slice(0, -1), id: parts[parts.length - 1] ?? "" };
}

/** The graph at a path; undefined when there is none. */
export function graphAt(doc: GraphDoc, path: GraphPath): GraphDoc | undefined {
  let graph: GraphDoc | undefined = doc;
  for (const id of path) {
    const body: unknown = at(graph?.nodes, id)?.config?.["body"];
    graph = isGraph(body) ? body : undefined;
  }
  return graph;
}

export function nodeAt(doc: GraphDoc, name: string): NodeDoc | undefined {
  const { path, id } = splitPath(name);
  return at(graphAt(doc, path)?.nodes, id);
}

export function isGraph(value: unknown): value is GraphDoc {
  return typeof value === "object" && value !== null && typeof (value as GraphDoc).nodes === "object" && (value as GraphDoc).nodes !== null;
}

/** The document with the graph at `path` replaced by what `change` makes of it; all else is shared. */
export function withGraph<D extends GraphDoc>(doc: D, path: GraphPath, change: (graph: GraphDoc) => GraphDoc): D {
  const [first, ...rest] = path;
  if (first === undefined) {
    const { nodes: _, edges: __, output: ___, ...rest } = doc;
    const { nodes, edges, output } = change(doc);
    return { ...rest, nodes, ...(edges && { edges }), ...(output === undefined ? {} : { output }) } as D;
  }
  const node = at(doc.nodes, first);
  const body: unknown = node?.config?.["body"];
  if (node === undefined || !isGraph(body)) return doc;
  const inner = withGraph(body, rest, change) as unknown as Json;
  return { ...doc, nodes: { ...doc.nodes, [first]: { ...node, config: { ...node.config, body: inner } } } };
}

/** Every graph of the document with its path, the outermost first. */
export function* graphs(doc: GraphDoc, path: GraphPath = []): Generator<[GraphPath, GraphDoc]> {
  yield [path, doc];
  for (const [id, node] of Object.entries(doc.nodes)) {
    const body: unknown = node.config?.["body"];
    if (isGraph(body)) yield* graphs(body, [...path, id]);
  }
}

/** Every id that is in use anywhere: ids of a body may not shadow outer ones. */
export function allIds(doc: GraphDoc): Set<string> {
  const ids = new Set<string>();
  for (const [, graph] of graphs(doc)) for (const id of Object.keys(graph.nodes)) ids.add(id);
  return ids;
}

/** `wanted`, or it with the first free number. */
export function freeId(wanted: string, taken: ReadonlySet<string>): string {
  const stem = wanted.replace(/[^A-Za-z0-9_-]/g, "_").replace(/^(?![A-Za-z_])/, "n").slice(0, 58) || "node";
  if (!taken.has(stem)) return stem;
  for (let number = 2; ; number++) {
    const id = `${stem}${/\d$/.test(stem) ? "-" : ""}${number}`;
    if (!taken.has(id)) return id;
  }
}

export function omit<T>(record: Readonly<Record<string, T>>, keys: Iterable<string>): Record<string, T> {
  const gone = new Set(keys);
  return Object.fromEntries(Object.entries(record).filter(([key]) => !gone.has(key)));
}

/** Equal as JSON, whatever the order of the keys. */
export function same(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const left = Object.keys(a);
  if (left.length !== Object.keys(b).length) return false;
  return left.every((key) => Object.hasOwn(b, key) && same((a as JsonObject)[key], (b as JsonObject)[key]));
}
