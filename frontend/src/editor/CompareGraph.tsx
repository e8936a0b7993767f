// One graph of two documents: what was added, removed, changed and moved is marked. It can be looked at, not edited.

import { Background, BackgroundVariant, BaseEdge, Controls, EdgeLabelRenderer, type EdgeProps, getBezierPath, getViewportForBounds, MiniMap, type NodeProps, ReactFlow, ReactFlowProvider, useReactFlow, useStore, useStoreApi } from "@xyflow/react";
import { createContext, memo, type ReactElement, useContext, useEffect } from "react";

import type { Change } from "../model/diff";
import type { Box } from "../model/geometry";
import { MIN_ZOOM, READ_ONLY, WITHOUT_KEYS } from "../shared/canvas";
import { NodeHead, Ports } from "../shared/NodeParts";
import type { FlowEdge, FlowNode, NodeData, NoteData } from "./flow";
import { Mark } from "./marks";

interface Marks {
  of: ReadonlyMap<string, Change>;
  current: Change | null;
}

const Marked = createContext<Marks>({ of: new Map(), current: null });

function useMark(name: string): { change: Change | undefined; className: string } {
  const { of, current } = useContext(Marked);
  const change = of.get(name);
  return { change, className: `diff-${change?.kind ?? "same"} ${change !== undefined && change === current ? "current" : ""}` };
}

const DiffNode = memo(function DiffNode({ id, data, type }: NodeProps<FlowNode>): ReactElement {
  const own = data as NodeData;
  const { change, className } = useMark(id);
  const isBody = type === "body";
  return (
    <div className={`${isBody ? "body" : "node"} kind-${own.type?.kind ?? "unknown"} ${className}`} data-node={id}>
      {isBody ? (
        <div className="body-head">
          <NodeHead data={own} />
        </div>
      ) : (
        <NodeHead data={own} />
      )}
      {change && (
        <span className="badges">
          <Mark kind={change.kind} />
        </span>
      )}
      <Ports data={own} />
    </div>
  );
});

const DiffNote = memo(function DiffNote({ id, data, type }: NodeProps<FlowNode>): ReactElement {
  const { note } = data as NoteData;
  const { change, className } = useMark(id);
  return (
    <div className={`${type === "group" ? "group" : "note"} ${note.color ?? "yellow"} ${className}`} data-note={id.slice("note:".length)}>
      <p dir="auto">
        {change && <Mark kind={change.kind} />} {note.text}
      </p>
    </div>
  );
});

const DiffEdge = memo(function DiffEdge({ id, sourceX, sourceY, targetX, targetY, sourcePosition, targetPosition, data }: EdgeProps<FlowEdge>): ReactElement {
  const [path, x, y] = getBezierPath({ sourceX, sourceY, targetX, targetY, sourcePosition, targetPosition });
  const { change, className } = useMark(id);
  const when = data?.edge.when;
  return (
    <>
      <BaseEdge id={id} path={path} className={`edge ${className}`} />
      {(change !== undefined || when) && (
        <EdgeLabelRenderer>
          <div className="edge-label" style={{ transform: `translate(-50%, -50%) translate(${x}px, ${y}px)` }}>
            {change ? <Mark kind={change.kind} /> : <code title={when}>{when}</code>}
          </div>
        </EdgeLabelRenderer>
      )}
    </>
  );
});

const NODES = { node: DiffNode, body: DiffNode, note: DiffNote, group: DiffNote };
const EDGES = { edge: DiffEdge };
const PADDING = 0.12;
const CALM = matchMedia("(prefers-reduced-motion: reduce)");
/** Between these nobody has to zoom to read what is centred. */
const [READABLE, LARGE] = [0.7, 1.1];

/** Shows everything at first, then what is chosen. */
function Looking({ box, whole }: { box: Box | null; whole: Box | null }): null {
  const flow = useReactFlow();
  const store = useStoreApi();
  const isMeasured = useStore((state) => state.width > 0);
  useEffect(() => {
    if (whole === null || !isMeasured) return;
    const { width, height } = store.getState();
    void flow.setViewport(getViewportForBounds({ x: whole.x, y: whole.y, width: whole.w, height: whole.h }, width, height, MIN_ZOOM, 1, PADDING));
  }, [whole, isMeasured, flow, store]);
  useEffect(() => {
    if (box === null) return;
    const duration = CALM.matches ? 0 : 200;
    const { width, height } = store.getState();
    const zoom = Math.min(Math.max(flow.getZoom(), READABLE), LARGE);
    if (box.w * zoom > width || box.h * zoom > height) {
      void flow.fitBounds({ x: box.x, y: box.y, width: box.w, height: box.h }, { padding: 0.15, duration });
    } else void flow.setCenter(box.x + box.w / 2, box.y + box.h / 2, { zoom, duration });
  }, [box, flow, store]);
  return null;
}

interface Props extends Marks {
  nodes: FlowNode[];
  edges: FlowEdge[];
  /** Where everything is, and where what is chosen is. */
  whole: Box | null;
  box: Box | null;
  onChoose: (change: Change) => void;
}

export function CompareGraph({ nodes, edges, of, current, whole, box, onChoose }: Props): ReactElement {
  const choose = (name: string): void => {
    const change = of.get(name);
    if (change !== undefined) onChoose(change);
  };
  return (
    <div className="compare-canvas" role="group" aria-label="The graph of both, with what changed">
      <Marked.Provider value={{ of, current }}>
        <ReactFlowProvider>
          <ReactFlow<FlowNode, FlowEdge>
            nodes={nodes}
            edges={edges}
            nodeTypes={NODES}
            edgeTypes={EDGES}
            onNodeClick={(_, node) => choose(node.id)}
            onEdgeClick={(_, edge) => choose(edge.id)}
            {...READ_ONLY}
            {...WITHOUT_KEYS}
            onlyRenderVisibleElements={nodes.length > 150}
            minZoom={MIN_ZOOM}
          >
            <Looking box={box} whole={whole} />
            <Background variant={BackgroundVariant.Dots} gap={24} size={1} />
            <Controls showInteractive={false} position="bottom-left" />
            {nodes.length > 20 && <MiniMap pannable zoomable ariaLabel="Map of the graph" />}
          </ReactFlow>
        </ReactFlowProvider>
      </Marked.Provider>
    </div>
  );
}
