// The difference of two documents as operations of RFC 6902, and what of a run's graph may not be touched any more.

import { at, type EdgeDoc, type Json, type JsonObject, type Place, record, same, splitPath, type WorkflowDoc } from "./document";

export type Operation = { op: "add" | "replace"; path: string; value: Json } | { op: "remove"; path: string };

/** Member by member of maps; lists and values are replaced whole, as `workflows/core/patches.py` has it. */
export function difference(before: Json, after: Json, place = ""): Operation[] {
  if (!isMap(before) || !isMap(after)) return same(before, after) ? [] : [{ op: "replace", path: place, value: after }];
  const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
  return keys.flatMap((key): Operation[] => {
    const path = `${place}/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`;
    const [one, other] = [at(before, key), at(after, key)];
    if (other === undefined) return [{ op: "remove", path }];
    return one === undefined ? [{ op: "add", path, value: other }] : difference(one, other, path);
  });
}

function isMap(value: Json): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A run's graph that is being edited: as the run has it, as it was first shown, and its nodes that have begun. */
export interface RunGraph {
  run: string;
  version: string;
  document: WorkflowDoc;
  shown: WorkflowDoc;
  started: Readonly<Record<string, string>>;
}

/** What makes the edited document of the run's. Places that were thought out here are not sent, only those chosen. */
export function operationsOf({ document, shown }: RunGraph, edited: WorkflowDoc): Operation[] {
  const { layout: _, ...rest } = edited;
  const layout = layoutOf(document, shown, edited);
  const after = layout === undefined ? rest : { ...rest, layout };
  return difference(document as unknown as Json, after as unknown as Json);
}

function layoutOf(document: WorkflowDoc, shown: WorkflowDoc, edited: WorkflowDoc): Record<string, Place> | undefined {
  // A graph that nobody drew is laid out anew wherever it is shown; a few places would only disturb that.
  if (document.layout === undefined || Object.keys(document.layout).length === 0) return document.layout;
  const layout = record<Place>();
  for (const [name, place] of Object.entries(edited.layout ?? {})) {
    const own = at(document.layout, name);
    const chosen = same(place, at(shown.layout, name)) ? own : place;
    if (chosen !== undefined) layout[name] = chosen;
  }
  return layout;
}

const OPEN = new Set(["nodes", "edges", "output", "layout", "notes"]);

export function isStarted({ started }: RunGraph, name: string): boolean {
  return at(started, splitPath(name).path[0] ?? name) !== undefined;
}

/** Why the run's past does not allow this edit, in words; null where it does. The server judges again. */
export function refusedByPast({ started }: Pick<RunGraph, "started">, before: WorkflowDoc, after: WorkflowDoc): string | null {
  for (const [id, state] of Object.entries(started)) {
    const node = at(before.nodes, id);
    if (node !== undefined && !same(node, at(after.nodes, id))) return `${id} is ${state} in this run and cannot be changed any more. Add another node.`;
  }
  const [old, now] = [before.edges ?? {}, after.edges ?? {}];
  for (const id of new Set([...Object.keys(old), ...Object.keys(now)])) {
    const [one, other] = [at(old, id), at(now, id)];
    if (same(one, other)) continue;
    const target = [one, other].find((edge) => edge !== undefined && at(started, edge.to) !== undefined);
    if (target !== undefined) return `${target.to} is ${at(started, target.to)} in this run, so what leads to it cannot be changed any more.`;
    if (one !== undefined && other !== undefined && isDecided(started, one)) return `The way from ${one.from} was decided in this run. Draw another edge.`;
  }
  for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
    if (OPEN.has(key)) continue;
    if (!same(at(before as unknown as JsonObject, key), at(after as unknown as JsonObject, key))) return `A patch changes the graph, not ${key}. Publish a new version for that.`;
  }
  return null;
}

function isDecided(started: Readonly<Record<string, string>>, edge: EdgeDoc): boolean {
  return ["done", "failed", "skipped", "cached"].includes(at(started, edge.from) ?? "");
}
