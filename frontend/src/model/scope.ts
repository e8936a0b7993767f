// What an expression at a place may use, with values of the last run where there are any: for completion and previews.

import { at, graphAt, type Json, joinPath, nodeAt, record, splitPath, type WorkflowDoc } from "./document";

export interface Scope {
  /** Values by name: `inputs`, `nodes`, `run`, and `item`, `index`, `iteration`, `last` or `output` where they are in scope. */
  values: Record<string, Json>;
  /** Names that are in scope though no value is known. */
  nodes: string[];
  /** Those of them that the last run passed over: they are in scope and not there, as in the run. */
  skipped?: readonly string[];
  /** Roots of which nothing is known, so that what names them cannot be judged. */
  lacking?: readonly string[];
}

export interface Data {
  inputs: Json;
  outputs: Readonly<Record<string, Json>>;
  pins: Readonly<Record<string, Json>>;
  skipped?: readonly string[];
}

/** The scope of a node's config; with `output` that of the conditions of its outgoing edges. */
export function scopeOf(doc: WorkflowDoc, name: string, data: Data, withOutput = false): Scope {
  const { path, id } = splitPath(name);
  const values: Record<string, Json> = {
    inputs: data.inputs ?? exampleOf(doc.inputs),
    run: { id: "00000000-0000-0000-0000-000000000000", started_at: "2026-01-01T00:00:00Z", attempt: 1 },
  };
  const known = record<Json>();
  const names: string[] = [];
  const skipped: string[] = [];
  const lacking: string[] = [];
  for (let depth = 0; depth <= path.length; depth++) {
    const here = path.slice(0, depth);
    const graph = graphAt(doc, here);
    const before = depth < path.length ? path[depth]! : id;
    for (const one of upstream(graph?.edges ?? {}, before)) {
      names.push(one);
      const full = joinPath(here, one);
      const value = at(data.pins, full) ?? at(data.outputs, full);
      if (value !== undefined) known[one] = value;
      else if (data.skipped?.includes(full)) skipped.push(one);
    }
    if (depth < path.length) {
      const owner = nodeAt(doc, path.slice(0, depth + 1).join("/"));
      if (owner?.type === "map") {
        const item = itemOf(doc, path.slice(0, depth + 1).join("/"), owner.config?.["items"], data);
        if (item === undefined && !lacking.includes("item")) lacking.push("item");
        Object.assign(values, { item: item ?? null, index: 0 });
      }
      if (owner?.type === "loop") Object.assign(values, { iteration: 0, last: null });
    }
  }
  values["nodes"] = known;
  if (withOutput) {
    const output = at(data.pins, name) ?? at(data.outputs, name);
    if (output === undefined) lacking.push("output");
    values["output"] = output ?? null;
  }
  return { values, nodes: names, skipped, lacking };
}

/** The first item of a map: of the last run, or of the list that its items name. */
function itemOf(doc: WorkflowDoc, map: string, items: Json | undefined, data: Data): Json | undefined {
  const seen = at(data.outputs, `${map}#item`);
  if (seen !== undefined) return seen;
  const chain = String(items ?? "").trim();
  const list = Array.isArray(items) ? items : CHAIN.test(chain) ? resolve(chain, scopeOf(doc, map, data).values) : undefined;
  return Array.isArray(list) ? list[0] : undefined;
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

/** What an expression may call, as the server lists it; `on` is the CEL type before the dot, null where nothing is. */
export interface Callable {
  name: string;
  signature: string;
  help: string;
  example: string;
  result: Json;
  on: string | null;
}

export interface Completion {
  label: string;
  detail?: string;
  info?: string;
  kind: "variable" | "property" | "function";
  /** What is written in the place of the word, when it is not the label; with `overDot` also over the dot before it. */
  text?: string;
  overDot?: boolean;
}

const PLAIN = /^[A-Za-z_]\w*$/;
const CHAIN = /^[A-Za-z_]\w*(?:\.\w+|\["[^"]*"\]|\[\d+\])*$/;

/** What may stand at the end of `before`, the expression up to the cursor, and where the word begins. */
export function completionsAt(before: string, scope: Scope, callables: readonly Callable[]): { from: number; options: Completion[] } {
  const word = /\w*$/.exec(before)![0];
  const from = before.length - word.length;
  const lead = before.slice(0, from);
  if (!lead.endsWith(".")) {
    const roots = Object.keys(scope.values).map((name): Completion => ({ label: name, kind: "variable", detail: shown(scope.values[name]) }));
    return { from, options: [...roots, ...callables.filter((one) => one.on === null).map(called)] };
  }
  const chain = /(?:[A-Za-z_]\w*)(?:\.\w+|\["[^"]*"\]|\[\d+\])*$/.exec(lead.slice(0, -1))?.[0] ?? "";
  const spaced = callables.filter((one) => one.on === null && chain !== "" && one.name.startsWith(`${chain}.`));
  if (spaced.length > 0) {
    return { from, options: spaced.map((one) => called({ ...one, name: one.name.slice(chain.length + 1), signature: one.signature.slice(chain.length + 1) })) };
  }
  const owner = chain === "" ? undefined : resolve(chain, scope.values);
  const options: Completion[] = [];
  const keys = new Set(isRecord(owner) ? Object.keys(owner) : []);
  if (chain === "nodes") for (const name of scope.nodes) keys.add(name);
  for (const key of keys) {
    const detail = isRecord(owner) ? shown(at(owner, key)) : "";
    const quoted = PLAIN.test(key) ? {} : { text: `[${JSON.stringify(key)}]`, overDot: true };
    options.push({ label: key, kind: "property", ...(detail === "" ? {} : { detail }), ...quoted });
  }
  if (chain !== "nodes") {
    const kind = owner === undefined ? null : kindOf(owner);
    options.push(...callables.filter((one) => one.on !== null && (kind === null || one.on === kind || one.on === "dyn")).map(called));
  }
  return { from, options };
}

function called(one: Callable): Completion {
  return {
    label: one.name,
    kind: "function",
    detail: one.signature.slice(one.name.length),
    info: `${one.help}\n${one.example} → ${JSON.stringify(one.result)}`,
    text: `${one.name}(`,
  };
}

function isRecord(value: Json | undefined): value is { [key: string]: Json } {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

function kindOf(value: Json): string {
  if (Array.isArray(value)) return "list";
  if (typeof value === "number") return Number.isInteger(value) ? "int" : "double";
  return isRecord(value) ? "map" : typeof value;
}

function resolve(chain: string, values: Json): Json | undefined {
  let here: Json | undefined = values;
  for (const step of chain.matchAll(/(\w+)|\["([^"]*)"\]/g)) {
    const key = step[1] ?? step[2] ?? "";
    if (Array.isArray(here)) here = here[Number(key)];
    else if (isRecord(here)) here = at(here, key);
    else return undefined;
  }
  return here;
}

function shown(value: Json | undefined): string {
  if (value === undefined) return "";
  const text = JSON.stringify(value);
  return text.length > 40 ? `${text.slice(0, 39)}…` : text;
}
