// Where something lands that is let go over the canvas: in which graph, and in which edge.

import { splitPath, type WorkflowDoc } from "../model/document";
import * as edits from "../model/edits";
import { type Box, distanceToCurve, grown, holds, middle, type Point } from "../model/geometry";
import { BODY_TOP, NODE_HEIGHT, NODE_WIDTH } from "../model/layout";
import { type FlowEdge, type FlowNode, type NodeData, portTop } from "./flow";
import { splitEdge } from "./store";

/** A node leaves its body only when it is taken clearly beyond the border; until then the body grows with it. */
const BORDER = 48;
const REACH = 18;
const EDGE = 8;

export interface Landing {
  path: string[];
  /** The edge that would be split by it. */
  edge: FlowEdge | null;
}

export interface Stage {
  nodes: readonly FlowNode[];
  edges: readonly FlowEdge[];
  boxes: ReadonlyMap<string, Box>;
}

/** The graph under a point: that of the innermost open body there which is not itself being moved. */
export function graphUnder(stage: Stage, point: Point, moved: readonly string[]): string[] {
  const home = moved[0] === undefined ? "" : splitPath(moved[0]).path.join("/");
  const isMoved = (name: string): boolean => moved.some((one) => name === one || name.startsWith(`${one}/`));
  const bodies = stage.nodes
    .filter((one) => one.type === "body" && !isMoved(one.id))
    .filter((one) => holds(one.id === home ? grown(stage.boxes.get(one.id)!, BORDER) : stage.boxes.get(one.id)!, point));
  const inner = bodies.sort((one, other) => other.id.split("/").length - one.id.split("/").length)[0];
  return inner === undefined ? [] : inner.id.split("/");
}

/** The edge of a graph that a node which is not connected yet would be put into. */
export function edgeUnder(stage: Stage, path: readonly string[], point: Point, moved: string | null): FlowEdge | null {
  if (moved !== null && stage.edges.some((one) => one.source === moved || one.target === moved)) return null;
  let best: { edge: FlowEdge; distance: number } | null = null;
  for (const edge of stage.edges) {
    const own = edge.data;
    if (own === undefined || own.path.join("/") !== path.join("/") || edge.source.startsWith("note:") || edge.target.startsWith("note:")) continue;
    const [source, target] = [stage.boxes.get(edge.source), stage.boxes.get(edge.target)];
    if (source === undefined || target === undefined) continue;
    const ports = (stage.nodes.find((one) => one.id === edge.source)?.data as NodeData | undefined)?.ports ?? [];
    const from = { x: source.x + source.w, y: source.y + portTop(ports, Math.max(0, ports.indexOf(own.edge.port ?? "out"))) };
    const distance = distanceToCurve(from, { x: target.x, y: target.y + portTop([], 0) }, point);
    if (distance < (best?.distance ?? REACH)) best = { edge, distance };
  }
  return best?.edge ?? null;
}

export function landing(stage: Stage, point: Point, moved: readonly string[]): Landing {
  const path = graphUnder(stage, point, moved);
  const [only] = moved;
  const stays = only !== undefined && splitPath(only).path.join("/") === path.join("/");
  const box = only === undefined ? undefined : stage.boxes.get(only);
  const edge = moved.length === 1 && stays && box !== undefined ? edgeUnder(stage, path, middle(box), only!) : null;
  return { path, edge };
}

/** The document after nodes were let go: moved, taken into another graph, put into an edge. `places` are on the whole canvas. */
export function landed(
  doc: WorkflowDoc,
  stage: Stage,
  places: Readonly<Record<string, Point>>,
  where: Landing,
): { doc: WorkflowDoc; names: string[]; lost: number } {
  const names = Object.keys(places);
  const home = stage.boxes.get(where.path.join("/"));
  const inside = (point: Point): Point =>
    home === undefined ? point : { x: Math.max(EDGE, point.x - home.x), y: Math.max(BODY_TOP - 2 * EDGE, point.y - home.y) };
  const local = (name: string, point: Point): Point => {
    const owner = stage.boxes.get(splitPath(name).path.join("/"));
    return owner === undefined ? point : { x: Math.max(EDGE, point.x - owner.x), y: Math.max(BODY_TOP - 2 * EDGE, point.y - owner.y) };
  };
  const leaving = names.filter((name) => splitPath(name).path.join("/") !== where.path.join("/"));
  if (leaving.length > 0 && edits.moveRefusal(doc, leaving, where.path) === null) {
    const staying = Object.fromEntries(names.filter((one) => !leaving.includes(one)).map((one) => [one, local(one, places[one]!)]));
    const points = Object.fromEntries(leaving.map((name) => [name, inside(places[name]!)]));
    const result = edits.moveNodes(edits.movePlaces(doc, staying), leaving, where.path, points);
    return { ...result, names: [...Object.keys(staying), ...result.names] };
  }
  let next = edits.movePlaces(doc, Object.fromEntries(names.map((name) => [name, local(name, places[name]!)])));
  if (where.edge !== null && names.length === 1) {
    next = edits.splice(next, where.path, splitEdge(where.edge.id).id, splitPath(names[0]!).id);
  }
  const middles = Object.fromEntries(
    names.filter((name) => !name.includes("/")).map((name) => [name, { x: places[name]!.x + NODE_WIDTH / 2, y: places[name]!.y + NODE_HEIGHT / 2 }]),
  );
  return { doc: edits.regroup(next, middles), names, lost: 0 };
}
