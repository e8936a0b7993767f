// From the document to what React Flow draws. Nodes that have not changed keep their objects, so that they are not drawn anew.

import { type Edge, type Node, type NodeHandle, Position } from "@xyflow/react";

import {
  at,
  type EdgeDoc,
  edgeName,
  graphAt,
  type GraphDoc,
  type GraphPath,
  isGraph,
  joinPath,
  type NodeDoc,
  type NoteDoc,
  type Place,
  splitPath,
  type WorkflowDoc,
} from "../model/document";
import { BODY_MARGIN, BODY_TOP, NODE_HEIGHT, NODE_WIDTH, PORT_HEIGHT, type SizeOf } from "../model/layout";
import { type NodeType, portsOf, type Registry } from "../model/types";

export interface NodeData extends Record<string, unknown> {
  id: string;
  node: NodeDoc;
  type: NodeType | undefined;
  ports: readonly string[];
  used: ReadonlySet<string>;
  isOpen: boolean;
  inner: number | null;
}

export interface NoteData extends Record<string, unknown> {
  note: NoteDoc;
}

export type FlowNode = Node<NodeData, "node" | "body"> | Node<NoteData, "note" | "group">;
export type FlowEdge = Edge<{ edge: EdgeDoc; path: readonly string[] }>;

/** Which ports are drawn: `error` only when an edge leaves by it, so that it does not clutter every node; and whatever an
 * edge leaves by though the node has no such port (any more), so that the edge can be seen. */
function shown(ports: readonly string[], used: ReadonlySet<string>): string[] {
  return [...ports.filter((port) => port !== "error" || used.has("error")), ...[...used].filter((port) => !ports.includes(port))];
}

export function nodeSize(ports: number): { width: number; height: number } {
  return { width: NODE_WIDTH, height: NODE_HEIGHT + (ports > 1 ? ports * PORT_HEIGHT : 0) };
}

/** The size of a node that is closed, and where its ports are. */
export function closedSize(doc: WorkflowDoc, name: string, registry: Registry): ReturnType<SizeOf> {
  const { path, id } = splitPath(name);
  const graph = graphAt(doc, path);
  const node = at(graph?.nodes, id);
  const used = new Set(Object.values(graph?.edges ?? {}).flatMap((edge) => (edge.from === id ? [edge.port ?? "out"] : [])));
  const ports = node === undefined ? [] : shown(portsOf(node, registry), used);
  return { ...nodeSize(ports.length), ports: ports.map((port, index) => ({ id: port, y: portTop(ports, index) })) };
}

const UNUSED: ReadonlySet<string> = new Set();
const NOWHERE: Place = { x: 0, y: 0 };

/** Nodes that are not drawn because their group is closed, each with what is drawn in its place. */
export function awayIn(doc: WorkflowDoc): Map<string, string> {
  const away = new Map<string, string>();
  for (const [id, note] of Object.entries(doc.notes ?? {})) {
    if (note.kind !== "group" || !note.collapsed) continue;
    for (const name of note.nodes ?? []) away.set(name, `note:${id}`);
  }
  return away;
}

/** How far below a node's upper edge a port is, and where its name is written. */
export function portTop(ports: readonly string[], index: number): number {
  return ports.length > 1 ? NODE_HEIGHT + index * PORT_HEIGHT + PORT_HEIGHT / 2 - 4 : NODE_HEIGHT / 2;
}

interface Kept {
  node: NodeDoc;
  place: Place;
  used: string;
  isPicked: boolean;
  parent: string | undefined;
  flow: FlowNode;
}

/** Keeps the flow nodes of last time. One for each canvas. */
export class Flow {
  private kept = new Map<string, Kept>();

  nodes(doc: WorkflowDoc, places: Readonly<Record<string, Place>>, registry: Registry, picked: ReadonlySet<string>): FlowNode[] {
    const result: FlowNode[] = [];
    const kept = new Map<string, Kept>();
    const away = awayIn(doc);
    for (const [id, note] of Object.entries(doc.notes ?? {})) result.push(noteNode(id, note, picked.has(`note:${id}`)));
    const walk = (graph: GraphDoc, path: GraphPath): void => {
      const used = usedPorts(graph);
      for (const [id, node] of Object.entries(graph.nodes)) {
        const name = joinPath(path, id);
        if (away.has(name)) continue;
        const place = at(places, name) ?? NOWHERE;
        const body: unknown = node.config?.["body"];
        const isOpen = isGraph(body) && place.open === true;
        const flow = this.one(name, id, node, place, used.get(id) ?? UNUSED, registry, picked.has(name), path, isOpen ? body : undefined, places, kept);
        result.push(flow);
        if (isOpen) walk(body, [...path, id]);
      }
    };
    walk(doc, []);
    this.kept = kept;
    return result;
  }

