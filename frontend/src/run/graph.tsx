// The graph that was drawn with the run over it: live, or as it was at any event of its log.

import { Background, BackgroundVariant, BaseEdge, Controls, type EdgeProps, getBezierPath, MiniMap, type NodeProps, ReactFlow, ReactFlowProvider, useReactFlow, useStore, useStoreApi } from "@xyflow/react";
import { memo, type ReactElement, useCallback, useEffect, useMemo, useRef, useState } from "react";
import { createRoot } from "react-dom/client";

import "@xyflow/react/dist/base.css";
import "../editor/editor.css";

import { closedSize, Flow, flowEdges, type FlowEdge, type FlowNode, type NodeData } from "../editor/flow";
import { type Place, type WorkflowDoc } from "../model/document";
import { around, boxesOf } from "../model/geometry";
import { isPlaced, laidOut, roughPlaces } from "../model/layout";
import { nearPlaces } from "../model/near";
import { Fold, type NodeState, type Progress, standingAt } from "../model/progress";
import { type Registry } from "../model/types";
import { firstView, MIN_ZOOM, READ_ONLY } from "../shared/canvas";
import { api, ApiError } from "../shared/api";
import { NodeHead, Ports } from "../shared/NodeParts";
import { PatchBadge, type Preview, Proposals, usePatches } from "./patches";
import { useShown } from "./shown";
import type { BriefEvent, Source } from "./source";

/** The graph is drawn so often at most, however many events come. */
const DRAW_MS = 120;
const FIT = { maxZoom: 1, padding: 0.1 };
const LIVE: NodeState[] = ["queued", "running", "waiting", "retrying"];
const MATTERS: ReadonlySet<NodeState | undefined> = new Set<NodeState>([...LIVE, "failed"]);

function useProgress(name: string): Progress | undefined {
  return useShown((state) => state.standing?.nodes.get(name));
}

/** The state as it is shown: what waits in a queue by its events may be executed by now. */
function useShownState(name: string): NodeState | undefined {
  return useShown((state) => {
    const found = state.standing?.nodes.get(name)?.state;
    return found === "queued" && state.at === null && (state.running[name] ?? 0) > 0 ? "running" : found;
  });
}

function Mark({ state }: { state: string }): ReactElement {
  const sprite = document.getElementById("run")?.dataset["states"] ?? "";
  return (
    <svg className="mark" width="12" height="12" aria-hidden="true">
      <use href={`${sprite}#${state}`} />
    </svg>
  );
}

function Badge({ name, progress }: { name: string; progress: Progress }): ReactElement {
  const { items, counts, retries } = progress;
  const state = useShownState(name) ?? progress.state;
  const several = Object.values(counts).reduce((sum, one) => sum + one, 0) > 1;
  const told = Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([one, count]) => `${count} ${one}`)
    .join(", ");
  return (
    <>
      <span className={`run-state ${state}`} title={progress.error ?? told}>
        <Mark state={state} />
        {items?.total != null ? `${items.done} of ${items.total}` : items ? `iteration ${items.done}` : several ? told : state}
        {retries > 0 && (
          <span className="retried" title={`${retries} ${retries === 1 ? "retry" : "retries"}`}>
            <Mark state="retried" /> retried{retries > 1 ? ` ${retries}×` : ""}
          </span>
        )}
      </span>
      {items?.total != null && items.total > 0 && (
        <progress className="run-progress" value={items.done} max={items.total} aria-label={`Items of ${name} that are done`} />
      )}
    </>
  );
}

const RunNode = memo(function RunNode({ id, data, type }: NodeProps<FlowNode>): ReactElement {
  const own = data as NodeData;
  const progress = useProgress(id);
  const state = useShownState(id);
  const look = usePatchLook(id);
  const isBody = type === "body";
  const inside = (
    <>
      <NodeHead data={own} />
      {progress && <Badge name={id} progress={progress} />}
    </>
  );
  return (
    <div className={`${isBody ? "body" : "node"} kind-${own.type?.kind ?? "unknown"} run-${state ?? "idle"} ${look}`} data-node={id}>
      {isBody ? <div className="body-head">{inside}</div> : inside}
      <PatchBadge name={id} />
      <Ports data={own} />
    </div>
  );
});

