// Places for nodes that nobody has drawn in a graph that is: near what they belong to, so that nothing else moves.

import { at, type GraphDoc, type GraphPath, graphs, isGraph, joinPath, type Place, record, type WorkflowDoc } from "./document";
import { type Box, grown, meets } from "./geometry";
import { BODY_MARGIN, BODY_TOP, depthsOf, NODE_HEIGHT, NODE_WIDTH, roughPlaces, type SizeOf } from "./layout";

const GAP_X = 72;
const GAP_Y = 36;
/** So near another node's left edge, a node stands below it rather than beside its line. */
const SNAP = 64;

type Places = Readonly<Record<string, Place>>;

/** The document with a place for every node; as it is when it has them all, or none and nobody knows better. */
export function withNear(doc: WorkflowDoc, known: Places | undefined, sizeOf: SizeOf): WorkflowDoc {
  const places = nearPlaces(doc, known, sizeOf);
  return places === null ? doc : { ...doc, layout: places };
}

/**
 * Its own places, those that are known from elsewhere, and near ones for the rest. Null when nothing is missing, or when
 * no node of the outermost graph has a place: then the whole is to be laid out.
 */
export function nearPlaces(doc: WorkflowDoc, known: Places | undefined, sizeOf: SizeOf): Record<string, Place> | null {
  const places = record<Place>();
  let isMissing = false;
  for (const [path, graph] of graphs(doc)) {
    for (const id of Object.keys(graph.nodes)) {
      const name = joinPath(path, id);
      const own = at(doc.layout, name);
      const place = own ?? at(known, name);
      if (place !== undefined) places[name] = place;
      if (own === undefined) isMissing = true;
    }
  }
  if (!isMissing || !Object.keys(doc.nodes).some((id) => at(places, id) !== undefined)) return null;
  put(doc, [], places, roughPlaces(doc), sizeOf);
  return places;
}

/** Gives places to the nodes of one graph and of what is inside of them; gives the size that it takes as a body. */
function put(graph: GraphDoc, path: GraphPath, places: Record<string, Place>, rough: Places, sizeOf: SizeOf): { w: number; h: number } {
  const start = path.length > 0 ? { x: BODY_MARGIN, y: BODY_TOP } : { x: -Infinity, y: -Infinity };
  const boxes = new Map<string, Box>();
  const sizes = new Map<string, { w: number; h: number }>();
  for (const [id, node] of Object.entries(graph.nodes)) {
    const name = joinPath(path, id);
    const body: unknown = node.config?.["body"];
    const place = at(places, name);
    const { width, height } = sizeOf(name);
    const inner = isGraph(body) ? put(body, [...path, id], places, rough, sizeOf) : null;
    const isOpen = inner !== null && (place === undefined ? true : place.open === true);
    const size = isOpen ? { w: Math.max(inner!.w, place?.w ?? 0), h: Math.max(inner!.h, place?.h ?? 0) } : { w: width, h: height };
    sizes.set(id, size);
    if (place !== undefined) boxes.set(id, { x: place.x, y: place.y, ...size });
  }
  const edges = Object.values(graph.edges ?? {});
  const depths = depthsOf(graph);
  const missing = Object.keys(graph.nodes).filter((id) => !boxes.has(id));
  for (const id of missing.sort((one, other) => (depths.get(one) ?? 0) - (depths.get(other) ?? 0))) {
    const size = sizes.get(id)!;
    const boxesBy = (ids: string[]): Box[] => ids.flatMap((one) => boxes.get(one) ?? []);
    const before = boxesBy(edges.filter((edge) => edge.to === id).map((edge) => edge.from));
    const after = boxesBy(edges.filter((edge) => edge.from === id).map((edge) => edge.to));
    const box = { ...beside(before, after, [...boxes.values()], size, start), ...size };
    const others = [...boxes.values()];
    for (let under; (under = others.find((one) => meets(grown(one, GAP_Y / 2), box))) !== undefined; ) box.y = under.y + under.h + GAP_Y;
    boxes.set(id, box);
    const name = joinPath(path, id);
    places[name] = { x: Math.round(box.x), y: Math.round(box.y), ...(at(rough, name)?.open ? { open: true } : {}) };
  }
  let [w, h] = [NODE_WIDTH + 2 * BODY_MARGIN, BODY_TOP + NODE_HEIGHT + BODY_MARGIN];
  for (const box of boxes.values()) [w, h] = [Math.max(w, box.x + box.w + BODY_MARGIN), Math.max(h, box.y + box.h + BODY_MARGIN)];
  return { w, h };
}

/** Right of what leads to it, else left of what it leads to, else below everything. */
function beside(before: Box[], after: Box[], all: Box[], size: { w: number; h: number }, start: { x: number; y: number }): { x: number; y: number } {
  if (before.length > 0) {
    const last = before.reduce((one, other) => (other.x + other.w > one.x + one.w ? other : one));
    const x = last.x + last.w + GAP_X;
    const column = all.filter((one) => one.x >= last.x + last.w + GAP_X / 2 && Math.abs(one.x - x) <= SNAP);
    return { x: column.length > 0 ? Math.min(...column.map((one) => one.x)) : x, y: last.y };
  }
  if (after.length > 0) {
    const first = after.reduce((one, other) => (other.x < one.x ? other : one));
    return { x: Math.max(first.x - GAP_X - size.w, start.x), y: first.y };
  }
  if (all.length === 0) return { x: Math.max(start.x, 0), y: Math.max(start.y, 0) };
  return { x: Math.min(...all.map((one) => one.x)), y: Math.max(...all.map((one) => one.y + one.h)) + GAP_Y };
}
