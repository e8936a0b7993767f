// Where expressions name nodes, and how the names are changed. CEL is read by its tokens: strings are left alone.

import type { Json } from "./document";

const TOKEN = /"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|[A-Za-z_][A-Za-z0-9_]*|\s+|[\s\S]/g;
const PLAIN = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** How an expression names a node: `nodes.fetch`, or `nodes["a-b"]` where the id is no CEL identifier. */
export function reference(id: string): string {
  return PLAIN.test(id) ? `nodes.${id}` : `nodes[${JSON.stringify(id)}]`;
}

interface Found {
  id: string;
  start: number;
  end: number;
}

/** The names of nodes in one CEL expression, with their places. */
export function found(expression: string): Found[] {
  const tokens = [...expression.matchAll(TOKEN)].filter((token) => token[0].trim() !== "");
  const names: Found[] = [];
  for (let i = 0; i < tokens.length - 2; i++) {
    if (tokens[i]![0] !== "nodes" || (i > 0 && tokens[i - 1]![0] === ".")) continue;
    const start = tokens[i]!.index;
    const [mark, name, close] = [tokens[i + 1]![0], tokens[i + 2]!, tokens[i + 3]];
    if (mark === "." && PLAIN.test(name[0])) {
      names.push({ id: name[0], start, end: name.index + name[0].length });
    } else if (mark === "[" && /^["']/.test(name[0]) && close?.[0] === "]") {
      names.push({ id: name[0].slice(1, -1), start, end: close.index + 1 });
    }
  }
  return names;
}

export function renameInExpression(expression: string, names: ReadonlyMap<string, string>): string {
  let text = expression;
  for (const one of found(expression).reverse()) {
    const to = names.get(one.id);
    if (to !== undefined) text = text.slice(0, one.start) + reference(to) + text.slice(one.end);
  }
  return text;
}

const TEMPLATE = /\{\{((?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|(?!\}\})[\s\S])*)\}\}/g;

export function renameInTemplate(text: string, names: ReadonlyMap<string, string>): string {
  return text.replace(TEMPLATE, (_, inner: string) => `{{${renameInExpression(inner, names)}}}`);
}

/** The same JSON with nodes renamed in every template, and in the strings under `expressionKeys` as expressions. */
export function renameInJson(
  value: Json,
  names: ReadonlyMap<string, string>,
  expressionKeys: ReadonlySet<string> = new Set(),
  key = "",
): Json {
  if (typeof value === "string") {
    return expressionKeys.has(key) ? renameInExpression(value, names) : renameInTemplate(value, names);
  }
  if (Array.isArray(value)) return value.map((one) => renameInJson(one, names, expressionKeys, key));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [name, renameInJson(inner, names, expressionKeys, name)]),
  );
}

/** The names with which an expression begins a chain: `inputs`, `item`, and functions. */
function rootsOf(expression: string): string[] {
  const tokens = [...expression.matchAll(TOKEN)].map((token) => token[0]).filter((token) => token.trim() !== "");
  return tokens.filter((token, index) => PLAIN.test(token) && tokens[index - 1] !== ".");
}

/** The roots that an expression names, or the templates in a value. */
export function rootsIn(value: Json, kind: "template" | "expression"): Set<string> {
  if (kind === "expression") return new Set(rootsOf(String(value)));
  const texts = typeof value === "string" ? [value] : value === null || typeof value !== "object" ? [] : Object.values(value);
  return new Set(texts.flatMap((one) => (typeof one === "string" ? [...one.matchAll(TEMPLATE)].flatMap((match) => rootsOf(match[1] ?? "")) : [...rootsIn(one, kind)])));
}

/** Every node that a value names, by templates and by expressions. */
export function namedIn(value: Json, expressionKeys: ReadonlySet<string> = new Set(), key = ""): Set<string> {
  const names = new Set<string>();
  const walk = (one: Json, at: string): void => {
    if (typeof one === "string") {
      const parts = expressionKeys.has(at) ? [one] : [...one.matchAll(TEMPLATE)].map((match) => match[1] ?? "");
      for (const part of parts) for (const name of found(part)) names.add(name.id);
    } else if (Array.isArray(one)) one.forEach((inner) => walk(inner, at));
    else if (one !== null && typeof one === "object") Object.entries(one).forEach(([name, inner]) => walk(inner, name));
  };
  walk(value, key);
  return names;
}