/** How a node or an edge looks for what patches did or would do to it. */
function usePatchLook(name: string): string {
  return useShown(({ marks, fresh, proposed }) => {
    const would = proposed.get(name);
    if (would !== undefined) return `proposed-${would}`;
    const mark = marks.get(name);
    return mark === undefined ? "" : `patched-${mark.kind} ${fresh.has(name) ? "fresh" : ""}`;
  });
}

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
  const isTaken = useShown((state) => state.standing?.edges.has(id) ?? false);
  const isActive = useShown((state) => {
    const target = state.standing?.nodes.get(props.target)?.state;
    return isTaken && target !== undefined && LIVE.includes(target);
  });
  const look = usePatchLook(id);
  return <BaseEdge id={id} path={path} className={`edge ${look} ${isTaken ? "taken" : ""} ${isActive ? "active" : ""}`} />;
});

const NODES = { node: RunNode, body: RunNode, note: RunNote, group: RunNote };
const EDGES = { edge: RunEdge };
const NOTHING: ReadonlySet<string> = new Set();

const LEGEND = ["queued", "running", "waiting", "retrying", "retried", "done", "cached", "failed", "skipped", "cancelled"];

/** Folds what comes; gives the seq that is looked at to whatever else shows the run. */
class Times {
  private readonly live = new Fold();
  private isDue = false;

  constructor(private readonly source: Source) {
    source.listen((fresh) => {
      for (const event of fresh) this.live.apply(event);
      this.soon();
    });
    source.watch((connection) => {
      if (connection !== "loading" && useShown.getState().loaded === null) useShown.setState({ loaded: source.events.length });
    });
    document.addEventListener("aob-running", (event) => {
      useShown.setState({ running: (event as CustomEvent<Record<string, number>>).detail });
    });
    document.addEventListener("aob-step", (event) => {
      const step = (event as CustomEvent<number | null>).detail;
      const { at, last } = useShown.getState();
      this.travel(step === null ? null : Math.max((at ?? last) + step, 1));
    });
  }

  private soon(): void {
    if (this.isDue) return;
    this.isDue = true;
    setTimeout(() => {
      this.isDue = false;
      const { at } = useShown.getState();
      useShown.setState({ last: this.live.seq, ...(at === null ? { standing: this.live.standing() } : {}) });
    }, DRAW_MS);
  }

  travel(seq: number | null): void {
    const past = seq === null || seq >= this.live.seq ? null : seq;
    if (past === useShown.getState().at) return;
    const standing = past === null ? this.live.standing() : standingAt(this.source.events, past);
    useShown.setState({ at: past, standing });
    document.dispatchEvent(new CustomEvent("aob-travel", { detail: past }));
  }

  /** The event that a seq names; seqs have no gaps. */
  event(seq: number): BriefEvent | undefined {
    return this.source.events[seq - 1];
  }
}

/** The slider over the log. Apart from the graph, as it moves with every picture while the run goes on. */
function Travel({ times }: { times: Times }): ReactElement {
  const last = useShown((state) => state.last);
  const at = useShown((state) => state.at);
  const wanted = useRef<number | null>(null);
  const shown = at === null ? undefined : times.event(at);
  return (
    <div className="travel">
      <label>
        <span>As it was at</span>
        <input
          type="range"
          min={1}
          max={Math.max(last, 1)}
          value={at ?? Math.max(last, 1)}
          aria-valuetext={shown ? `event ${shown.seq}: ${shown.text} ${shown.node ?? ""}` : `now, event ${last}`}
          onChange={(event) => {
            // A long log takes a while to fold: one place for each picture.
            if (wanted.current === null) requestAnimationFrame(() => {
              const seq = wanted.current ?? last;
              wanted.current = null;
              times.travel(seq);
            });
            wanted.current = Number(event.target.value);
          }}
        />
      </label>
      <output>
        {at === null ? `now, ${last} events` : `${at} of ${last} · ${shown?.at.slice(11, 23) ?? ""} · ${shown?.node ?? ""} ${shown?.text ?? ""}`}
      </output>
      <span className="actions">
        <button type="button" aria-label="One event back" disabled={(at ?? last) <= 1} onClick={() => times.travel(Math.max((at ?? last) - 1, 1))}>
          ‹
        </button>
        <button type="button" aria-label="One event forward" disabled={at === null} onClick={() => times.travel((at ?? last) + 1)}>
          ›
        </button>
        <button type="button" disabled={at === null} onClick={() => times.travel(null)}>
          Now
        </button>
      </span>
    </div>
  );
}

