// How nodes, open bodies, notes and groups look on the canvas.

import { Handle, type NodeProps, NodeResizer, Position } from "@xyflow/react";
import { memo, type ReactElement, useState } from "react";

import { NODE_HEIGHT, PORT_HEIGHT } from "../model/layout";
import * as edits from "../model/edits";
import { Pin, Plus, TriangleAlert, TypeIcon } from "../shared/icons";
import type { FlowNode, NodeData, NoteData } from "./flow";
import { useEditor } from "./store";
import { subtitleOf } from "./subtitle";

function Ports({ name, data }: { name: string; data: NodeData }): ReactElement {
  const open = useEditor((state) => state.open);
  const several = data.ports.length > 1;
  return (
    <>
      {data.ports.map((port, index) => {
        const top = several ? NODE_HEIGHT + index * PORT_HEIGHT + PORT_HEIGHT / 2 - 4 : NODE_HEIGHT / 2;
        return (
          <div key={port}>
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
              title={`${port}: drag to connect, click to add what follows`}
              onClick={(event) => {
                event.stopPropagation();
                open({ kind: "palette", from: { name, port }, path: name.split("/").slice(0, -1) });
              }}
            />
          </div>
        );
      })}
    </>
  );
}

function Badges({ name }: { name: string }): ReactElement | null {
  const problem = useEditor((state) => worst(state.problems, name));
  const pinned = useEditor((state) => Object.hasOwn(state.pins, name));
  if (problem === null && !pinned) return null;
  return (
    <span className="badges">
      {pinned && (
        <span title="Its output is pinned: tries use the pinned value">
          <Pin size={14} aria-label="pinned" />
        </span>
      )}
      {problem && (
        <span className={`badge ${problem.severity}`} title={problem.message}>
          <TriangleAlert size={14} aria-label={problem.severity} />
        </span>
      )}
    </span>
  );
}

export function pointerOf(name: string): string {
  return `/nodes/${name.replaceAll("/", "/config/body/nodes/")}`;
}

function worst(
  problems: readonly { pointer: string; severity: string; message: string }[],
  name: string,
): { severity: string; message: string } | null {
  const pointer = pointerOf(name);
  const own = problems.filter(
    (one) =>
      (one.pointer === pointer || one.pointer.startsWith(`${pointer}/`)) &&
      !one.pointer.startsWith(`${pointer}/config/body/nodes/`),
  );
  return own.find((one) => one.severity === "error") ?? own[0] ?? null;
}

export const NodeView = memo(function NodeView({ id, data, selected }: NodeProps<FlowNode>): ReactElement {
  const own = data as NodeData;
  const kind = own.type?.kind ?? "unknown";
  const edit = useEditor((state) => state.edit);
  return (
    <div className={`node kind-${kind} ${selected ? "picked" : ""}`} data-node={id}>
      <Handle type="target" position={Position.Left} className="port" style={{ top: NODE_HEIGHT / 2 }} />
      <span className="node-icon">
        <TypeIcon name={own.type?.icon} />
      </span>
      <span className="node-text">
        <strong>{own.node.title || own.id}</strong>
        <small>{subtitleOf(own)}</small>
      </span>
      <Badges name={id} />
      {own.inner !== null && (
        <button
          type="button"
          className="open-body nodrag"
          onClick={() => edit("Open", (doc) => edits.setPlace(doc, id, { open: true }))}
          title="Show what is repeated"
        >
          {own.inner} inside
        </button>
      )}
      <Ports name={id} data={own} />
    </div>
  );
});

export const BodyView = memo(function BodyView({ id, data, selected }: NodeProps<FlowNode>): ReactElement {
  const own = data as NodeData;
  const { edit, open } = useEditor.getState();
  return (
    <div className={`body kind-${own.type?.kind ?? "unknown"} ${selected ? "picked" : ""}`} data-node={id}>
      <Handle type="target" position={Position.Left} className="port" style={{ top: NODE_HEIGHT / 2 }} />
      <div className="body-head">
        <span className="node-icon">
          <TypeIcon name={own.type?.icon} />
        </span>
        <span className="node-text">
          <strong>{own.node.title || own.id}</strong>
          <small>{subtitleOf(own)}</small>
        </span>
        <Badges name={id} />
        <button
          type="button"
          className="nodrag"
          title="Add a node inside"
          aria-label="Add a node inside"
          onClick={() => open({ kind: "palette", path: id.split("/") })}
        >
          <Plus size={16} aria-hidden="true" />
        </button>
        <button
          type="button"
          className="nodrag"
          onClick={() => edit("Close", (doc) => edits.setPlace(doc, id, { open: undefined as never }))}
        >
          Close
        </button>
      </div>
      {own.inner === 0 && <p className="body-empty">Nothing is repeated yet. Drop a node here, or press + above.</p>}
      <Ports name={id} data={{ ...own, ports: own.ports }} />
    </div>
  );
});

const COLORS = ["yellow", "blue", "green", "pink"];

export const NoteView = memo(function NoteView({ id, data, selected }: NodeProps<FlowNode>): ReactElement {
  const { note } = data as NoteData;
  const key = id.slice("note:".length);
  const edit = useEditor((state) => state.edit);
  const [writing, setWriting] = useState(false);
  const isGroup = note.kind === "group";
  return (
    <div
      className={`${isGroup ? "group" : "note"} ${note.color ?? "yellow"} ${selected ? "picked" : ""}`}
      onDoubleClick={() => setWriting(true)}
    >
      <NodeResizer
        isVisible={selected ?? false}
        minWidth={120}
        minHeight={60}
        onResizeEnd={(_, size) =>
          edit("Resize a note", (doc) =>
            edits.setNote(doc, key, {
              x: Math.round(size.x),
              y: Math.round(size.y),
              w: Math.round(size.width),
              h: Math.round(size.height),
            }),
          )
        }
      />
      {writing ? (
        <textarea
          className="nodrag nowheel"
          autoFocus
          aria-label={isGroup ? "Name of the group" : "Text of the note"}
          defaultValue={note.text}
          onBlur={(event) => {
            setWriting(false);
            const text = event.currentTarget.value;
            edit("Write a note", (doc) => edits.setNote(doc, key, { text }));
          }}
          onKeyDown={(event) => {
            event.stopPropagation();
            if (event.key === "Escape") event.currentTarget.blur();
          }}
        />
      ) : (
        <p>{note.text || "Double-click to write"}</p>
      )}
      {selected && !writing && (
        <span className="note-colors nodrag">
          {COLORS.map((color) => (
            <button
              type="button"
              key={color}
              className={color}
              aria-label={color}
              onClick={() => edit("Colour a note", (doc) => edits.setNote(doc, key, { color }))}
            />
          ))}
        </span>
      )}
    </div>
  );
});
