// What differs between two documents, by node and edge: for the list of changes and the colours on the canvas.

import { type EdgeDoc, graphs, type GraphDoc, isGraph, joinPath, type JsonObject, type NodeDoc, same, type WorkflowDoc } from "./document";

export interface Change {
  kind: "added" | "removed" | "changed";
  /** `node fetch`, `edge a → b`, `inputs` … */
  what: string;
  /** The node's path, when it is about a node. */
  node?: string;
  /** The parts that changed. */
  details: string[];
}

const PARTS = ["name", "description", "inputs", "output", "limits"] as const;

export function changesOf(before: WorkflowDoc, after: WorkflowDoc): Change[] {
  const changes: Change[] = [];
  const [left, right] = [everyNode(before), everyNode(after)];
  for (const name of new Set([...left.keys(), ...right.keys()])) {
    const [one, other] = [left.get(name), right.get(name)];
    const kind = one === undefined ? "added" : other === undefined ? "removed" : "changed";
    const details = one && other ? differing(plain(one), plain(other)) : [];
    if (kind !== "changed" || details.length > 0) changes.push({ kind, what: `node ${name}`, node: name, details });
  }
  const [edgesLeft, edgesRight] = [everyEdge(before), everyEdge(after)];
  for (const name of new Set([...edgesLeft.keys(), ...edgesRight.keys()])) {
    const [one, other] = [edgesLeft.get(name), edgesRight.get(name)];
    const kind = one === undefined ? "added" : other === undefined ? "removed" : "changed";
    const details = one && other ? differing({ ...one }, { ...other }) : [];
    const shown = (other ?? one)!;
    if (kind !== "changed" || details.length > 0) changes.push({ kind, what: `edge ${shown.from} → ${shown.to}`, details });
  }
  for (const part of PARTS) {
    if (!same(before[part], after[part])) {
      const kind = before[part] === undefined ? "added" : after[part] === undefined ? "removed" : "changed";
      changes.push({ kind, what: part, details: [] });
    }
  }
  return changes;
}

function everyNode(doc: GraphDoc): Map<string, NodeDoc> {
  return new Map([...graphs(doc)].flatMap(([path, graph]) => Object.entries(graph.nodes).map(([id, node]) => [joinPath(path, id), node])));
}

function everyEdge(doc: GraphDoc): Map<string, EdgeDoc> {
  return new Map([...graphs(doc)].flatMap(([path, graph]) => Object.entries(graph.edges ?? {}).map(([id, edge]) => [joinPath(path, id), edge])));
}

/** A node without the nodes inside of it, which are told of by themselves. */
function plain(node: NodeDoc): JsonObject {
  const config = { ...node.config };
  const body: unknown = config["body"];
  if (isGraph(body)) config["body"] = body.output ?? null;
  return { ...(node as unknown as JsonObject), config };
}

function differing(one: object, other: object, prefix = ""): string[] {
  const [left, right] = [one as JsonObject, other as JsonObject];
  return [...new Set([...Object.keys(left), ...Object.keys(right)])].flatMap((key) => {
    const [a, b] = [left[key], right[key]];
    if (same(a, b)) return [];
    const nested = key === "config" && a !== null && typeof a === "object" && b !== null && typeof b === "object";
    return nested ? differing(a, b, `${key}.`) : [prefix + key];
  });
}
