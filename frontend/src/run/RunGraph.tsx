// The graph that was drawn with the run over it: live, or as it was at any event of its log.

import { Background, BackgroundVariant, BaseEdge, Controls, type EdgeProps, getBezierPath, Handle, MiniMap, type NodeProps, Position, ReactFlow, ReactFlowProvider } from "@xyflow/react";
import { memo, type ReactElement, useCallback, useEffect, useMemo, useRef, useState } from "react";
import { create } from "zustand";

import { Flow, flowEdges, type FlowEdge, type FlowNode, type NodeData } from "../editor/flow";
import { subtitleOf } from "../editor/subtitle";
import type { WorkflowDoc } from "../model/document";
import { NODE_HEIGHT, PORT_HEIGHT, roughPlaces } from "../model/layout";
import { Fold, type Progress, type RunEvent, type Standing, standingAt } from "../model/progress";
import type { Registry } from "../model/types";
import { api, ApiError } from "../shared/api";
import { TypeIcon } from "../shared/icons";
import { follow } from "./events";

const useStanding = create<{ standing: Standing | null }>(() => ({ standing: null }));

function useProgress(name: string): Progress | undefined {
  return useStanding((state) => state.standing?.nodes.get(name));
}

function Badge({ progress }: { progress: Progress }): ReactElement {
  const { state, items, counts, attempts } = progress;
  const several = Object.values(counts).reduce((sum, one) => sum + one, 0) > 1;
  const told = Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([one, count]) => `${count} ${one}`)
    .join(", ");
  return (
    <>
      <span className={`run-state ${state}`} title={progress.error ?? told}>
        {items?.total != null ? `${items.done} of ${items.total}` : items ? `iteration ${items.done}` : several ? told : state}
        {attempts > 1 && !several ? `, ${attempts} attempts` : ""}
      </span>
      {items?.total != null && items.total > 0 && (
        <progress className="run-progress" value={items.done} max={items.total} aria-label="Items that are done" />
      )}
    </>
  );
}

function RunPorts({ data }: { data: NodeData }): ReactElement {
  const several = data.ports.length > 1;
  return (
    <>
      <Handle type="target" position={Position.Left} className="port" style={{ top: NODE_HEIGHT / 2 }} isConnectable={false} />
      {data.ports.map((port, index) => {
        const top = several ? NODE_HEIGHT + index * PORT_HEIGHT + PORT_HEIGHT / 2 - 4 : NODE_HEIGHT / 2;
        return (
          <span key={port}>
            {several && (
              <span className="port-name" style={{ top: top - PORT_HEIGHT / 2 }}>
                {port}
              </span>
            )}
            <Handle type="source" id={port} position={Position.Right} className="port" style={{ top }} isConnectable={false} />
          </span>
        );
      })}
    </>
  );
}

const RunNode = memo(function RunNode({ id, data, type }: NodeProps<FlowNode>): ReactElement {
  const own = data as NodeData;
  const progress = useProgress(id);
  const isBody = type === "body";
  const inside = (
    <>
      <span className="node-icon">
        <TypeIcon name={own.type?.icon} />
      </span>
      <span className="node-text">
        <strong>{own.node.title || own.id}</strong>
        <small>{subtitleOf(own)}</small>
      </span>
      {progress && <Badge progress={progress} />}
    </>
  );
  return (
    <div className={`${isBody ? "body" : "node"} kind-${own.type?.kind ?? "unknown"} run-${progress?.state ?? "idle"}`} data-node={id}>
      {isBody ? <div className="body-head">{inside}</div> : inside}
      <RunPorts data={own} />
    </div>
  );
});

const RunNote = memo(function RunNote({ data, type }: NodeProps<FlowNode>): ReactElement {
  const note = (data as { note: { text: string; color?: string } }).note;
  return (
    <div className={`${type === "group" ? "group" : "note"} ${note.color ?? "yellow"}`}>
      <p>{note.text}</p>
    </div>
  );
});

const RunEdge = memo(function RunEdge(props: EdgeProps<FlowEdge>): ReactElement {
  const { id, sourceX, sourceY, targetX, targetY, sourcePosition, targetPosition } = props;
  const [path] = getBezierPath({ sourceX, sourceY, targetX, targetY, sourcePosition, targetPosition });
  const isTaken = useStanding((state) => state.standing?.edges.has(id) ?? false);
  return <BaseEdge id={id} path={path} className={`edge ${isTaken ? "taken" : ""}`} />;
});

