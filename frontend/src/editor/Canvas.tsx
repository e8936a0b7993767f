// The graph: React Flow draws and drags, the document is the truth. A drag becomes one edit when it ends.

import {
  applyNodeChanges,
  Background,
  BackgroundVariant,
  type Connection,
  ControlButton,
  Controls,
  type EdgeChange,
  getViewportForBounds,
  type NodeChange,
  Panel,
  ReactFlow,
  useReactFlow,
  useStoreApi,
  ViewportPortal,
} from "@xyflow/react";
import { type DragEvent, type PointerEvent, type ReactElement, type RefObject, useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";

import { nodeAt, splitPath } from "../model/document";
import * as edits from "../model/edits";
import { around, type Box, boxesOf, guides, holds, type Line, meets, type Point } from "../model/geometry";
import { NODE_HEIGHT, NODE_WIDTH, placesOf } from "../model/layout";
import { firstView, MIN_ZOOM } from "../shared/canvas";
import { Maximize } from "../shared/icons";
import { addFromPalette } from "./actions";
import { Backdrop } from "./Backdrop";
import { edgeUnder, graphUnder, type Landing, landed, landing, type Stage } from "./dropping";
import { EdgeView } from "./EdgeView";
import { Flow, flowEdges, type FlowEdge, type FlowNode } from "./flow";
import { BodyView, NodeView, NoteView } from "./NodeView";
import { Overview } from "./Overview";
import { useShown, windowOf } from "./shown";
import { splitEdge, useDoc, useEditor } from "./store";

const NODE_TYPES = { node: NodeView, body: BodyView, note: NoteView, group: NoteView };
const EDGE_TYPES = { edge: EdgeView };
export const DRAG_TYPE = "application/x-aob-node-type";
const GRID: [number, number] = [8, 8];
const GUIDES_WITHIN = 6;
/** So far around its end an edge is taken hold of, in pixels. */
const REACH = 9;
const STILL: Point = { x: 0, y: 0 };

/** The canvas once its size is known, so that its first picture shows everything. */
export function Canvas(): ReactElement {
  const frame = useRef<HTMLDivElement>(null);
  const [size, setSize] = useState<{ width: number; height: number } | null>(null);
  useLayoutEffect(() => {
    const { clientWidth, clientHeight } = frame.current!;
    setSize({ width: clientWidth, height: clientHeight });
  }, []);
  return (
    <div className="canvas" ref={frame}>
      {size !== null && <Graph frame={frame} size={size} />}
    </div>
  );
}

function viewOf(box: Box | null, size: { width: number; height: number }, padding: number, maxZoom: number): { x: number; y: number; zoom: number } {
  if (box === null) return { x: size.width / 2, y: size.height / 2, zoom: 1 };
  return getViewportForBounds({ x: box.x, y: box.y, width: box.w, height: box.h }, size.width, size.height, MIN_ZOOM, maxZoom, padding);
}

function Graph({ frame, size }: { frame: RefObject<HTMLDivElement | null>; size: { width: number; height: number } }): ReactElement {
  const doc = useDoc();
  const registry = useEditor((state) => state.registry);
  const selection = useEditor((state) => state.selection);
  const { edit, select, open, say, seal, set } = useEditor.getState();
  const flow = useReactFlow();
  const store = useStoreApi();
  const keeper = useRef(new Flow());
  const [dragged, setDragged] = useState<readonly FlowNode[] | null>(null);
  const [shift, setShift] = useState(STILL);
  const [lines, setLines] = useState<readonly Line[]>([]);
  const [hovered, setHovered] = useState<string | null>(null);

  const panel = useEditor((state) => state.panel);
  /** The one node that is chosen while nothing of it is shown: a small screen asks what to do with it. */
  const chosen = selection.nodes.length === 1 && panel !== "inspector" ? selection.nodes[0] : undefined;
  const places = placesOf(doc);
  const picked = useMemo(
    () => new Set([...selection.nodes, ...selection.notes.map((id) => `note:${id}`), ...selection.edges]),
    [selection],
  );
  const nodes = useMemo(() => keeper.current.nodes(doc, places, registry, picked), [doc, places, registry, picked]);
  const edges = useMemo(() => flowEdges(doc, places, picked), [doc, places, picked]);
  const boxes = useMemo(() => boxesOf(nodes), [nodes]);
  const stage = useRef<Stage>({ nodes, edges, boxes });
  stage.current = { nodes, edges, boxes };
  const [first] = useState(() => firstView([...boxes.values()], size, { padding: 0.15, maxZoom: 1 }));
  const shown = useShown(nodes, edges, boxes, picked, hovered, windowOf(first, size));
  useEffect(() => setDragged(null), [shown.nodes]);
  useLooking(stage, frame);

  const onNodesChange = useCallback(
    (changes: NodeChange<FlowNode>[]) => {
      const chosen = changes.filter((change) => change.type === "select");
      if (chosen.length > 0) {
        const names = new Set([...picked].filter((name) => !name.includes("#")));
        for (const change of chosen) change.selected ? names.add(change.id) : names.delete(change.id);
        select(selectionOf([...names], [...picked].filter((name) => name.includes("#"))));
      }
      const moves = changes.filter((change) => change.type === "position");
      if (moves.length === 0) return;
      const [move] = moves;
      if (moves.length === 1 && move?.dragging && move.position !== undefined) {
        const found = lineUp(stage.current, move.id, move.position, GUIDES_WITHIN / flow.getZoom());
        move.position = { x: move.position.x + found.dx, y: move.position.y + found.dy };
        setLines(found.lines);
      }
      setDragged((now) => applyNodeChanges(moves, [...(now ?? shown.nodes)]));
    },
    [picked, select, shown.nodes, flow],
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

  const pointOf = useCallback(
    (event: MouseEvent | TouchEvent): Point => {
      const at = "changedTouches" in event ? (event.changedTouches[0] ?? event.touches[0])! : event;
      return flow.screenToFlowPosition({ x: at.clientX, y: at.clientY }, { snapToGrid: false });
    },
    [flow],
  );

  /** Where what is dragged would land; bodies and edges show it. */
  const aim = useCallback(
    (event: MouseEvent | TouchEvent, moved: readonly FlowNode[]): Landing => {
      const names = moved.map((one) => one.id).filter((name) => !name.startsWith("note:"));
      const now: Stage = { ...stage.current, boxes: new Map([...stage.current.boxes, ...absolute(stage.current, moved)]) };
      return names.length === 0 ? { path: [], edge: null } : landing(now, pointOf(event), names);
    },
    [pointOf],
  );

  const onDrag = useCallback(
    (event: MouseEvent | TouchEvent, _: unknown, moved: FlowNode[]) => {
      const where = aim(event, moved);
      const home = splitPath(moved.find((one) => !one.id.startsWith("note:"))?.id ?? "").path.join("/");
      const dropping = where.edge?.id ?? (where.path.join("/") === home ? null : where.path.join("/"));
      if (useEditor.getState().dropping !== dropping) set({ dropping });
      const [one] = moved;
      const before = one === undefined ? undefined : stage.current.nodes.find((node) => node.id === one.id)?.position;
      if (shown.live !== null && one !== undefined && before !== undefined) setShift({ x: one.position.x - before.x, y: one.position.y - before.y });
    },
    [aim, set, shown.live],
  );

  const endDrag = useCallback(
    (event: MouseEvent | TouchEvent, _: unknown, moved: FlowNode[]) => {
      seal();
      set({ dropping: null });
      setLines([]);
      setShift(STILL);
      setDragged(null);
      const where = aim(event, moved);
      const points = draggedPlaces(stage.current, moved, useEditor.getState().selection.nodes);
      const names = Object.keys(points);
      let [after, lost]: [string[], number] = [names, 0];
      edit(names.length === 1 ? "Move" : `Move ${names.length} nodes`, (now) => {
        const result = landed(withNotesMoved(now, moved), stage.current, points, where);
        [after, lost] = [result.names, result.lost];
        return result.doc;
      });
      if (after.join() !== names.join()) {
        select({ nodes: after });
        const edgesLost = lost === 0 ? "" : ` ${lost === 1 ? "One edge" : `${lost} edges`} across the border went; undo brings them back.`;
        say(`${where.path.length > 0 ? `Moved into ${where.path.at(-1)}` : "Moved out"}.${edgesLost}`);
      }
    },
    [aim, edit, seal, select, say, set],
  );

  const connection = useCallback((source: string, target: string) => {
    const [from, to] = [splitPath(source), splitPath(target)];
    return { path: from.path, from: from.id, to: to.id, same: from.path.join("/") === to.path.join("/") };
  }, []);

  /** The edge of which an end is being dragged. */
  const held = useRef<string | null>(null);

  const refusalOf = useCallback(
    (source: string, target: string, port: string): string | null => {
      const { path, from, to, same } = connection(source, target);
      if (!same) return "An edge joins two nodes of the same graph.";
      const doc = useEditor.getState().history.present;
      return held.current === null ? edits.refusal(doc, path, from, to, port) : edits.reconnectRefusal(doc, path, splitEdge(held.current).id, { from, to, port });
    },
    [connection],
  );

  const isValid = useCallback((wanted: Connection | FlowEdge) => refusalOf(wanted.source, wanted.target, wanted.sourceHandle ?? "out") === null, [refusalOf]);

  const reconnect = useCallback(
    (old: FlowEdge, wanted: Connection) => {
      const { path, from, to } = connection(wanted.source, wanted.target);
      edit("Reconnect", (now) => edits.reconnect(now, path, splitEdge(old.id).id, { from, to, port: wanted.sourceHandle ?? "out" }));
    },
    [connection, edit],
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
    (event: MouseEvent | TouchEvent, state: { isValid: boolean | null; fromNode: { id: string } | null; fromHandle: { id?: string | null; type: string } | null; toNode: { id: string } | null; toHandle: { id?: string | null } | null }) => {
      if (state.isValid || state.fromNode === null || state.fromHandle === null) return;
      const isSource = state.fromHandle.type === "source";
      if (state.toNode !== null) {
        const [source, target] = isSource ? [state.fromNode.id, state.toNode.id] : [state.toNode.id, state.fromNode.id];
        const port = (isSource ? state.fromHandle.id : state.toHandle?.id) ?? "out";
        const why = refusalOf(source, target, port);
        if (why !== null) say(why, "error");
        return;
      }
      if (held.current !== null) return;
      const { path } = splitPath(state.fromNode.id);
      const at = inGraph(stage.current, path, pointOf(event));
      if (isSource) open({ kind: "palette", from: { name: state.fromNode.id, port: state.fromHandle.id ?? "out" }, path, at });
      else open({ kind: "palette", to: state.fromNode.id, path, at: { x: at.x - NODE_WIDTH, y: at.y - NODE_HEIGHT / 2 } });
    },
    [open, pointOf, refusalOf, say],
  );

  const menu = useCallback(
    (event: { preventDefault: () => void; clientX: number; clientY: number }, name: string) => {
      event.preventDefault();
      if (!useEditor.getState().selection.nodes.includes(name)) select({ nodes: [name] });
      open({ kind: "menu", of: name, at: { x: event.clientX, y: event.clientY } });
    },
    [open, select],
  );

  const onDrop = useCallback(
    (event: DragEvent) => {
      const name = event.dataTransfer.getData(DRAG_TYPE);
      set({ dropping: null });
      if (name === "") return;
      event.preventDefault();
      const at = pointOf(event.nativeEvent);
      const path = graphUnder(stage.current, at, []);
      const edge = edgeUnder(stage.current, path, at, null);
      addFromPalette(name, { path, at: inGraph(stage.current, path, at), ...(edge === null ? {} : { edge: splitEdge(edge.id) }) });
    },
    [pointOf, set],
  );

  const onDragOver = useCallback(
    (event: DragEvent) => {
      event.preventDefault();
      const at = pointOf(event.nativeEvent);
      const path = graphUnder(stage.current, at, []);
      const dropping = edgeUnder(stage.current, path, at, null)?.id ?? (path.length > 0 ? path.join("/") : null);
      if (useEditor.getState().dropping !== dropping) set({ dropping });
    },
    [pointOf, set],
  );

  const under = (event: { clientX: number; clientY: number }): string | null => {
    const at = flow.screenToFlowPosition({ x: event.clientX, y: event.clientY }, { snapToGrid: false });
    let found: string | null = null;
    for (const one of stage.current.nodes) {
      if (one.type !== "note" && one.type !== "group" && holds(stage.current.boxes.get(one.id)!, at)) found = one.id;
    }
    return found;
  };
  // From afar a node is only painted; the one under the pointer becomes a real one, which can be taken hold of.
  const onPointerMove = (event: PointerEvent): void => {
    if (event.buttons !== 0) return;
    const now = shown.isFar ? under(event) : null;
    if (now !== hovered) setHovered(now);
  };

  const boxSelected = useRef<Box | null>(null);
  useEffect(
    () =>
      store.subscribe(({ userSelectionRect: rect, transform: [x, y, zoom] }) => {
        if (rect !== null) boxSelected.current = { x: (rect.x - x) / zoom, y: (rect.y - y) / zoom, w: rect.width / zoom, h: rect.height / zoom };
      }),
    [store],
  );

  return (
    <div className="stage" onDrop={onDrop} onDragOver={onDragOver} onDragLeave={() => set({ dropping: null })} onPointerMove={onPointerMove}>
      {shown.live !== null && <Backdrop nodes={nodes} edges={edges} boxes={boxes} live={shown.live} picked={picked} shift={shift} />}
      <ReactFlow<FlowNode, FlowEdge>
        nodes={(dragged ?? shown.nodes) as FlowNode[]}
        edges={shown.edges as FlowEdge[]}
        nodeTypes={NODE_TYPES}
        edgeTypes={EDGE_TYPES}
        onNodesChange={onNodesChange}
        onEdgesChange={onEdgesChange}
        onNodeDrag={onDrag}
        onNodeDragStop={endDrag}
        onSelectionDrag={(event, moved) => onDrag(event.nativeEvent, null, moved)}
        onSelectionDragStop={(event, moved) => endDrag(event.nativeEvent, null, moved)}
        onSelectionEnd={() => {
          const box = boxSelected.current;
          if (shown.live === null || box === null) return;
          select(selectionOf(stage.current.nodes.filter((one) => one.parentId === undefined && meets(stage.current.boxes.get(one.id)!, box)).map((one) => one.id), []));
        }}
        onConnect={connect}
        onConnectEnd={dropped}
        onReconnect={reconnect}
        onReconnectStart={(_, edge) => (held.current = edge.id)}
        onReconnectEnd={() => (held.current = null)}
        reconnectRadius={REACH}
        onNodeContextMenu={(event, node) => {
          if (!node.id.startsWith("note:")) menu(event, node.id);
        }}
        isValidConnection={isValid}
        onNodeClick={(event, node) => {
          if (!node.id.startsWith("note:") && opensForm(event)) useEditor.getState().show("inspector");
        }}
        onNodeDoubleClick={(_, node) => {
          if (!node.id.startsWith("note:")) useEditor.getState().show("inspector");
        }}
        onPaneClick={(event) => {
          const found = shown.isFar ? under(event) : null;
          if (found === null) return;
          select({ nodes: [found] });
          if (opensForm(event)) useEditor.getState().show("inspector");
        }}
        onPaneContextMenu={(event) => {
          const found = shown.isFar ? under(event as MouseEvent) : null;
          if (found !== null) return menu(event as MouseEvent, found);
          event.preventDefault();
          open({ kind: "palette", path: [], at: pointOf(event as MouseEvent) });
        }}
        defaultViewport={first}
        selectionOnDrag={false}
        multiSelectionKeyCode={["Meta", "Control", "Shift"]}
        selectionKeyCode="Shift"
        deleteKeyCode={null}
        elevateNodesOnSelect={false}
        disableKeyboardA11y
        nodesFocusable={false}
        edgesFocusable={false}
        snapToGrid
        snapGrid={GRID}
        minZoom={MIN_ZOOM}
        maxZoom={2}
        panOnDrag={PAN_BUTTONS}
        proOptions={{ hideAttribution: true }}
        colorMode="system"
      >
        <Background variant={BackgroundVariant.Dots} gap={24} size={1} />
        <Controls showInteractive={false} showFitView={false} position="bottom-left">
          <ControlButton onClick={() => document.dispatchEvent(new Event("aob-fit"))} title="Show everything (0)" aria-label="Show everything">
            <Maximize size={14} aria-hidden="true" />
          </ControlButton>
        </Controls>
        {chosen !== undefined && (
          <Panel position="bottom-center" className="node-bar">
            <button type="button" className="main" onClick={() => useEditor.getState().show("inspector")}>
              Settings of <bdi>{nodeAt(doc, chosen)?.title || splitPath(chosen).id}</bdi>
            </button>
            <button type="button" onClick={() => open({ kind: "menu", of: chosen })}>
              More
            </button>
          </Panel>
        )}
        <Panel position="bottom-right" className="overview-panel">
          <Overview nodes={nodes} boxes={boxes} />
        </Panel>
        {lines.length > 0 && (
          <ViewportPortal>
            <svg className="guides" aria-hidden="true">
              {lines.map((one, index) => (
                <line key={index} x1={one.from.x} y1={one.from.y} x2={one.to.x} y2={one.to.y} />
              ))}
            </svg>
          </ViewportPortal>
        )}
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

const PAN_BUTTONS = [0, 1];
const WIDE = matchMedia("(min-width: 60.01rem)");

/** Whether a click on a node shows its settings: where there is room beside the canvas, and one node alone is chosen. */
function opensForm(event: { target: EventTarget; ctrlKey: boolean; metaKey: boolean; shiftKey: boolean }): boolean {
  return WIDE.matches && !event.ctrlKey && !event.metaKey && !event.shiftKey && (event.target as Element).closest("button") === null;
}

const CALM = matchMedia("(prefers-reduced-motion: reduce)");

/** How long a movement of the view takes; none for those who asked for less of it. */
function pace(ms: number): number {
  return CALM.matches ? 0 : ms;
}

/** Fits, zooms and follows: what is chosen stays in sight, beyond the edge of the canvas or behind a form that opened. */
function useLooking(stage: RefObject<Stage>, frame: RefObject<HTMLDivElement | null>): void {
  const flow = useReactFlow();
  const name = useEditor(({ selection: { nodes, notes } }) => nodes[0] ?? (notes[0] === undefined ? undefined : `note:${notes[0]}`));
  const panel = useEditor((state) => state.panel);
  useEffect(() => {
    const look = (box: Box | null, padding: number, maxZoom: number): void => {
      const { clientWidth: width, clientHeight: height } = frame.current!;
      void flow.setViewport(viewOf(box, { width, height }, padding, maxZoom), { duration: pace(200) });
    };
    const fit = (): void => look(around(stage.current.boxes.values()), 0.15, 1);
    const show = (event: Event): void => {
      // The node may be drawn only after what dispatched this: its body or its group was opened for it.
      requestAnimationFrame(() => look(stage.current.boxes.get((event as CustomEvent<string>).detail) ?? null, 0.6, 1.1));
    };
    const zoom = (event: Event): void => void flow.zoomTo(flow.getZoom() * (event as CustomEvent<number>).detail, { duration: pace(100) });
    document.addEventListener("aob-fit", fit);
    document.addEventListener("aob-show", show);
    document.addEventListener("aob-zoom", zoom);
    return () => {
      document.removeEventListener("aob-fit", fit);
      document.removeEventListener("aob-show", show);
      document.removeEventListener("aob-zoom", zoom);
    };
  }, [flow, frame, stage]);
  useEffect(() => {
    if (name === undefined) return;
    const timer = setTimeout(() => {
      const box = stage.current.boxes.get(name);
      const canvas = frame.current;
      if (box === undefined || canvas === null) return;
      const { x: left, y: top, zoom } = flow.getViewport();
      // By no more than it takes: what people look at stays where it is.
      const x = left + into(box.x * zoom + left, box.w * zoom, canvas.clientWidth);
      const y = top + into(box.y * zoom + top, box.h * zoom, canvas.clientHeight);
      if (x !== left || y !== top) void flow.setViewport({ x, y, zoom }, { duration: pace(150) });
    }, 60);
    return () => clearTimeout(timer);
  }, [flow, frame, stage, name, panel]);
}

/** Between what is brought into sight and the border, in pixels. */
const FROM_BORDER = 16;

/** How far something has to move to be seen whole on one axis; nothing where it is larger than the canvas and partly seen. */
function into(start: number, extent: number, room: number): number {
  if (extent > room - 2 * FROM_BORDER) return start < room && start + extent > 0 ? 0 : FROM_BORDER - start;
  return start < 0 ? FROM_BORDER - start : start + extent > room ? room - FROM_BORDER - start - extent : 0;
}

function selectionOf(names: readonly string[], edges: readonly string[]): { nodes: string[]; notes: string[]; edges: string[] } {
  return {
    nodes: names.filter((name) => !name.startsWith("note:")),
    notes: names.filter((name) => name.startsWith("note:")).map((name) => name.slice(5)),
    edges: [...edges],
  };
}

/** A point inside of a graph's body, from a point of the canvas. */
function inGraph(stage: Stage, path: readonly string[], point: Point): Point {
  const box = stage.boxes.get(path.join("/"));
  return { x: point.x - (box?.x ?? 0), y: point.y - (box?.y ?? 0) };
}

/** Where nodes that are being dragged stand on the whole canvas. */
function absolute(stage: Stage, moved: readonly FlowNode[]): Map<string, Box> {
  return new Map(
    moved.map((one) => {
      const box = stage.boxes.get(one.id)!;
      const owner = one.parentId === undefined ? undefined : stage.boxes.get(one.parentId);
      return [one.id, { ...box, x: one.position.x + (owner?.x ?? 0), y: one.position.y + (owner?.y ?? 0) }];
    }),
  );
}

/** The new places of nodes; those that are chosen but only painted went as far as the others. */
function draggedPlaces(stage: Stage, moved: readonly FlowNode[], chosen: readonly string[]): Record<string, Point> {
  const now = absolute(stage, moved.filter((one) => !one.id.startsWith("note:")));
  const places: Record<string, Point> = Object.fromEntries([...now].map(([name, { x, y }]) => [name, { x, y }]));
  const [first] = now;
  if (first === undefined || !chosen.includes(first[0])) return places;
  const before = stage.boxes.get(first[0])!;
  for (const name of chosen) {
    const box = stage.boxes.get(name);
    if (box !== undefined && !now.has(name)) places[name] = { x: box.x + first[1].x - before.x, y: box.y + first[1].y - before.y };
  }
  return places;
}

/** Notes go where they were dragged; a group takes its nodes along. */
function withNotesMoved(doc: ReturnType<typeof useDoc>, moved: readonly FlowNode[]): ReturnType<typeof useDoc> {
  const names = new Set(moved.map((one) => one.id));
  const places = placesOf(doc);
  let next = doc;
  for (const one of moved) {
    if (!one.id.startsWith("note:")) continue;
    const note = doc.notes?.[one.id.slice(5)];
    if (note === undefined) continue;
    const [dx, dy] = [one.position.x - note.x, one.position.y - note.y];
    next = edits.setNote(next, one.id.slice(5), { x: Math.round(one.position.x), y: Math.round(one.position.y) });
    const along = (note.nodes ?? []).filter((name) => !names.has(name) && places[name] !== undefined);
    next = edits.movePlaces(next, Object.fromEntries(along.map((name) => [name, { x: places[name]!.x + dx, y: places[name]!.y + dy }])));
  }
  return next;
}

/** Guides for one node among those of its graph. */
function lineUp(stage: Stage, name: string, position: Point, within: number): { dx: number; dy: number; lines: Line[] } {
  const own = stage.boxes.get(name);
  const node = stage.nodes.find((one) => one.id === name);
  if (own === undefined || node === undefined) return { dx: 0, dy: 0, lines: [] };
  const owner = node.parentId === undefined ? undefined : stage.boxes.get(node.parentId);
  const moving = { ...own, x: position.x + (owner?.x ?? 0), y: position.y + (owner?.y ?? 0) };
  const near: Box[] = [];
  for (const one of stage.nodes) {
    if (one.id === name || one.parentId !== node.parentId || one.type === "group") continue;
    const box = stage.boxes.get(one.id)!;
    if (Math.abs(box.x - moving.x) < 1500 && Math.abs(box.y - moving.y) < 1000) near.push(box);
  }
  return guides(moving, near, within);
}
