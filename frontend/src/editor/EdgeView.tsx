// An edge with its condition, and a button in its middle that puts a node into it.

import { BaseEdge, EdgeLabelRenderer, type EdgeProps, getBezierPath } from "@xyflow/react";
import { memo, type ReactElement } from "react";

import type { FlowEdge } from "./flow";
import { splitEdge, useEditor } from "./store";

export const EdgeView = memo(function EdgeView(props: EdgeProps<FlowEdge>): ReactElement {
  const { id, sourceX, sourceY, targetX, targetY, sourcePosition, targetPosition, selected, data } = props;
  const [path, x, y] = getBezierPath({ sourceX, sourceY, targetX, targetY, sourcePosition, targetPosition });
  const open = useEditor((state) => state.open);
  const isTarget = useEditor((state) => state.dropping === id);
  const when = data?.edge.when;
  return (
    <>
      <BaseEdge id={id} path={path} className={`edge ${selected ? "picked" : ""} ${data?.edge.port === "error" ? "error" : ""} ${isTarget ? "dropping" : ""}`} interactionWidth={18} />
      {(when || selected) && (
        <EdgeLabelRenderer>
          <div className="edge-label nodrag nopan" style={{ transform: `translate(-50%, -50%) translate(${x}px, ${y}px)` }}>
            {when && <code title={when}>{when}</code>}
            {selected && (
              <button
                type="button"
                title="Put a node here"
                aria-label="Put a node here"
                onClick={() => open({ kind: "palette", edge: splitEdge(id), path: splitEdge(id).path })}
              >
                +
              </button>
            )}
          </div>
        </EdgeLabelRenderer>
      )}
    </>
  );
});
