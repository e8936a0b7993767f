// Places for nodes by elkjs, in a worker and loaded when it is first wanted; bodies are laid out inside of their nodes.

import type { ElkNode, ElkPort } from "elkjs/lib/elk-api";

import { at, graphAt, type GraphDoc, type GraphPath, graphs, isGraph, joinPath, type Place, record, type WorkflowDoc } from "./document";

export const NODE_WIDTH = 224;
export const NODE_HEIGHT = 64;
export const PORT_HEIGHT = 22;
export const BODY_TOP = 72;
export const BODY_MARGIN = 24;

const OPTIONS = {
  "elk.algorithm": "layered",
  "elk.direction": "RIGHT",
  "elk.layered.spacing.nodeNodeBetweenLayers": "72",
  "elk.spacing.nodeNode": "36",
  "elk.layered.nodePlacement.strategy": "NETWORK_SIMPLEX",
  "elk.layered.considerModelOrder.strategy": "NODES_AND_EDGES",
  "elk.padding": `[top=${BODY_TOP},left=${BODY_MARGIN},bottom=${BODY_MARGIN},right=${BODY_MARGIN}]`,
};

/** How large a closed node is, and by which ports it is left: each so far below its upper edge. */
export type SizeOf = (name: string) => { width: number; height: number; ports?: readonly { id: string; y: number }[] };

/** New places for all nodes of a document, or for the nodes of one graph of it and below. */
export async function laidOut(doc: WorkflowDoc, path: GraphPath, sizeOf: SizeOf): Promise<Record<string, Place>> {
  const graph = graphAt(doc, path);
  if (graph === undefined) return {};
  const { default: Elk } = await import("elkjs/lib/elk-api");
  const elk = new Elk({ workerUrl: new URL("elkjs/lib/elk-worker.min.js", import.meta.url).href });
  try {
    const found = await elk.layout(elkGraph(doc, graph, path, "root", sizeOf));
    const places = record<Place>();
    collect(found, path, places, doc, path.length === 0 ? { x: -BODY_MARGIN, y: -BODY_TOP } : { x: 0, y: 0 });
    return places;
  } finally {
    elk.terminateWorker();
  }
}

/** A graph as elk takes it; edges leave by their ports, so that they cross no more than the order of the ports asks for. */
export function elkGraph(doc: WorkflowDoc, graph: GraphDoc, path: GraphPath, id: string, sizeOf: SizeOf): ElkNode {
  return {
    id,
    layoutOptions: OPTIONS,
    children: Object.entries(graph.nodes).map(([key, node]) => {
      const name = joinPath(path, key);
      const body: unknown = node.config?.["body"];
      if (isGraph(body) && at(doc.layout, name)?.open && Object.keys(body.nodes).length > 0) {
        const inner = elkGraph(doc, body, [...path, key], name, sizeOf);
        return { ...inner, ports: elkPorts(name, sizeOf), layoutOptions: { ...inner.layoutOptions, "elk.portConstraints": "FIXED_ORDER" } };
      }
      const { width, height } = sizeOf(name);
      return { id: name, width, height, ports: elkPorts(name, sizeOf), layoutOptions: { "elk.portConstraints": "FIXED_POS" } };
    }),
    edges: Object.entries(graph.edges ?? {}).map(([key, edge]) => ({
      id: `${id}:${key}`,
      sources: [portName(joinPath(path, edge.from), edge.port ?? "out", sizeOf)],
      targets: [`${joinPath(path, edge.to)} in`],
    })),
  };
}

function elkPorts(name: string, sizeOf: SizeOf): ElkPort[] {
  const { width, ports = [] } = sizeOf(name);
  return [
    { id: `${name} in`, x: 0, y: NODE_HEIGHT / 2, layoutOptions: { "elk.port.side": "WEST" } },
    ...ports.map((port, index): ElkPort => ({
      id: `${name} out ${port.id}`,
      x: width,
      y: port.y,
      layoutOptions: { "elk.port.side": "EAST", "elk.port.index": String(index) },
    })),
  ];
}

