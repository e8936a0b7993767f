// The node-type registry as the server describes it; the palette, the forms and the ports are made from it alone.

import type { JsonObject, NodeDoc } from "./document";

export type Schema = { [key: string]: unknown };
export type Part = "template" | "expression" | "literal" | "cases";

export interface NodeType {
  name: string;
  kind: "pure" | "effect" | "wait" | "structure" | "agent";
  title: string;
  help: string;
  icon: string;
  category: string;
  ports: string[];
  parts: Record<string, Part>;
  config_schema: Schema;
  output_schema: Schema;
  node_schema: Schema;
  retry: string;
  timeout: number | null;
  example: JsonObject;
}

export type Registry = ReadonlyMap<string, NodeType>;

/** The ports by which a node may be left, in the order in which they are drawn; `error` is the last. */
export function portsOf(node: NodeDoc, registry: Registry): string[] {
  const type = registry.get(node.type);
  if (type === undefined) return ["out", "error"];
  if (!Object.values(type.parts).includes("cases")) return type.ports;
  const key = Object.keys(type.parts).find((name) => type.parts[name] === "cases") ?? "cases";
  const cases = node.config?.[key];
  const names = (Array.isArray(cases) ? cases : []).flatMap((one) =>
    one !== null && typeof one === "object" && !Array.isArray(one) && typeof one["name"] === "string" ? [one["name"]] : [],
  );
  return [...new Set([...names, "default", "error"])];
}

/** The keys of a node's config that hold one CEL expression; `when` also stands for the conditions of cases. */
export function expressionKeys(node: NodeDoc, registry: Registry): Set<string> {
  const parts = Object.entries(registry.get(node.type)?.parts ?? {});
  return new Set(parts.flatMap(([key, part]) => (part === "expression" ? [key] : part === "cases" ? ["when"] : [])));
}