/** What stands nearer to the border of the canvas than so many pixels is not taken for seen. */
const EDGE = 8;
const CALM = matchMedia("(prefers-reduced-motion: reduce)");

/** Shows the whole graph at first, and again when something of it stands where nobody sees it. */
function Fitting({ nodes }: { nodes: FlowNode[] }): null {
  const { getViewport, setViewport } = useReactFlow();
  const store = useStoreApi();
  const isMeasured = useStore((state) => state.width > 0);
  const isFirst = useRef(true);
  // What goes on or failed matters most; it is known once the log is here.
  const isLoaded = useShown((state) => state.loaded !== null && state.standing !== null);
  useEffect(() => {
    const boxes = boxesOf(nodes);
    const whole = around(boxes.values());
    if (whole === null) return;
    const frame = requestAnimationFrame(() => {
      const { x, y, zoom } = getViewport();
      const { width, height } = store.getState();
      const [left, top] = [whole.x * zoom + x, whole.y * zoom + y];
      const isSeen = left >= EDGE && top >= EDGE && left + whole.w * zoom <= width - EDGE && top + whole.h * zoom <= height - EDGE;
      if (width === 0 || (isSeen && !isFirst.current)) return;
      const standing = useShown.getState().standing?.nodes;
      const matters = [...boxes].filter(([name]) => MATTERS.has(standing?.get(name)?.state)).map(([, box]) => box);
      const duration = isFirst.current || CALM.matches ? 0 : 300;
      void setViewport(firstView([...boxes.values()], { width, height }, FIT, matters), { duration });
      isFirst.current = false;
    });
    return () => cancelAnimationFrame(frame);
  }, [nodes, isLoaded, isMeasured, getViewport, setViewport, store]);
  return null;
}