  private one(
    name: string,
    id: string,
    node: NodeDoc,
    place: Place,
    used: ReadonlySet<string>,
    registry: Registry,
    isPicked: boolean,
    path: GraphPath,
    body: GraphDoc | undefined,
    places: Readonly<Record<string, Place>>,
    kept: Map<string, Kept>,
  ): FlowNode {
    const parent = path.length > 0 ? path.join("/") : undefined;
    const mark = [...used].join("\n");
    const before = this.kept.get(name);
    if (
      before !== undefined &&
      before.node === node &&
      before.place === place &&
      before.used === mark &&
      before.isPicked === isPicked &&
      before.parent === parent &&
      body === undefined
    ) {
      kept.set(name, before);
      return before.flow;
    }
    const ports = shown(portsOf(node, registry), used);
    const inner: unknown = node.config?.["body"];
    const size = body === undefined ? nodeSize(ports.length) : bodySize(body, [...path, id], places, registry);
    const flow: FlowNode = {
      id: name,
      type: body === undefined ? "node" : "body",
      position: { x: place.x, y: place.y },
      width: body === undefined ? size.width : Math.max(place.w ?? 0, size.width),
      height: place.h !== undefined && body !== undefined ? Math.max(place.h, size.height) : size.height,
      ...(parent === undefined ? {} : { parentId: parent }),
      handles: handlesOf(ports, body === undefined ? size.width : Math.max(place.w ?? 0, size.width)),
      selected: isPicked,
      data: {
        id,
        node,
        type: registry.get(node.type),
        ports,
        used,
        isOpen: body !== undefined,
        inner: isGraph(inner) ? Object.keys(inner.nodes).length : null,
      },
    };
    kept.set(name, { node, place, used: mark, isPicked, parent, flow });
    return flow;
  }
}

const PORT_SIZE = 11;

/** Where the ports are, so that edges can be drawn before the nodes have been measured. */
function handlesOf(ports: readonly string[], width: number): NodeHandle[] {
  const size = { width: PORT_SIZE, height: PORT_SIZE };
  const half = PORT_SIZE / 2;
  return [
    { type: "target", position: Position.Left, x: -half, y: NODE_HEIGHT / 2 - half, ...size },
    ...ports.map((port, index): NodeHandle => ({
      id: port,
      type: "source",
      position: Position.Right,
      x: width - half,
      y: portTop(ports, index) - half,
      ...size,
    })),
  ];
}

/** Large enough for what is inside. */
function bodySize(
  body: GraphDoc,
  path: GraphPath,
  places: Readonly<Record<string, Place>>,
  registry: Registry,
): { width: number; height: number } {
  let width = NODE_WIDTH + 2 * BODY_MARGIN;
  let height = BODY_TOP + NODE_HEIGHT + BODY_MARGIN;
  const used = usedPorts(body);
  for (const [id, node] of Object.entries(body.nodes)) {
    const place = at(places, joinPath(path, id)) ?? NOWHERE;
    const inner: unknown = node.config?.["body"];
    const size =
      isGraph(inner) && place.open
        ? bodySize(inner, [...path, id], places, registry)
        : nodeSize(shown(portsOf(node, registry), used.get(id) ?? UNUSED).length);
    width = Math.max(width, place.x + size.width + BODY_MARGIN);
    height = Math.max(height, place.y + size.height + BODY_MARGIN);
  }
  return { width, height };
}

function usedPorts(graph: GraphDoc): Map<string, Set<string>> {
  const used = new Map<string, Set<string>>();
  for (const edge of Object.values(graph.edges ?? {})) {
    const ports = used.get(edge.from) ?? new Set();
    ports.add(edge.port ?? "out");
    used.set(edge.from, ports);
  }
  return used;
}

function noteNode(id: string, note: NoteDoc, selected: boolean): FlowNode {
  const isClosed = note.kind === "group" && note.collapsed === true;
  return {
    id: `note:${id}`,
    type: note.kind === "group" ? "group" : "note",
    position: { x: note.x, y: note.y },
    width: isClosed ? NODE_WIDTH : note.w,
    height: isClosed ? NODE_HEIGHT : note.h,
    ...(isClosed ? { handles: handlesOf(["out"], NODE_WIDTH) } : {}),
    zIndex: isClosed ? 0 : note.kind === "group" ? -2 : -1,
    selected,
    data: { note },
  };
}

export function flowEdges(doc: WorkflowDoc, places: Readonly<Record<string, Place>>, picked: ReadonlySet<string>): FlowEdge[] {
  const result: FlowEdge[] = [];
  const away = awayIn(doc);
  const walk = (graph: GraphDoc, path: GraphPath): void => {
    for (const [id, edge] of Object.entries(graph.edges ?? {})) {
      const name = edgeName(path, id);
      const [source, target] = [joinPath(path, edge.from), joinPath(path, edge.to)];
      const [from, to] = [away.get(source) ?? source, away.get(target) ?? target];
      if (from === to || at(graph.nodes, edge.from) === undefined || at(graph.nodes, edge.to) === undefined) continue;
      result.push({
        id: name,
        type: "edge",
        source: from,
        target: to,
        sourceHandle: from === source ? (edge.port ?? "out") : "out",
        selected: picked.has(name),
        data: { edge, path },
      });
    }
    for (const [id, node] of Object.entries(graph.nodes)) {
      const body: unknown = node.config?.["body"];
      if (isGraph(body) && at(places, joinPath(path, id))?.open && !away.has(joinPath(path, id))) walk(body, [...path, id]);
    }
  };
  walk(doc, []);
  return result;
}
