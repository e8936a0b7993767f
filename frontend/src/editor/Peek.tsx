// What a sub-workflow node runs, beside the canvas: its graph to look at, its inputs, and the way into it.

import { Background, BackgroundVariant, BaseEdge, Controls, type EdgeProps, getBezierPath, type NodeProps, ReactFlow, ReactFlowProvider } from "@xyflow/react";
import { memo, type ReactElement, useEffect, useMemo, useState } from "react";

import { nodeAt, type WorkflowDoc } from "../model/document";
import { placesOf } from "../model/layout";
import { READ_ONLY, WITHOUT_KEYS } from "../shared/canvas";
import { api, ApiError } from "../shared/api";
import { ExternalLink } from "../shared/icons";
import { NodeHead, Ports } from "../shared/NodeParts";
import { Flow, flowEdges, type FlowEdge, type FlowNode, type NodeData, type NoteData } from "./flow";
import { useDoc, useEditor } from "./store";

const PeekNode = memo(function PeekNode({ data, type }: NodeProps<FlowNode>): ReactElement {
  const own = data as NodeData;
  return (
    <div className={`${type === "body" ? "body" : "node"} kind-${own.type?.kind ?? "unknown"}`}>
      {type === "body" ? (
        <div className="body-head">
          <NodeHead data={own} />
        </div>
      ) : (
        <NodeHead data={own} />
      )}
      <Ports data={own} />
    </div>
  );
});

const PeekNote = memo(function PeekNote({ data, type }: NodeProps<FlowNode>): ReactElement {
  const { note } = data as NoteData;
  return (
    <div className={`${type === "group" ? "group" : "note"} ${note.color ?? "yellow"}`}>
      <p dir="auto">{note.text}</p>
    </div>
  );
});

const PeekEdge = memo(function PeekEdge({ id, sourceX, sourceY, targetX, targetY, sourcePosition, targetPosition }: EdgeProps<FlowEdge>): ReactElement {
  const [path] = getBezierPath({ sourceX, sourceY, targetX, targetY, sourcePosition, targetPosition });
  return <BaseEdge id={id} path={path} className="edge" />;
});

const NODES = { node: PeekNode, body: PeekNode, note: PeekNote, group: PeekNote };
const EDGES = { edge: PeekEdge };
const NOTHING: ReadonlySet<string> = new Set();

/** What a node runs: the name and, behind an @, a tag or version. */
export function targetOfSubworkflow(value: unknown): { name: string; version: string | null } | null {
  if (typeof value !== "string" || value.trim() === "" || value.includes("{{")) return null;
  const [name = "", version] = value.trim().split("@");
  return name === "" ? null : { name, version: version ?? null };
}

async function documentOf(target: { name: string; version: string | null }): Promise<{ document: WorkflowDoc; number: number | null }> {
  if (target.version !== null) {
    const found = await api.version(target.name, target.version);
    return { document: found.document, number: found.number };
  }
  const [newest] = await api.versions(target.name);
  if (newest === undefined) throw new ApiError(404, "workflow_unknown", `No version of ${target.name} is published yet.`, {});
  const found = await api.version(target.name, newest.version);
  return { document: found.document, number: found.number };
}

export function PeekPanel(): ReactElement {
  const doc = useDoc();
  const name = useEditor((state) => state.selection.nodes[0]);
  const node = name === undefined ? undefined : nodeAt(doc, name);
  const target = node?.type === "subworkflow" ? targetOfSubworkflow(node.config?.["workflow"]) : null;
  const [shown, setShown] = useState<{ document: WorkflowDoc; number: number | null } | null>(null);
  const [error, setError] = useState<string | null>(null);
  const [wanted, version] = [target?.name, target?.version ?? null];
  useEffect(() => {
    setShown(null);
    setError(null);
    if (wanted === undefined) return;
    let isStale = false;
    documentOf({ name: wanted, version }).then(
      (found) => !isStale && setShown(found),
      (failure: unknown) => !isStale && setError(failure instanceof ApiError ? failure.message : String(failure)),
    );
    return () => {
      isStale = true;
    };
  }, [wanted, version]);
  if (target === null) {
    return (
      <section aria-label="Sub-workflow">
        <h2>Sub-workflow</h2>
        <p className="hint">Choose a sub-workflow node that names a workflow; its graph is shown here.</p>
      </section>
    );
  }
  return (
    <section aria-label="Sub-workflow" className="peek">
      <header className="panel-head">
        <div>
          <h2>{target.name}</h2>
          {shown?.number != null && (
            <p className="hint">
              No. {shown.number}
              {version === null ? ", the newest" : ` (${version})`}
            </p>
          )}
        </div>
      </header>
      {shown?.document.description && <p>{shown.document.description}</p>}
      {error !== null && <p className="notice error" role="alert">{error}</p>}
      {error === null && shown === null && <p className="hint">Looking …</p>}
      {shown !== null && <Picture doc={shown.document} />}
      <div className="actions">
        <a className="button" href={`/workflows/${encodeURIComponent(target.name)}/edit/`} target="_blank" rel="noopener">
          <ExternalLink size={16} aria-hidden="true" /> Open it in a new tab
        </a>
        <button type="button" onClick={() => useEditor.getState().show("inspector")}>
          Settings of the node
        </button>
      </div>
    </section>
  );
}

function Picture({ doc }: { doc: WorkflowDoc }): ReactElement {
  const registry = useEditor((state) => state.registry);
  const nodes = useMemo(() => new Flow().nodes(doc, placesOf(doc), registry, NOTHING), [doc, registry]);
  const edges = useMemo(() => flowEdges(doc, placesOf(doc), NOTHING), [doc]);
  return (
    <div className="peek-graph" role="img" aria-label={`The graph of ${doc.name}: ${Object.keys(doc.nodes).join(", ")}`}>
      <ReactFlowProvider>
        <ReactFlow<FlowNode, FlowEdge>
          nodes={nodes}
          edges={edges}
          nodeTypes={NODES}
          edgeTypes={EDGES}
          {...READ_ONLY}
          {...WITHOUT_KEYS}
          minZoom={0.05}
          fitView
          fitViewOptions={{ maxZoom: 1, padding: 0.15 }}
        >
          <Background variant={BackgroundVariant.Dots} gap={24} size={1} />
          <Controls showInteractive={false} position="bottom-left" />
        </ReactFlow>
      </ReactFlowProvider>
    </div>
  );
}
