// Where the nodes of two documents stand in one picture: as they do now, what is gone at its old place. Bodies that have
// to be opened for what is inside of them push aside what would be covered, and nothing that is gone covers what is there.

import { at, type GraphDoc, type GraphPath, isGraph, joinPath, nodeAt, type Place, record, type WorkflowDoc } from "./document";
import type { Change, Comparison } from "./diff";
import { type Box, grown, meets, middle } from "./geometry";
import { BODY_MARGIN, BODY_TOP, NODE_HEIGHT, NODE_WIDTH, placesOf, type SizeOf } from "./layout";

const GAP = 24;

interface Size {
  w: number;
  h: number;
}

/** Names of the bodies that have something to show. */
export function toOpen(comparison: Comparison): Set<string> {
  const open = new Set<string>();
  for (const one of comparison.changes) {
    const inside = one.about === "edge" ? one.path : one.about === "node" ? one.name.split("/").slice(0, -1) : [];
    inside.forEach((_, depth) => open.add(inside.slice(0, depth + 1).join("/")));
  }
  return open;
}

export function standing(comparison: Comparison, before: WorkflowDoc, after: WorkflowDoc, sizeOf: SizeOf): Record<string, Place> {
  const [old, now] = [placesOf(before), placesOf(after)];
  const opened = toOpen(comparison);
  const places = record<Place>();

  /** Puts the nodes of one graph; gives its size, and the size that it had without what is gone or opened. */
  const put = (graph: GraphDoc, path: GraphPath): { size: Size; natural: Size } => {
    const boxes: (Box & { name: string; isGhost: boolean; isOpen: boolean; natural: Size })[] = [];
    for (const [id, node] of Object.entries(graph.nodes)) {
      const name = joinPath(path, id);
      const isGhost = nodeAt(after, name) === undefined;
      const place = at(isGhost ? old : now, name) ?? { x: 0, y: 0 };
      const body: unknown = node.config?.["body"];
      const isOpen = isGraph(body) && (place.open === true || opened.has(name));
      const { width, height } = sizeOf(name);
      const closed = { w: width, h: height };
      const inner = isOpen ? put(body, [...path, id]) : { size: closed, natural: closed };
      const wanted = { w: (isOpen && place.w) || 0, h: (isOpen && place.h) || 0 };
      const size = larger(inner.size, wanted);
      const natural = isGhost ? size : isOpen && place.open !== true ? closed : larger(inner.natural, wanted);
      boxes.push({ name, isGhost, isOpen, natural, x: place.x, y: place.y, ...size });
    }
    const natural = sizeAround(boxes.filter((one) => !one.isGhost).map((one) => ({ ...one, ...one.natural })));
    makeRoom(boxes);
    settle(boxes);
    for (const one of boxes) {
      places[one.name] = { x: one.x, y: one.y, ...(one.isOpen ? { open: true, w: one.w, h: one.h } : {}) };
    }
    return { size: sizeAround(boxes), natural };
  };
  put(comparison.both, []);
  return places;
}

function larger(one: Size, other: Size): Size {
  return { w: Math.max(one.w, other.w), h: Math.max(one.h, other.h) };
}

function sizeAround(boxes: readonly Box[]): Size {
  let size = { w: NODE_WIDTH + 2 * BODY_MARGIN, h: BODY_TOP + NODE_HEIGHT + BODY_MARGIN };
  for (const one of boxes) size = larger(size, { w: one.x + one.w + BODY_MARGIN, h: one.y + one.h + BODY_MARGIN });
  return size;
}

/** What stands to the right of a box that grew goes further right, what stands below it further down. */
function makeRoom(boxes: (Box & { natural: Size })[]): void {
  for (const one of boxes) {
    const [dx, dy] = [one.w - one.natural.w, one.h - one.natural.h];
    if (dx <= 0 && dy <= 0) continue;
    for (const other of boxes) {
      if (other === one) continue;
      if (other.x >= one.x + one.natural.w) other.x += Math.max(dx, 0);
      else if (other.y >= one.y + one.natural.h) other.y += Math.max(dy, 0);
    }
  }
}

function settle(boxes: (Box & { isGhost: boolean })[]): void {
  const fixed: Box[] = boxes.filter((one) => !one.isGhost);
  for (const ghost of boxes.filter((one) => one.isGhost).sort((one, other) => one.y - other.y)) {
    for (let under; (under = fixed.find((one) => meets(grown(one, GAP / 2), ghost))) !== undefined; ) ghost.y = under.y + under.h + GAP;
    fixed.push(ghost);
  }
}

/** What a change is about on the canvas; null for what is not drawn. */
export function boxOf(change: Change, boxes: ReadonlyMap<string, Box>): Box | null {
  if (change.about !== "edge") return boxes.get(change.name) ?? null;
  const [from, to] = [boxes.get(joinPath(change.path, change.edge.from)), boxes.get(joinPath(change.path, change.edge.to))];
  if (from === undefined || to === undefined) return from ?? to ?? null;
  const [x, y] = [Math.min(from.x, to.x), Math.min(from.y, to.y)];
  return { x, y, w: Math.max(from.x + from.w, to.x + to.w) - x, h: Math.max(from.y + from.h, to.y + to.h) - y };
}

/** The workflow's own parts, then as the graph is read from left to right; what only moved comes last. */
export function inReadingOrder(changes: readonly Change[], boxes: ReadonlyMap<string, Box>): Change[] {
  const place = (one: Change): [number, number, number] => {
    const box = boxOf(one, boxes);
    const at = box === null ? { x: -Infinity, y: -Infinity } : one.about === "edge" ? middle(box) : box;
    return [one.kind === "moved" ? 1 : 0, at.x, at.y];
  };
  const keyed = changes.map((one) => ({ one, key: place(one) }));
  return keyed.sort(({ key: a }, { key: b }) => a[0] - b[0] || order(a[1], b[1]) || order(a[2], b[2])).map(({ one }) => one);
}

function order(a: number, b: number): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
