// What patches made of a graph, for the marks on it: the last that touched a node or an edge, and a body for what is inside.

import type { WorkflowDoc } from "./document";
import { type Change, type Comparison, compared, type Kind } from "./diff";

export interface PatchMark {
  kind: Exclude<Kind, "moved">;
  patch: string;
  by: string;
}

interface Step {
  patch: string;
  by: string;
  before: WorkflowDoc;
  after: WorkflowDoc;
}

/** By the names of nodes and edges; of what an older patch added and a newer one changed, the newer one is told. */
export function marksOf(steps: readonly Step[]): Map<string, PatchMark> {
  const marks = new Map<string, PatchMark>();
  for (const { patch, by, before, after } of steps) {
    for (const [name, kind] of kindsOf(compared(before, after))) {
      if (kind === "removed") marks.delete(name);
      else marks.set(name, { kind, patch, by });
    }
  }
  return marks;
}

/** What is drawn differently, by name; a body is changed by what changes in it. */
export function kindsOf({ changes }: Comparison): Map<string, PatchMark["kind"]> {
  const kinds = new Map<string, PatchMark["kind"]>();
  const inside = (path: readonly string[]): void => {
    path.forEach((_, depth) => {
      const owner = path.slice(0, depth + 1).join("/");
      if (!kinds.has(owner)) kinds.set(owner, "changed");
    });
  };
  for (const one of changes) {
    if (one.kind === "moved" || one.about === "workflow" || one.about === "note") continue;
    kinds.set(one.name, one.kind);
    inside(around(one));
  }
  return kinds;
}

function around(change: Change): readonly string[] {
  if (change.about === "edge") return change.path;
  return change.name.split("/").slice(0, -1);
}