function portName(name: string, port: string, sizeOf: SizeOf): string {
  return sizeOf(name).ports?.some((one) => one.id === port) ? `${name} out ${port}` : name;
}

function collect(
  found: ElkNode,
  path: GraphPath,
  places: Record<string, Place>,
  doc: WorkflowDoc,
  shift: { x: number; y: number },
): void {
  for (const child of found.children ?? []) {
    const { w: _w, h: _h, ...before } = at(doc.layout, child.id) ?? { x: 0, y: 0 };
    const size = child.children ? { w: Math.round(child.width ?? 0), h: Math.round(child.height ?? 0) } : {};
    places[child.id] = {
      ...before,
      ...size,
      x: Math.round((child.x ?? 0) + shift.x),
      y: Math.round((child.y ?? 0) + shift.y),
    };
    collect(child, path, places, doc, { x: 0, y: 0 });
  }
}

/** Something to stand on until the layout is known: columns by distance from the entries. */
export function roughPlaces(doc: WorkflowDoc): Record<string, Place> {
  const places = record<Place>();
  const place = (graph: GraphDoc, path: GraphPath): void => {
    const depths = depthsOf(graph);
    const rows = new Map<number, number>();
    for (const [id, node] of Object.entries(graph.nodes)) {
      const column = depths.get(id) ?? 0;
      const row = rows.get(column) ?? 0;
      rows.set(column, row + 1);
      const name = joinPath(path, id);
      const top = path.length > 0 ? BODY_TOP : 0;
      const left = path.length > 0 ? BODY_MARGIN : 0;
      places[name] = at(doc.layout, name) ?? {
        x: left + column * (NODE_WIDTH + 72),
        y: top + row * (NODE_HEIGHT + 48),
        ...(isGraph(node.config?.["body"]) ? { open: true } : {}),
      };
      const body: unknown = node.config?.["body"];
      if (isGraph(body)) place(body, [...path, id]);
    }
  };
  place(doc, []);
  return places;
}

/** How many edges lie at most between an entry and each node; what stands in a circle counts from where it is entered. */
export function depthsOf(graph: GraphDoc): Map<string, number> {
  const depth = new Map<string, number>();
  const open = new Map<string, number>();
  const after = new Map<string, string[]>();
  for (const edge of Object.values(graph.edges ?? {})) {
    open.set(edge.to, (open.get(edge.to) ?? 0) + 1);
    after.set(edge.from, [...(after.get(edge.from) ?? []), edge.to]);
  }
  const ready = Object.keys(graph.nodes).filter((id) => !open.has(id));
  for (const id of ready) {
    for (const next of after.get(id) ?? []) {
      depth.set(next, Math.max(depth.get(next) ?? 0, (depth.get(id) ?? 0) + 1));
      const left = (open.get(next) ?? 1) - 1;
      open.set(next, left);
      if (left === 0) ready.push(next);
    }
  }
  return depth;
}

const PLACED = new WeakMap<WorkflowDoc, Readonly<Record<string, Place>>>();

/** Where every node stands: as the document says, roughly for those of which it says nothing. */
export function placesOf(doc: WorkflowDoc): Readonly<Record<string, Place>> {
  const known = PLACED.get(doc);
  if (known !== undefined) return known;
  const places = isPlaced(doc) ? (doc.layout ?? {}) : roughPlaces(doc);
  PLACED.set(doc, places);
  return places;
}

/** Whether the document has places for all of its nodes, so that nothing has to be laid out. */
export function isPlaced(doc: WorkflowDoc): boolean {
  for (const [path, graph] of graphs(doc)) {
    for (const id of Object.keys(graph.nodes)) if (at(doc.layout, joinPath(path, id)) === undefined) return false;
  }
  return true;
}
