// How nodes, open bodies, notes and groups look on the canvas.

import { Handle, type NodeProps, NodeResizer, Position } from "@xyflow/react";
import { memo, type MouseEvent, type ReactElement } from "react";

import { type NoteDoc, splitPath } from "../model/document";
import * as edits from "../model/edits";
import { isStarted } from "../model/patch";
import { ChevronsDownUp, ChevronsUpDown, Layers, Lock, Pin, Plus, TriangleAlert } from "../shared/icons";
import { NodeHead, Ports } from "../shared/NodeParts";
import type { FlowNode, NodeData, NoteData } from "./flow";
import { useEditor } from "./store";

/** A click on a port asks what shall follow there. */
function follow(name: string): (port: string, event: MouseEvent) => void {
  return (port, event) => {
    event.stopPropagation();
    useEditor.getState().open({ kind: "palette", from: { name, port }, path: splitPath(name).path });
  };
}

function Badges({ name }: { name: string }): ReactElement | null {
  const problem = useEditor((state) => state.marks.get(name));
  const pinned = useEditor((state) => Object.hasOwn(state.pins, name));
  const locked = useEditor((state) => state.session !== null && isStarted(state.session, name));
  if (problem === undefined && !pinned && !locked) return null;
  return (
    <span className="badges">
      {locked && (
        <span title="It has begun in this run and cannot be changed any more">
          <Lock size={14} aria-label="locked" />
        </span>
      )}
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

export const NodeView = memo(function NodeView({ id, data, selected }: NodeProps<FlowNode>): ReactElement {
  const own = data as NodeData;
  const edit = useEditor((state) => state.edit);
  return (
    <div className={`node kind-${own.type?.kind ?? "unknown"} ${selected ? "picked" : ""}`} data-node={id}>
      <NodeHead data={own} />
      <Badges name={id} />
      {own.inner !== null && (
        <button
          type="button"
          className="open-body nodrag"
          onClick={() => edit("Open", (doc) => edits.setPlace(doc, id, { open: true }))}
          title="Show what is repeated (O)"
        >
          {own.inner} inside
        </button>
      )}
      <Ports data={own} onPort={follow(id)} />
    </div>
  );
});

export const BodyView = memo(function BodyView({ id, data, selected }: NodeProps<FlowNode>): ReactElement {
  const own = data as NodeData;
  const { edit, open } = useEditor.getState();
  const isTarget = useEditor((state) => state.dropping === id);
  return (
    <div className={`body kind-${own.type?.kind ?? "unknown"} ${selected ? "picked" : ""} ${isTarget ? "dropping" : ""}`} data-node={id}>
      <div className="body-head">
        <NodeHead data={own} />
        <Badges name={id} />
        <button
          type="button"
          className="icon nodrag"
          title="Add a node inside"
          aria-label={`Add a node inside of ${own.id}`}
          onClick={() => open({ kind: "palette", path: id.split("/") })}
        >
          <Plus size={16} aria-hidden="true" />
        </button>
        <button
          type="button"
          className="icon nodrag"
          title="Close (O)"
          aria-label={`Close ${own.id}`}
          onClick={() => edit("Close", (doc) => edits.setPlace(doc, id, { open: undefined as never }))}
        >
          <ChevronsDownUp size={16} aria-hidden="true" />
        </button>
      </div>
      {own.inner === 0 && <p className="body-empty">Nothing is repeated yet. Drop a node here, or press + above.</p>}
      <Ports data={own} onPort={follow(id)} />
    </div>
  );
});

const COLORS = ["yellow", "blue", "green", "pink"];

export const NoteView = memo(function NoteView({ id, data, selected }: NodeProps<FlowNode>): ReactElement {
  const { note } = data as NoteData;
  const key = id.slice("note:".length);
  const { edit, set } = useEditor.getState();
  const writing = useEditor((state) => state.writing === key);
  const isGroup = note.kind === "group";
  const write = (on: boolean): void => set({ writing: on ? key : null });
  if (isGroup && note.collapsed) return <ClosedGroup id={key} note={note} selected={selected ?? false} />;
  return (
    <div
      className={`${isGroup ? "group" : "note"} ${note.color ?? "yellow"} ${selected ? "picked" : ""}`}
      data-note={key}
      onDoubleClick={() => write(true)}
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
            write(false);
            const text = event.currentTarget.value;
            if (text !== note.text) edit("Write a note", (doc) => edits.setNote(doc, key, { text }));
          }}
          onKeyDown={(event) => {
            event.stopPropagation();
            if (event.key === "Escape" || (event.key === "Enter" && (event.ctrlKey || event.metaKey || isGroup))) event.currentTarget.blur();
          }}
        />
      ) : (
        <p dir="auto">{note.text || "Double-click to write, or press Enter"}</p>
      )}
      {isGroup && !writing && (
        <button
          type="button"
          className="icon fold nodrag"
          title="Close the group (O)"
          aria-label={`Close the group ${note.text}`}
          onClick={() => edit("Close a group", (doc) => edits.setNote(doc, key, { collapsed: true }))}
        >
          <ChevronsDownUp size={16} aria-hidden="true" />
        </button>
      )}
      {selected && !writing && (
        <span className="note-colors nodrag">
          {COLORS.map((color) => (
            <button
              type="button"
              key={color}
              className={color}
              title={color}
              aria-label={`Colour: ${color}`}
              aria-pressed={(note.color ?? "yellow") === color}
              onClick={() => edit("Colour a note", (doc) => edits.setNote(doc, key, { color }))}
            />
          ))}
        </span>
      )}
    </div>
  );
});

/** A closed group stands for its nodes: edges of theirs begin and end here. */
function ClosedGroup({ id, note, selected }: { id: string; note: NoteDoc; selected: boolean }): ReactElement {
  const edit = useEditor((state) => state.edit);
  const worst = useEditor((state) => {
    const found = (note.nodes ?? []).map((name) => state.marks.get(name)?.severity);
    return found.includes("error") ? "error" : found.find((one) => one !== undefined);
  });
  const count = note.nodes?.length ?? 0;
  return (
    <div className={`node closed-group ${note.color ?? "yellow"} ${selected ? "picked" : ""}`} data-note={id}>
      <Handle type="target" position={Position.Left} className="port" isConnectable={false} />
      <span className="node-icon">
        <Layers size={18} aria-hidden="true" />
      </span>
      <span className="node-text">
        <strong>{note.text || "Group"}</strong>
        <small>{count === 1 ? "1 node" : `${count} nodes`}</small>
      </span>
      {worst && (
        <span className="badges">
          <span className={`badge ${worst}`} title={`There is a${worst === "error" ? "n error" : " warning"} inside`}>
            <TriangleAlert size={14} aria-label={worst} />
          </span>
        </span>
      )}
      <button
        type="button"
        className="icon nodrag"
        title="Open the group (O)"
        aria-label={`Open the group ${note.text}`}
        onClick={() => edit("Open a group", (doc) => edits.setNote(doc, id, { collapsed: undefined as never }))}
      >
        <ChevronsUpDown size={16} aria-hidden="true" />
      </button>
      <Handle type="source" id="out" position={Position.Right} className="port" isConnectable={false} />
    </div>
  );
}
