// Which node a problem is about: pointers of the server, names of nodes here.

import { nodeAt, type WorkflowDoc } from "./document";

export interface Marked {
  pointer: string;
  severity: "error" | "warning";
  message: string;
}

export interface Target {
  kind: "node" | "edge" | "document";
  /** The path of ids: of a node its own, of an edge its graph's. */
  path: string[];
  edge?: string;
}

export function pointerOf(name: string): string {
  return `/nodes/${name.replaceAll("/", "/config/body/nodes/")}`;
}

/** What a JSON Pointer is about. */
export function targetOf(pointer: string): Target {
  const parts = pointer.split("/").slice(1).map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
  const path: string[] = [];
  let here = 0;
  while (parts[here] === "nodes" && parts[here + 1] !== undefined) {
    path.push(parts[here + 1]!);
    const isInside = parts[here + 2] === "config" && parts[here + 3] === "body" && (parts[here + 4] === "nodes" || parts[here + 4] === "edges");
    if (!isInside || parts[here + 5] === undefined) return { kind: "node", path };
    here += 4;
  }
  const edge = parts[here + 1];
  return parts[here] === "edges" && edge !== undefined ? { kind: "edge", path, edge } : { kind: "document", path: [] };
}

/** The worst problem of each node, by its name. */
export function marksOf<P extends Marked>(problems: readonly P[]): Map<string, P> {
  const marks = new Map<string, P>();
  for (const one of problems) {
    const target = targetOf(one.pointer);
    if (target.kind !== "node") continue;
    const name = target.path.join("/");
    if (!marks.has(name) || (one.severity === "error" && marks.get(name)!.severity !== "error")) marks.set(name, one);
  }
  return marks;
}

export function isThere(doc: WorkflowDoc, target: Target): boolean {
  return target.kind === "node" && nodeAt(doc, target.path.join("/")) !== undefined;
}
