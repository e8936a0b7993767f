// From the document to what React Flow draws. Nodes that have not changed keep their objects, so that they are not drawn anew.

import type { Edge, Node } from "@xyflow/react";

import {
  type EdgeDoc,
  type GraphDoc,
  type GraphPath,
  isGraph,
  joinPath,
  type NodeDoc,
  type NoteDoc,
  type Place,
  type WorkflowDoc,
} from "../model/document";
import { BODY_MARGIN, BODY_TOP, NODE_HEIGHT, NODE_WIDTH, PORT_HEIGHT } from "../model/layout";
import { type NodeType, portsOf, type Registry } from "../model/types";
import { edgeName } from "./store";

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

/** Which ports are drawn: `error` only when an edge leaves by it, so that it does not clutter every node. */
function shown(ports: readonly string[], used: ReadonlySet<string>): string[] {
  return ports.filter((port) => port !== "error" || used.has("error"));
}

export function nodeSize(ports: number): { width: number; height: number } {
  return { width: NODE_WIDTH, height: NODE_HEIGHT + (ports > 1 ? ports * PORT_HEIGHT : 0) };
}

const UNUSED: ReadonlySet<string> = new Set();

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
    for (const [id, note] of Object.entries(doc.notes ?? {})) result.push(noteNode(id, note, picked.has(`note:${id}`)));
    const walk = (graph: GraphDoc, path: GraphPath): void => {
      const used = usedPorts(graph);
      for (const [id, node] of Object.entries(graph.nodes)) {
        const name = joinPath(path, id);
        const place = places[name] ?? { x: 0, y: 0 };
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
    const place = places[joinPath(path, id)] ?? { x: 0, y: 0 };
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
  return {
    id: `note:${id}`,
    type: note.kind === "group" ? "group" : "note",
    position: { x: note.x, y: note.y },
    width: note.w,
    height: note.h,
    zIndex: note.kind === "group" ? -2 : -1,
    selected,
    data: { note },
  };
}

export function flowEdges(doc: WorkflowDoc, places: Readonly<Record<string, Place>>, picked: ReadonlySet<string>): FlowEdge[] {
  const result: FlowEdge[] = [];
  const walk = (graph: GraphDoc, path: GraphPath): void => {
    for (const [id, edge] of Object.entries(graph.edges ?? {})) {
      const name = edgeName(path, id);
      result.push({
        id: name,
        type: "edge",
        source: joinPath(path, edge.from),
        target: joinPath(path, edge.to),
        sourceHandle: edge.port ?? "out",
        selected: picked.has(name),
        data: { edge, path },
      });
    }
    for (const [id, node] of Object.entries(graph.nodes)) {
      const body: unknown = node.config?.["body"];
      if (isGraph(body) && places[joinPath(path, id)]?.open) walk(body, [...path, id]);
    }
  };
  walk(doc, []);
  return result;
}