function RunGraph({ run, times }: { run: string; times: Times }): ReactElement {
  const [doc, setDoc] = useState<WorkflowDoc | null>(null);
  const [registry, setRegistry] = useState<Registry>(new Map());
  const [error, setError] = useState<string | null>(null);
  const [preview, setPreview] = useState<Preview | null>(null);
  const version = useShown((state) => state.standing?.version ?? null);
  const documents = useRef(new Map<string, Promise<WorkflowDoc>>());
  /** Each version that a run had, by a seq at which it held. */
  const documentOf = useCallback(
    (wanted: string, seq: number | null): Promise<WorkflowDoc> => {
      const asked = documents.current.get(wanted) ?? api.runDocument(run, seq);
      documents.current.set(wanted, asked);
      asked.catch(() => documents.current.delete(wanted));
      return asked;
    },
    [run],
  );

  useEffect(() => {
    api.nodeTypes().then(
      (types) => setRegistry(new Map(types.map((one) => [one.name, one]))),
      (failure: unknown) => setError(failure instanceof ApiError ? failure.message : String(failure)),
    );
  }, []);
  // A patch changes the graph from its seq on, so each version that a run had is shown where it held.
  useEffect(() => {
    let isWanted = true;
    const seq = version === null ? null : (useShown.getState().standing?.seq ?? null);
    if (version === null && doc !== null) return;
    documentOf(version ?? "", seq).then(
      (found) => isWanted && setDoc(found),
      (failure: unknown) => isWanted && setError(failure instanceof ApiError ? failure.message : String(failure)),
    );
    return () => {
      isWanted = false;
    };
  }, [documentOf, version]);
  usePatches(documentOf);

  const keeper = useRef(new Flow());
  const [places, setPlaces] = useState<Record<string, Place>>({});
  /** Where nodes have stood on this page, so that they stay there whatever version is looked at. */
  const known = useRef<Record<string, Place>>({});
  /** How often the whole was laid out: each time it is shown from the beginning. */
  const [layouts, setLayouts] = useState(0);
  const drawn = preview?.both ?? doc;
  useEffect(() => {
    if (drawn === null) return;
    const sizeOf = (name: string): { width: number; height: number } => closedSize(drawn, name, registry);
    const show = (found: Record<string, Place>): void => {
      known.current = { ...known.current, ...found };
      setPlaces(found);
    };
    const near = isPlaced(drawn) ? { ...drawn.layout } : nearPlaces(drawn, known.current, sizeOf);
    if (near !== null) {
      show(near);
      return;
    }
    setPlaces(roughPlaces(drawn));
    if (registry.size === 0) return;
    // Nobody has drawn this document: what it looks like is thought out here, and kept nowhere.
    let isWanted = true;
    laidOut({ ...drawn, layout: roughPlaces(drawn) }, [], sizeOf).then(
      (found) => {
        if (!isWanted) return;
        show(found);
        setLayouts((count) => count + 1);
      },
      () => undefined,
    );
    return () => {
      isWanted = false;
    };
  }, [drawn, registry]);
  const nodes = useMemo(() => (drawn === null ? [] : keeper.current.nodes(drawn, places, registry, NOTHING)), [drawn, places, registry]);
  const edges = useMemo(() => (drawn === null ? [] : flowEdges(drawn, places, NOTHING)), [drawn, places]);
  if (error !== null) return <p className="notice error">{error}</p>;
  if (doc === null) return <p className="hint graph-loading">Loading the graph …</p>;
  return (
    <div className={`run-graph ${preview === null ? "" : "previewing"}`}>
      <Proposals run={run} doc={doc} onPreview={setPreview} />
      <div className="canvas">
        <ReactFlowProvider>
          <Fitting key={layouts} nodes={nodes} />
          <ReactFlow<FlowNode, FlowEdge>
            nodes={nodes}
            edges={edges}
            nodeTypes={NODES}
            edgeTypes={EDGES}
            {...READ_ONLY}
            onNodeClick={(_, node) => document.dispatchEvent(new CustomEvent("aob-node", { detail: node.id }))}
            onlyRenderVisibleElements={nodes.length > 150}
            zoomOnScroll={false}
            preventScrolling={false}
            minZoom={MIN_ZOOM}
            fitViewOptions={FIT}
          >
            <Background variant={BackgroundVariant.Dots} gap={24} size={1} />
            <Controls showInteractive={false} position="bottom-left" />
            {nodes.length > 20 && <MiniMap pannable zoomable ariaLabel="Map of the graph" />}
          </ReactFlow>
        </ReactFlowProvider>
      </div>
      <ul className="legend" aria-label="What the marks mean">
        {LEGEND.map((state) => (
          <li key={state}>
            <span className={`state ${state}`}>
              <Mark state={state} />
              {state}
            </span>
          </li>
        ))}
      </ul>
      <Travel times={times} />
    </div>
  );
}

export function mount(place: HTMLElement, run: string, source: Source): void {
  const times = new Times(source);
  createRoot(place).render(<RunGraph run={run} times={times} />);
  const at = Number(new URLSearchParams(location.search).get("at"));
  if (at > 0) {
    // The address says which seq is looked at; it can be shown once its events are here.
    const stop = useShown.subscribe(({ last }) => {
      if (last < at) return;
      stop();
      times.travel(at);
    });
  }
}
