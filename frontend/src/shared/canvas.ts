// What canvases have in common: those that are only looked at (the run page's, the comparison's, the look into a
// sub-workflow), and what all of them show at first.

import { getViewportForBounds, type Viewport } from "@xyflow/react";

import { around, type Box } from "../model/geometry";

export const MIN_ZOOM = 0.05;
/** On a screen narrower than this (px) a graph is not shown whole where that would make it smaller than can be read. */
const NARROW = 600;
const READABLE = 0.55;
/** Between the border of a narrow screen and the graph, in pixels. */
const MARGIN = 16;

/** What is shown at first: the whole graph, or on a narrow screen what matters of it (else where it begins), to be read. */
export function firstView(
  boxes: readonly Box[],
  size: { width: number; height: number },
  { padding, maxZoom }: { padding: number; maxZoom: number },
  matters: readonly Box[] = [],
): Viewport {
  const whole = around(boxes);
  if (whole === null) return { x: size.width / 2, y: size.height / 2, zoom: 1 };
  const fitted = getViewportForBounds({ x: whole.x, y: whole.y, width: whole.w, height: whole.h }, size.width, size.height, MIN_ZOOM, maxZoom, padding);
  if (size.width >= NARROW || fitted.zoom >= READABLE) return fitted;
  const begins = boxes.reduce((first, one) => (one.x < first.x ? one : first));
  const focus = around(matters) ?? begins;
  return {
    x: along(size.width, [whole.x, whole.w], [focus.x, focus.w]),
    y: along(size.height, [whole.y, whole.h], [focus.y, focus.h]),
    zoom: READABLE,
  };
}

/** Where the graph's zero stands on one axis: what matters in the middle, and nothing empty beside the whole. */
function along(room: number, [start, extent]: [number, number], [focus, breadth]: [number, number]): number {
  const left = MARGIN - start * READABLE;
  const right = room - MARGIN - (start + extent) * READABLE;
  if (left < right) return (left + right) / 2;
  const isTooBroad = breadth * READABLE > room - 2 * MARGIN;
  const wanted = isTooBroad ? MARGIN - focus * READABLE : room / 2 - (focus + breadth / 2) * READABLE;
  return Math.min(left, Math.max(right, wanted));
}

export const READ_ONLY = {
  nodesDraggable: false,
  nodesConnectable: false,
  elementsSelectable: false,
  proOptions: { hideAttribution: true },
  colorMode: "system",
} as const;

/** Of those beside which a list says the same, so that the keys belong to the list. */
export const WITHOUT_KEYS = {
  nodesFocusable: false,
  edgesFocusable: false,
  disableKeyboardA11y: true,
  deleteKeyCode: null,
  selectionKeyCode: null,
} as const;
