// The graph: React Flow draws and drags, the document is the truth. A drag becomes one edit when it ends.

import {
  applyNodeChanges,
  Background,
  BackgroundVariant,
  type Connection,
  Controls,
  type EdgeChange,
  MiniMap,
  type NodeChange,
  Panel,
  ReactFlow,
  useReactFlow,
} from "@xyflow/react";
import { type DragEvent, type ReactElement, useCallback, useEffect, useMemo, useRef, useState } from "react";

import { splitPath } from "../model/document";
import * as edits from "../model/edits";
import { roughPlaces } from "../model/layout";
import { addFromPalette } from "./actions";
import { EdgeView } from "./EdgeView";
import { Flow, flowEdges, type FlowEdge, type FlowNode } from "./flow";
import { BodyView, NodeView, NoteView } from "./NodeView";
import { useDoc, useEditor } from "./store";

const NODE_TYPES = { node: NodeView, body: BodyView, note: NoteView, group: NoteView };
const EDGE_TYPES = { edge: EdgeView };
export const DRAG_TYPE = "application/x-aob-node-type";
const GRID: [number, number] = [8, 8];
const MANY = 150;

export function Canvas(): ReactElement {
  const doc = useDoc();
  const registry = useEditor((state) => state.registry);
  const selection = useEditor((state) => state.selection);
  const { edit, select, open, say, seal } = useEditor.getState();
  const flow = useReactFlow();
  const keeper = useRef(new Flow());
  const [dragged, setDragged] = useState<FlowNode[] | null>(null);

  const places = useMemo(() => ({ ...roughPlaces(doc), ...doc.layout }), [doc]);
  const picked = useMemo(
    () => new Set([...selection.nodes, ...selection.notes.map((id) => `note:${id}`), ...selection.edges]),
    [selection],
  );
  const nodes = useMemo(() => keeper.current.nodes(doc, places, registry, picked), [doc, places, registry, picked]);
  const edges = useMemo(() => flowEdges(doc, places, picked), [doc, places, picked]);
  useEffect(() => setDragged(null), [nodes]);

  const onNodesChange = useCallback(
    (changes: NodeChange<FlowNode>[]) => {
      const chosen = changes.filter((change) => change.type === "select");
      if (chosen.length > 0) {
        const names = new Set([...picked].filter((name) => !name.includes("#")));
        for (const change of chosen) change.selected ? names.add(change.id) : names.delete(change.id);
        select(selectionOf([...names], [...picked].filter((name) => name.includes("#"))));
      }
      const moves = changes.filter((change) => change.type === "position");
      if (moves.length > 0) setDragged((now) => applyNodeChanges(moves, now ?? nodes));
    },
    [nodes, picked, select],
  );

  const onEdgesChange = useCallback(
    (changes: EdgeChange<FlowEdge>[]) => {
      const names = new Set([...picked].filter((name) => name.includes("#")));
      for (const change of changes) {
        if (change.type === "select") change.selected ? names.add(change.id) : names.delete(change.id);
      }
      select(selectionOf([...picked].filter((name) => !name.includes("#")), [...names]));
    },
    [picked, select],
  );

  const endDrag = useCallback(
    (_: unknown, __: unknown, moved: FlowNode[]) => {
      seal();
      edit(moved.length === 1 ? "Move" : `Move ${moved.length} nodes`, (now) => {
        const points: Record<string, edits.Point> = {};
        let next = now;
        for (const one of moved) {
          if (!one.id.startsWith("note:")) {
            points[one.id] = one.position;
            continue;
          }
          const note = next.notes?.[one.id.slice(5)];
          const [dx, dy] = [one.position.x - (note?.x ?? 0), one.position.y - (note?.y ?? 0)];
          next = edits.setNote(next, one.id.slice(5), { x: Math.round(one.position.x), y: Math.round(one.position.y) });
          // A group takes its nodes along.
          for (const name of note?.nodes ?? []) {
            const place = places[name];
            if (place !== undefined && points[name] === undefined) points[name] = { x: place.x + dx, y: place.y + dy };
          }
        }
        return edits.movePlaces(next, points);
      });
      setDragged(null);
    },
    [edit, seal, places],
  );

  const connection = useCallback((source: string, target: string) => {
    const [from, to] = [splitPath(source), splitPath(target)];
    return { path: from.path, from: from.id, to: to.id, same: from.path.join("/") === to.path.join("/") };
  }, []);

  const isValid = useCallback(
    (wanted: Connection | FlowEdge) => {
      const { path, from, to, same } = connection(wanted.source, wanted.target);
      return same && edits.refusal(useEditor.getState().history.present, path, from, to, wanted.sourceHandle ?? "out") === null;
    },
    [connection],
  );

  const connect = useCallback(
    (wanted: Connection) => {
      const { path, from, to } = connection(wanted.source, wanted.target);
      const port = wanted.sourceHandle ?? "out";
      edit("Connect", (now) => edits.addEdge(now, path, { from, to, port }).doc);
    },
    [connection, edit],
  );

  const dropped = useCallback(
    (event: MouseEvent | TouchEvent, state: { isValid: boolean | null; fromNode: { id: string } | null; fromHandle: { id?: string | null; type: string } | null; toNode: { id: string } | null }) => {
      if (state.isValid || state.fromNode === null || state.fromHandle?.type !== "source") return;
      const port = state.fromHandle.id ?? "out";
      if (state.toNode !== null) {
        const { path, from, to, same } = connection(state.fromNode.id, state.toNode.id);
        const why = same
          ? edits.refusal(useEditor.getState().history.present, path, from, to, port)
          : "An edge joins two nodes of the same graph.";
        if (why !== null) say(why, "error");
        return;
      }
      const point = "changedTouches" in event ? event.changedTouches[0]! : event;
      open({
        kind: "palette",
        from: { name: state.fromNode.id, port },
        path: splitPath(state.fromNode.id).path,
        at: flow.screenToFlowPosition({ x: point.clientX, y: point.clientY }),
      });
    },
    [connection, flow, open, say],
  );

  const onDrop = useCallback(
    (event: DragEvent) => {
      const name = event.dataTransfer.getData(DRAG_TYPE);
      if (name === "") return;
      event.preventDefault();
      const at = flow.screenToFlowPosition({ x: event.clientX, y: event.clientY });
      const within = flow
        .getIntersectingNodes({ x: at.x, y: at.y, width: 1, height: 1 })
        .filter((one) => one.type === "body")
        .sort((one, other) => other.id.length - one.id.length)[0];
      const path = within === undefined ? [] : within.id.split("/");
      addFromPalette(name, { path, at: within === undefined ? at : relativeTo(flow, within.id, at) });
    },
    [flow],
  );

  return (
    <div className="canvas" onDrop={onDrop} onDragOver={(event) => event.preventDefault()}>
      <ReactFlow<FlowNode, FlowEdge>
        nodes={dragged ?? nodes}
        edges={edges}
        nodeTypes={NODE_TYPES}
        edgeTypes={EDGE_TYPES}
        onNodesChange={onNodesChange}
        onEdgesChange={onEdgesChange}
        onNodeDragStop={endDrag}
        onSelectionDragStop={(event, moved) => endDrag(event, null, moved)}
        onConnect={connect}
        onConnectEnd={dropped}
        isValidConnection={isValid}
        onNodeDoubleClick={(_, node) => {
          if (!node.id.startsWith("note:")) useEditor.getState().show("inspector");
        }}
        onPaneContextMenu={(event) => {
          event.preventDefault();
          open({ kind: "palette", path: [], at: flow.screenToFlowPosition({ x: event.clientX, y: event.clientY }) });
        }}
        onlyRenderVisibleElements={nodes.length > MANY}
        selectionOnDrag={false}
        multiSelectionKeyCode={["Meta", "Control", "Shift"]}
        selectionKeyCode="Shift"
        deleteKeyCode={null}
        disableKeyboardA11y
        snapToGrid
        snapGrid={GRID}
        minZoom={0.05}
        maxZoom={2}
        fitView
        fitViewOptions={{ maxZoom: 1, padding: 0.2 }}
        proOptions={{ hideAttribution: true }}
        colorMode="system"
      >
        <Background variant={BackgroundVariant.Dots} gap={24} size={1} />
        <Controls showInteractive={false} position="bottom-left" />
        <MiniMap pannable zoomable position="bottom-right" ariaLabel="Map of the graph" nodeStrokeWidth={2} />
        {Object.keys(doc.nodes).length === 0 && (
          <Panel position="top-center" className="empty-canvas">
            <h2>An empty workflow</h2>
            <p>
              Press <kbd>/</kbd> to add the first node, drag one from the palette, or paste nodes that you copied.
            </p>
            <button type="button" className="main" onClick={() => open({ kind: "palette", path: [] })}>
              Add a node
            </button>
          </Panel>
        )}
      </ReactFlow>
    </div>
  );
}

function selectionOf(names: readonly string[], edges: readonly string[]): { nodes: string[]; notes: string[]; edges: string[] } {
  return {
    nodes: names.filter((name) => !name.startsWith("note:")),
    notes: names.filter((name) => name.startsWith("note:")).map((name) => name.slice(5)),
    edges: [...edges],
  };
}

/** A point inside of an open body, from a point of the canvas. */
export function relativeTo(flow: ReturnType<typeof useReactFlow>, name: string, at: edits.Point): edits.Point {
  let { x, y } = at;
  for (let here = name; here !== ""; here = splitPath(here).path.join("/")) {
    const found = flow.getNode(here);
    x -= found?.position.x ?? 0;
    y -= found?.position.y ?? 0;
  }
  return { x, y };
}

