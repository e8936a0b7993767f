// What nodes look alike in wherever they are drawn: in the editor, over a run, in a peek.

import { Handle, Position } from "@xyflow/react";
import { type MouseEvent, type ReactElement } from "react";

import { type NodeData, portTop } from "../editor/flow";
import { isScripted, subtitleOf } from "../editor/subtitle";
import { NODE_HEIGHT, PORT_HEIGHT } from "../model/layout";
import { TypeIcon } from "./icons";

/** Icon, title, and a line that says what the node does. */
export function NodeHead({ data }: { data: NodeData }): ReactElement {
  return (
    <>
      <span className="node-icon">
        <TypeIcon name={data.type?.icon} />
      </span>
      <span className="node-text">
        <strong>{data.node.title || data.id}</strong>
        <small className={isScripted(data) ? "scripted" : undefined}>{subtitleOf(data)}</small>
      </span>
    </>
  );
}

/** The ports at both sides; without `onPort` nothing can be connected. */
export function Ports({ data, onPort }: { data: NodeData; onPort?: (port: string, event: MouseEvent) => void }): ReactElement {
  const several = data.ports.length > 1;
  return (
    <>
      <Handle type="target" position={Position.Left} className="port" style={{ top: NODE_HEIGHT / 2 }} isConnectable={onPort !== undefined} {...(onPort && { title: "drag onto the canvas to add what leads here" })} />
      {data.ports.map((port, index) => {
        const top = portTop(data.ports, index);
        return (
          <span key={port}>
            {several && (
              <span className={`port-name ${port === "error" ? "error" : ""}`} style={{ top: top - PORT_HEIGHT / 2 }}>
                {port}
              </span>
            )}
            <Handle
              type="source"
              id={port}
              position={Position.Right}
              className={port === "error" ? "port error" : "port"}
              style={{ top }}
              isConnectable={onPort !== undefined}
              {...(onPort && {
                title: `${port}: drag to connect, click to add what follows`,
                onClick: (event: MouseEvent) => onPort(port, event),
              })}
            />
          </span>
        );
      })}
    </>
  );
}
