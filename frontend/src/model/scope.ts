// What an expression at a place may use, with values of the last run where there are any: for completion and previews.

import { graphAt, type Json, joinPath, nodeAt, splitPath, type WorkflowDoc } from "./document";

export interface Scope {
  /** Values by name: `inputs`, `nodes`, `run`, and `item`, `index`, `iteration`, `last` or `output` where they are in scope. */
  values: Record<string, Json>;
  /** Names that are in scope though no value is known. */
  nodes: string[];
}

export interface Data {
  inputs: Json;
  outputs: Readonly<Record<string, Json>>;
  pins: Readonly<Record<string, Json>>;
}

/** The scope of a node's config; with `output` that of the conditions of its outgoing edges. */
export function scopeOf(doc: WorkflowDoc, name: string, data: Data, withOutput = false): Scope {
  const { path, id } = splitPath(name);
  const values: Record<string, Json> = {
    inputs: data.inputs ?? exampleOf(doc.inputs),
    run: { id: "00000000-0000-0000-0000-000000000000", started_at: "2026-01-01T00:00:00Z", attempt: 1 },
  };
  const known: Record<string, Json> = {};
  const names: string[] = [];
  for (let depth = 0; depth <= path.length; depth++) {
    const here = path.slice(0, depth);
    const graph = graphAt(doc, here);
    const before = depth < path.length ? path[depth]! : id;
    for (const one of upstream(graph?.edges ?? {}, before)) {
      names.push(one);
      const full = joinPath(here, one);
      const value = Object.hasOwn(data.pins, full) ? data.pins[full] : data.outputs[full];
      if (value !== undefined) known[one] = value;
    }
    if (depth < path.length) {
      const owner = nodeAt(doc, path.slice(0, depth + 1).join("/"));
      if (owner?.type === "map") Object.assign(values, { item: data.outputs[`${path.slice(0, depth + 1).join("/")}#item`] ?? null, index: 0 });
      if (owner?.type === "loop") Object.assign(values, { iteration: 0, last: null });
    }
  }
  values["nodes"] = known;
  if (withOutput) values["output"] = data.pins[name] ?? data.outputs[name] ?? null;
  return { values, nodes: names };
}

/** Everything from which edges lead to a node. */
export function upstream(edges: Readonly<Record<string, { from: string; to: string }>>, id: string): string[] {
  const found = new Set<string>();
  const open = [id];
  while (open.length > 0) {
    const here = open.pop()!;
    for (const edge of Object.values(edges)) {
      if (edge.to === here && !found.has(edge.from)) {
        found.add(edge.from);
        open.push(edge.from);
      }
    }
  }
  return [...found];
}

/** A value that a schema's defaults and examples suggest, before there is a run. */
export function exampleOf(schema: Json | undefined): Json {
  if (schema === null || typeof schema !== "object" || Array.isArray(schema)) return {};
  const one = schema as Record<string, Json>;
  if (one["default"] !== undefined) return one["default"];
  if (Array.isArray(one["examples"]) && one["examples"][0] !== undefined) return one["examples"][0];
  const properties = one["properties"];
  if (properties !== null && typeof properties === "object" && !Array.isArray(properties)) {
    return Object.fromEntries(Object.entries(properties).map(([key, part]) => [key, exampleOf(part)]));
  }
  const kinds: Record<string, Json> = { string: "", integer: 0, number: 0, boolean: false, array: [], object: {} };
  return kinds[String(one["type"] ?? "object")] ?? {};
}

const FUNCTIONS = [
  "size", "string", "int", "double", "bool", "has", "range", "json.parse", "json.encode", "duration", "timestamp",
];
const METHODS = [
  "contains", "startsWith", "endsWith", "matches", "split", "join", "trim", "replace", "lower", "upper", "filter", "map",
  "all", "exists", "sum", "min", "max", "sort", "distinct", "flatten", "pluck", "countBy", "groupBy", "keys", "values",
  "merge", "round", "size",
];

export interface Completion {
  label: string;
  detail?: string;
  kind: "variable" | "property" | "function";
}

/** What may stand at the end of `before`, the expression up to the cursor, and where the word begins. */
export function completionsAt(before: string, scope: Scope): { from: number; options: Completion[] } {
  const chain = /(?:[A-Za-z_]\w*)(?:\.\w*|\["[^"]*"\]|\[\d+\])*$/.exec(before)?.[0] ?? "";
  const parts = chain.split(".");
  const word = parts[parts.length - 1] ?? "";
  const from = before.length - word.length;
  if (parts.length === 1) {
    const roots = Object.keys(scope.values).map((name): Completion => ({ label: name, kind: "variable", detail: shown(scope.values[name]) }));
    return { from, options: [...roots, ...FUNCTIONS.map((label): Completion => ({ label, kind: "function" }))] };
  }
  const owner = resolve(parts.slice(0, -1).join("."), scope.values);
  const options: Completion[] = [];
  if (owner !== null && typeof owner === "object" && !Array.isArray(owner)) {
    for (const [key, value] of Object.entries(owner)) {
      if (/^[A-Za-z_]\w*$/.test(key)) options.push({ label: key, kind: "property", detail: shown(value) });
    }
  }
  if (parts.length === 2 && parts[0] === "nodes") {
    for (const name of scope.nodes) if (!options.some((one) => one.label === name)) options.push({ label: name, kind: "property" });
  }
  if (parts[0] !== "nodes" || parts.length > 2) {
    for (const label of METHODS) options.push({ label, kind: "function" });
  }
  return { from, options };
}

function resolve(chain: string, values: Json): Json | undefined {
  let at: Json | undefined = values;
  for (const step of chain.matchAll(/(\w+)|\["([^"]*)"\]/g)) {
    const key = step[1] ?? step[2] ?? "";
    if (Array.isArray(at)) at = at[Number(key)];
    else if (at !== null && typeof at === "object") at = Object.hasOwn(at, key) ? at[key] : undefined;
    else return undefined;
  }
  return at;
}

function shown(value: Json | undefined): string {
  if (value === undefined) return "";
  const text = JSON.stringify(value);
  return text.length > 40 ? `${text.slice(0, 39)}…` : text;
}
