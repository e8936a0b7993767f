// Places for nodes by elkjs, in a worker and loaded when it is first wanted; bodies are laid out inside of their nodes.

import type { ElkNode } from "elkjs/lib/elk-api";

import { graphAt, type GraphDoc, type GraphPath, isGraph, joinPath, type Place, type WorkflowDoc } from "./document";

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

export type SizeOf = (name: string) => { width: number; height: number };

/** New places for all nodes of a document, or for the nodes of one graph of it and below. */
export async function laidOut(doc: WorkflowDoc, path: GraphPath, sizeOf: SizeOf): Promise<Record<string, Place>> {
  const graph = graphAt(doc, path);
  if (graph === undefined) return {};
  const { default: Elk } = await import("elkjs/lib/elk-api");
  const elk = new Elk({ workerUrl: new URL("elkjs/lib/elk-worker.min.js", import.meta.url).href });
  try {
    const found = await elk.layout(elkGraph(doc, graph, path, "root", sizeOf));
    const places: Record<string, Place> = {};
    collect(found, path, places, doc, path.length === 0 ? { x: -BODY_MARGIN, y: -BODY_TOP } : { x: 0, y: 0 });
    return places;
  } finally {
    elk.terminateWorker();
  }
}

function elkGraph(doc: WorkflowDoc, graph: GraphDoc, path: GraphPath, id: string, sizeOf: SizeOf): ElkNode {
  return {
    id,
    layoutOptions: OPTIONS,
    children: Object.entries(graph.nodes).map(([key, node]) => {
      const name = joinPath(path, key);
      const body: unknown = node.config?.["body"];
      if (isGraph(body) && doc.layout?.[name]?.open && Object.keys(body.nodes).length > 0) {
        return elkGraph(doc, body, [...path, key], name, sizeOf);
      }
      return { id: name, ...sizeOf(name) };
    }),
    edges: Object.entries(graph.edges ?? {}).map(([key, edge]) => ({
      id: `${id}:${key}`,
      sources: [joinPath(path, edge.from)],
      targets: [joinPath(path, edge.to)],
    })),
  };
}

function collect(
  found: ElkNode,
  path: GraphPath,
  places: Record<string, Place>,
  doc: WorkflowDoc,
  shift: { x: number; y: number },
): void {
  for (const child of found.children ?? []) {
    const { w: _w, h: _h, ...before } = doc.layout?.[child.id] ?? { x: 0, y: 0 };
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
  const places: Record<string, Place> = {};
  const place = (graph: GraphDoc, path: GraphPath): void => {
    const depth = new Map<string, number>();
    const incoming = new Map<string, string[]>(Object.keys(graph.nodes).map((id) => [id, []]));
    for (const edge of Object.values(graph.edges ?? {})) incoming.get(edge.to)?.push(edge.from);
    const depthOf = (id: string, seen: ReadonlySet<string>): number => {
      const known = depth.get(id);
      if (known !== undefined) return known;
      if (seen.has(id)) return 0;
      const within = new Set([...seen, id]);
      const own = Math.max(-1, ...(incoming.get(id) ?? []).map((before) => depthOf(before, within))) + 1;
      depth.set(id, own);
      return own;
    };
    const rows = new Map<number, number>();
    for (const [id, node] of Object.entries(graph.nodes)) {
      const column = depthOf(id, new Set());
      const row = rows.get(column) ?? 0;
      rows.set(column, row + 1);
      const name = joinPath(path, id);
      const top = path.length > 0 ? BODY_TOP : 0;
      const left = path.length > 0 ? BODY_MARGIN : 0;
      places[name] = doc.layout?.[name] ?? {
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