const NODES = { node: RunNode, body: RunNode, note: RunNote, group: RunNote };
const EDGES = { edge: RunEdge };
const NOTHING: ReadonlySet<string> = new Set();

export function RunGraph({ run }: { run: string }): ReactElement {
  const [doc, setDoc] = useState<WorkflowDoc | null>(null);
  const [registry, setRegistry] = useState<Registry>(new Map());
  const [error, setError] = useState<string | null>(null);
  const [last, setLast] = useState(0);
  const [at, setAt] = useState<number | null>(null);
  const events = useRef<RunEvent[]>([]);
  const live = useRef(new Fold());
  const isPast = useRef(false);

  useEffect(() => {
    Promise.all([api.runDocument(run), api.nodeTypes()]).then(
      ([found, types]) => {
        setRegistry(new Map(types.map((one) => [one.name, one])));
        setDoc(found);
      },
      (failure: unknown) => setError(failure instanceof ApiError ? failure.message : String(failure)),
    );
    return follow(
      run,
      (several) => {
        for (const event of several) {
          events.current.push(event);
          live.current.apply(event);
        }
        setLast(live.current.seq);
        if (!isPast.current) useStanding.setState({ standing: live.current.standing() });
      },
      () => undefined,
    );
  }, [run]);

  const travel = useCallback((seq: number | null) => {
    isPast.current = seq !== null;
    setAt(seq);
    const standing = seq === null ? live.current.standing() : standingAt(events.current, seq);
    useStanding.setState({ standing });
    document.dispatchEvent(new CustomEvent("aob-travel", { detail: seq }));
  }, []);

  const keeper = useRef(new Flow());
  const places = useMemo(() => (doc === null ? {} : { ...roughPlaces(doc), ...doc.layout }), [doc]);
  const nodes = useMemo(() => (doc === null ? [] : keeper.current.nodes(doc, places, registry, NOTHING)), [doc, places, registry]);
  const edges = useMemo(() => (doc === null ? [] : flowEdges(doc, places, NOTHING)), [doc, places]);
  if (error !== null) return <p className="notice error">{error}</p>;
  if (doc === null) return <p className="hint">Loading the graph …</p>;
  const shown = at === null ? undefined : events.current.findLast((one) => one.seq <= at);
  return (
    <div className="run-graph">
      <div className="canvas">
        <ReactFlowProvider>
          <ReactFlow<FlowNode, FlowEdge>
            nodes={nodes}
            edges={edges}
            nodeTypes={NODES}
            edgeTypes={EDGES}
            nodesDraggable={false}
            nodesConnectable={false}
            elementsSelectable={false}
            onNodeClick={(_, node) => document.dispatchEvent(new CustomEvent("aob-node", { detail: node.id }))}
            onlyRenderVisibleElements={nodes.length > 150}
            zoomOnScroll={false}
            preventScrolling={false}
            minZoom={0.05}
            fitView
            fitViewOptions={{ maxZoom: 1, padding: 0.15 }}
            proOptions={{ hideAttribution: true }}
            colorMode="system"
          >
            <Background variant={BackgroundVariant.Dots} gap={24} size={1} />
            <Controls showInteractive={false} position="bottom-left" />
            {nodes.length > 20 && <MiniMap pannable zoomable ariaLabel="Map of the graph" />}
          </ReactFlow>
        </ReactFlowProvider>
      </div>
      <div className="travel">
        <label>
          <span>As it was at</span>
          <input
            type="range"
            min={1}
            max={Math.max(last, 1)}
            value={at ?? last}
            aria-valuetext={shown ? `${shown.seq}: ${shown.type} ${shown.node ?? ""}` : "now"}
            onChange={(event) => {
              const seq = Number(event.target.value);
              travel(seq >= last ? null : seq);
            }}
          />
        </label>
        <output>
          {at === null ? `now, ${last} events` : `${shown?.seq} of ${last} · ${shown?.at.slice(11, 23) ?? ""} · ${shown?.type ?? ""} ${shown?.node ?? ""}`}
        </output>
        <button type="button" disabled={at === null} onClick={() => travel(null)}>
          Now
        </button>
      </div>
    </div>
  );
}
