// Boxes and curves of the canvas: what lies where, what lines up with what, which edge is under a point.

export interface Point {
  x: number;
  y: number;
}

export interface Box extends Point {
  w: number;
  h: number;
}

export interface Line {
  from: Point;
  to: Point;
}

interface Drawn {
  id: string;
  position: Point;
  width?: number | undefined;
  height?: number | undefined;
  parentId?: string | undefined;
}

/** Where drawn nodes stand on the whole canvas; parents come before what is inside of them. */
export function boxesOf(nodes: readonly Drawn[]): Map<string, Box> {
  const boxes = new Map<string, Box>();
  for (const one of nodes) {
    const around = one.parentId === undefined ? undefined : boxes.get(one.parentId);
    boxes.set(one.id, {
      x: one.position.x + (around?.x ?? 0),
      y: one.position.y + (around?.y ?? 0),
      w: one.width ?? 0,
      h: one.height ?? 0,
    });
  }
  return boxes;
}

export function around(boxes: Iterable<Box>): Box | null {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const one of boxes) {
    left = Math.min(left, one.x);
    top = Math.min(top, one.y);
    right = Math.max(right, one.x + one.w);
    bottom = Math.max(bottom, one.y + one.h);
  }
  return left === Infinity ? null : { x: left, y: top, w: right - left, h: bottom - top };
}

export function meets(one: Box, other: Box): boolean {
  return one.x < other.x + other.w && other.x < one.x + one.w && one.y < other.y + other.h && other.y < one.y + one.h;
}

export function holds(box: Box, point: Point): boolean {
  return point.x >= box.x && point.x <= box.x + box.w && point.y >= box.y && point.y <= box.y + box.h;
}

export function encloses(outer: Box, inner: Box): boolean {
  return holds(outer, inner) && holds(outer, { x: inner.x + inner.w, y: inner.y + inner.h });
}

export function grown(box: Box, by: number): Box {
  return { x: box.x - by, y: box.y - by, w: box.w + 2 * by, h: box.h + 2 * by };
}

export function middle(box: Box): Point {
  return { x: box.x + box.w / 2, y: box.y + box.h / 2 };
}

/** How far to shift a box so that an edge or the middle of it lines up with another, and the lines that show it. */
export function guides(moving: Box, others: Iterable<Box>, within: number): { dx: number; dy: number; lines: Line[] } {
  let [bestX, bestY]: [Match | null, Match | null] = [null, null];
  for (const other of others) {
    bestX = closer(bestX, [moving.x, moving.x + moving.w / 2, moving.x + moving.w], [other.x, other.x + other.w / 2, other.x + other.w], other, within);
    bestY = closer(bestY, [moving.y, moving.y + moving.h / 2, moving.y + moving.h], [other.y, other.y + other.h / 2, other.y + other.h], other, within);
  }
  const [dx, dy] = [bestX?.shift ?? 0, bestY?.shift ?? 0];
  const lines: Line[] = [];
  if (bestX !== null) {
    const top = Math.min(moving.y + dy, bestX.other.y);
    const bottom = Math.max(moving.y + dy + moving.h, bestX.other.y + bestX.other.h);
    lines.push({ from: { x: bestX.at, y: top }, to: { x: bestX.at, y: bottom } });
  }
  if (bestY !== null) {
    const left = Math.min(moving.x + dx, bestY.other.x);
    const right = Math.max(moving.x + dx + moving.w, bestY.other.x + bestY.other.w);
    lines.push({ from: { x: left, y: bestY.at }, to: { x: right, y: bestY.at } });
  }
  return { dx, dy, lines };
}

interface Match {
  shift: number;
  at: number;
  other: Box;
}

/** Left lines up with left, middle with middle, right with right: other pairs would only make a drag restless. */
function closer(best: Match | null, own: readonly number[], theirs: readonly number[], other: Box, within: number): Match | null {
  let found = best;
  for (let i = 0; i < own.length; i++) {
    const shift = theirs[i]! - own[i]!;
    if (Math.abs(shift) <= within && (found === null || Math.abs(shift) < Math.abs(found.shift))) found = { shift, at: theirs[i]!, other };
  }
  return found;
}

/** The two points that bend the curve of an edge from a port on the right to one on the left, as React Flow draws it. */
export function bends(from: Point, to: Point): [Point, Point] {
  const distance = to.x - from.x;
  const reach = distance >= 0 ? distance / 2 : 6.25 * Math.sqrt(-distance);
  return [
    { x: from.x + reach, y: from.y },
    { x: to.x - reach, y: to.y },
  ];
}

const STEPS = 24;

/** How far a point is from the curve of an edge, nearly. */
export function distanceToCurve(from: Point, to: Point, point: Point): number {
  const [one, other] = bends(from, to);
  let nearest = Infinity;
  for (let step = 0; step <= STEPS; step++) {
    const t = step / STEPS;
    const u = 1 - t;
    const x = u ** 3 * from.x + 3 * u * u * t * one.x + 3 * u * t * t * other.x + t ** 3 * to.x;
    const y = u ** 3 * from.y + 3 * u * u * t * one.y + 3 * u * t * t * other.y + t ** 3 * to.y;
    nearest = Math.min(nearest, Math.hypot(x - point.x, y - point.y));
  }
  return nearest;
}
