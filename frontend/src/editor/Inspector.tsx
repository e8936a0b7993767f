// The form of what is chosen: a node, an edge, several nodes, or the workflow itself.

import { type ReactElement, useMemo, useState } from "react";

import { at, BODY_TYPES, graphAt, type Json, type JsonObject, type NodeDoc, nodeAt, splitPath } from "../model/document";
import * as edits from "../model/edits";
import { isStarted } from "../model/patch";
import { pointerOf, targetOf } from "../model/problems";
import { scopeOf } from "../model/scope";
import { portsOf, type Schema } from "../model/types";
import { Eye, Lock, Pin, Play, Trash2, TypeIcon } from "../shared/icons";
import { align, distribute, duplicate, group, moveChosen, peek, remove } from "./actions";
import { Code, Preview } from "./Code";
import { Field, Folded, SchemaForm } from "./fields";
import { splitEdge, type Trying, UNREAD, useDoc, useEditor } from "./store";
import { JsonTree } from "../shared/JsonTree";
import { Prose } from "../shared/Prose";
import { stopTrying, tryNode } from "./trying";

export function Inspector(): ReactElement {
  const selection = useEditor((state) => state.selection);
  const count = selection.nodes.length + selection.edges.length + selection.notes.length;
  if (count > 1) return <Several />;
  if (selection.nodes[0] !== undefined) return <NodeForm key={selection.nodes[0]} name={selection.nodes[0]} />;
  if (selection.notes[0] !== undefined) return <NoteForm key={selection.notes[0]} id={selection.notes[0]} />;
  if (selection.edges[0] !== undefined) return <EdgeForm key={selection.edges[0]} name={selection.edges[0]} />;
  return (
    <div className="panel-empty">
      <p>Choose a node or an edge to see its settings.</p>
      <p className="hint">
        <kbd>/</kbd> adds a node, <kbd>?</kbd> shows all keys.
      </p>
    </div>
  );
}

function useScope(name: string, withOutput = false): ReturnType<typeof scopeOf> {
  const doc = useDoc();
  const run = useEditor((state) => state.run);
  const outputs = useEditor((state) => state.outputs);
  const pins = useEditor((state) => state.pins);
  const skipped = useEditor((state) => state.skipped);
  return useMemo(
    () => scopeOf(doc, name, { inputs: run?.inputs ?? null, outputs, pins, skipped }, withOutput),
    [doc, name, run, outputs, pins, skipped, withOutput],
  );
}

/** What has begun in the run whose graph is edited: it can be read, and moved on the canvas. */
function LockedNode({ name, node }: { name: string; node: NodeDoc }): ReactElement {
  return (
    <section aria-label={`Settings of ${name}`}>
      <h2>{node.title ?? name}</h2>
      <p className="notice">
        <Lock size={14} aria-hidden="true" /> It has begun in this run and cannot be changed any more. New edges may leave it.
      </p>
      <JsonTree value={node as unknown as Json} />
    </section>
  );
}

function NodeForm({ name }: { name: string }): ReactElement | null {
  const doc = useDoc();
  const registry = useEditor((state) => state.registry);
  const problems = useEditor((state) => state.problems);
  const { edit, select, keepText, moveTexts } = useEditor.getState();
  const scope = useScope(name);
  const node = nodeAt(doc, name);
  const { id } = splitPath(name);
  const pointer = pointerOf(name);
  const unread = useEditor((state) => state.unread.get(`${pointer}#id`)?.text);
  const [typed, setTyped] = useState<string | null>(null);
  const locked = useEditor((state) => state.session !== null && isStarted(state.session, name));
  if (node === undefined) return null;
  const type = registry.get(node.type);
  if (locked) return <LockedNode name={name} node={node} />;
  const wanted = unread ?? typed ?? id;
  const refusal = edits.idRefusal(doc, name, wanted);
  const own = problems.filter(
    (one) => one.code !== UNREAD && WHOLE.test(one.pointer.slice(pointer.length)) && one.pointer.startsWith(pointer) && targetOf(one.pointer).path.join("/") === name,
  );
  const set = (what: string, change: Partial<NodeDoc>): void =>
    edit(`Change ${what} of ${id}`, (now) => edits.setNode(now, name, change), `${name}:${what}`);

  // An id that cannot be is kept with the field, so that nobody has to type it again or misses that it does not count.
  const write = (text: string): void => {
    const why = edits.idRefusal(doc, name, text);
    setTyped(text);
    keepText(`${pointer}#id`, why === null ? null : text, `${JSON.stringify(text)} cannot be its id. ${why ?? ""}`);
  };
  const rename = (): void => {
    if (wanted === id || refusal !== null) return;
    const to = [...splitPath(name).path, wanted].join("/");
    edit(`Rename ${id} to ${wanted}`, (now) => edits.renameNode(now, name, wanted, registry));
    moveTexts(pointer, pointerOf(to));
    select({ nodes: [to] });
  };

  return (
    <section aria-label={`Settings of ${id}`}>
      <header className="panel-head">
        <span className="node-icon">
          <TypeIcon name={type?.icon} />
        </span>
        <div>
          <h2>{type?.title ?? node.type}</h2>
          <details className="help">
            <summary>What it does</summary>
            <p>
              <Prose text={type?.help ?? "This type is not known here. Its settings are kept as they are."} />
            </p>
            {type !== undefined && (
              <a href={`/node-types/${encodeURIComponent(type.name)}/`} target="_blank" rel="noopener">
                Settings, examples and errors
              </a>
            )}
          </details>
        </div>
        {node.type === "subworkflow" && (
          <button type="button" className="icon" onClick={peek} aria-label="Look inside" title="Look inside (Ctrl ↓)">
            <Eye size={16} aria-hidden="true" />
          </button>
        )}
        <button type="button" className="icon" onClick={() => remove()} aria-label={`Delete ${id}`} title="Delete (Del)">
          <Trash2 size={16} aria-hidden="true" />
        </button>
      </header>
      {own.map((one) => (
        <p key={one.code} className={`problem ${one.severity}`} role="alert">
          <Prose text={`${one.message} ${one.hint ?? ""}`} />
        </p>
      ))}
      <div className="fields">
        <label className="field">
          <span className="field-title">Id</span>
          <input
            name="id"
            value={wanted}
            aria-invalid={refusal !== null}
            onChange={(event) => write(event.target.value)}
            onBlur={rename}
            onKeyDown={(event) => event.key === "Enter" && rename()}
          />
          {refusal !== null && (
            <span className="problem error" role="alert">
              {refusal} It is still {id}.{" "}
              <button type="button" className="link" onClick={() => write(id)}>
                Back to that
              </button>
            </span>
          )}
          <span className="hint">Expressions name it nodes.{id}; a new id is changed everywhere.</span>
        </label>
        <label className="field">
          <span className="field-title">Title</span>
          <input value={node.title ?? ""} placeholder={id} onChange={(event) => set("the title", { title: event.target.value || (undefined as never) })} />
        </label>
      </div>
      <h3>Settings</h3>
      <SchemaForm
        schema={type?.config_schema ?? {}}
        value={node.config ?? {}}
        parts={type?.parts ?? {}}
        scope={scope}
        pointer={`${pointer}/config`}
        problems={problems}
        hidden={HIDDEN}
        onChange={(config) => set("the settings", { config })}
      />
      {BODY_TYPES.has(node.type) && <BodyOutput name={name} pointer={pointer} />}
      {type === undefined && <pre>{JSON.stringify(node.config, null, 2)}</pre>}
      <NodeOptions name={name} node={node} schema={type?.node_schema ?? {}} pointer={pointer} />
      <Data name={name} />
    </section>
  );
}

const HIDDEN = new Set(["body"]);
/** Problems that belong to no field of the form. */
const WHOLE = /^(\/type|\/config(\/body(\/(?!output).*)?)?)?$/;
/** What each round of a body gives; its own nodes are in scope there. */
function BodyOutput({ name, pointer }: { name: string; pointer: string }): ReactElement {
  const doc = useDoc();
  const problems = useEditor((state) => state.problems);
  const edit = useEditor((state) => state.edit);
  const path = name.split("/");
  const scope = useScope([...path, ""].join("/"));
  const body = graphAt(doc, path);
  return (
    <div className="fields">
      <Field
        name="output"
        schema={{ title: "Output of each round", description: "Without it: the outputs of the last nodes inside." }}
        value={body?.output}
        scope={{ ...scope, nodes: [...new Set([...scope.nodes, ...Object.keys(body?.nodes ?? {})])] }}
        pointer={`${pointer}/config/body/output`}
        problems={problems}
        onChange={(value) => edit("Change the output", (now) => edits.setOutput(now, path, value), `${name}:output`)}
      />
    </div>
  );
}

const OPTIONS = ["retry", "timeout", "join", "on_failure", "description"] as const;

/** What every node may have: retries, time limit, how edges join, what a failure does. */
function NodeOptions({ name, node, schema, pointer }: { name: string; node: NodeDoc; schema: Schema; pointer: string }): ReactElement {
  const problems = useEditor((state) => state.problems);
  const edit = useEditor((state) => state.edit);
  const scope = useScope(name);
  const properties = (schema["properties"] ?? {}) as Record<string, Schema>;
  const choices: Record<string, Schema> = {
    ...properties,
    join: { title: "Starts when", enum: ["all", "any"], default: "all", description: "All incoming edges decided, or the first one taken." },
    on_failure: { title: "When it fails for good", enum: ["fail_run", "skip", "review"], default: "fail_run", description: "With review, people say whether it runs again. An edge from its error port goes before this." },
  };
  const values = node as unknown as JsonObject;
  const isSet = OPTIONS.some((key) => values[key] !== undefined);
  return (
    <Folded className="options" title="Retries, time limit, failure" isOpen={isSet || problems.some((one) => OPTIONS.some((key) => one.pointer.startsWith(`${pointer}/${key}`)))}>
      {() => (
      <div className="fields">
        {OPTIONS.filter((key) => choices[key] !== undefined).map((key) => {
          const isPlain = typeof values[key] !== "object" || key === "retry";
          return (
            <Field
              key={key}
              name={key}
              schema={isPlain ? (choices[key] as Schema) : {}}
              value={values[key]}
              scope={scope}
              pointer={`${pointer}/${key}`}
              problems={problems}
              onChange={(value) =>
                edit(`Change ${key}`, (doc) => edits.setNode(doc, name, { [key]: value } as Partial<NodeDoc>), `${name}:${key}`)
              }
            />
          );
        })}
      </div>
      )}
    </Folded>
  );
}

/** What the node gave in the last run; pinning; trying it alone. */
function Data({ name }: { name: string }): ReactElement {
  const outputs = useEditor((state) => state.outputs);
  const pins = useEditor((state) => state.pins);
  const run = useEditor((state) => state.run);
  const { set } = useEditor.getState();
  const [text, setText] = useState<string | null>(null);
  const [error, setError] = useState<string | null>(null);
  const trying = useEditor((state) => state.trying);
  const failed = useEditor((state) => at(state.tried, name));
  const wasSkipped = useEditor((state) => state.skipped.includes(name));
  const busy = trying?.name === name ? trying.mode : null;
  const isPinned = Object.hasOwn(pins, name);
  const value: Json | undefined = isPinned ? pins[name] : at(outputs, name);

  const pin = (next: Json | undefined): void => {
    const { [name]: _, ...rest } = pins;
    set({ pins: next === undefined ? rest : { ...rest, [name]: next }, saving: "unsaved" });
  };

  return (
    <section className="data">
      <h3>
        Output {isPinned ? "(pinned)" : run !== null && value !== undefined ? "of the last run" : ""}
      </h3>
      <div className="actions">
        <button type="button" disabled={trying !== null} onClick={() => void tryNode(name, "node")} title="Runs this node alone, on the data of the last run and of pins">
          <Play size={14} aria-hidden="true" /> {busy === "node" ? "Trying …" : "Try this node"}
        </button>
        <button type="button" disabled={trying !== null} onClick={() => void tryNode(name, "until")} title="Runs everything that leads here, and this">
          {busy === "until" ? "Running …" : "Run to here"}
        </button>
        {value !== undefined && (
          <button type="button" aria-pressed={isPinned} onClick={() => pin(isPinned ? undefined : value)} title="Tries use a pinned output instead of running the node">
            <Pin size={14} aria-hidden="true" /> {isPinned ? "Unpin" : "Pin"}
          </button>
        )}
        <button type="button" onClick={() => setText(text === null ? JSON.stringify(value ?? null, null, 2) : null)}>
          {text === null ? "Edit and pin" : "Close"}
        </button>
      </div>
      {trying !== null && <TryingNow trying={trying} isHere={busy !== null} />}
      {failed !== undefined && busy === null && (
        <p className="problem error" role="alert">
          The try failed: <bdi>{failed.text}</bdi> {failed.run !== null && <a href={`/runs/${failed.run}/`} target="_blank" rel="noopener">Its run</a>}
        </p>
      )}
      {text !== null ? (
        <>
          <textarea aria-label="Pinned output as JSON" rows={8} value={text} onChange={(event) => setText(event.target.value)} />
          {error !== null && <p className="problem error" role="alert">{error}</p>}
          <button
            type="button"
            onClick={() => {
              try {
                pin(JSON.parse(text) as Json);
                setText(null);
                setError(null);
              } catch (failure) {
                setError(`Not JSON: ${failure instanceof Error ? failure.message : ""}`);
              }
            }}
          >
            Pin this
          </button>
        </>
      ) : value === undefined ? (
        <p className="hint">{wasSkipped ? "It was skipped in the last run, so there is none." : "Nothing yet. Try the node, or run the workflow once."}</p>
      ) : (
        <JsonTree value={value} />
      )}
    </section>
  );
}

/** That a try goes on, what it waits for, and how it is ended. */
function TryingNow({ trying, isHere }: { trying: Trying; isHere: boolean }): ReactElement {
  return (
    <p className="trying" role="status">
      <span>
        {isHere ? "The try goes on" : `A try of ${trying.name} goes on`}
        {trying.waits !== "" && <>: it waits for <bdi>{trying.waits}</bdi></>}.{" "}
        {trying.run !== null && <a href={`/runs/${trying.run}/`} target="_blank" rel="noopener">Its run</a>}
      </span>
      <button type="button" onClick={stopTrying}>
        Stop
      </button>
    </p>
  );
}

function EdgeForm({ name }: { name: string }): ReactElement | null {
  const doc = useDoc();
  const registry = useEditor((state) => state.registry);
  const problems = useEditor((state) => state.problems);
  const { edit } = useEditor.getState();
  const { path, id } = splitEdge(name);
  const edge = at(graphAt(doc, path)?.edges, id);
  const scope = useScope([...path, edge?.from ?? ""].join("/"), true);
  if (edge === undefined) return null;
  const source = at(graphAt(doc, path)?.nodes, edge.from);
  const ports = source === undefined ? ["out"] : portsOf(source, registry);
  const pointer = `${path.length === 0 ? "" : `${pointerOf(path.join("/"))}/config/body`}/edges/${id.replaceAll("~", "~0").replaceAll("/", "~1")}`;
  const own = problems.filter((one) => one.pointer.startsWith(pointer));
  return (
    <section aria-label="Settings of the edge">
      <header className="panel-head">
        <h2>
          {edge.from} → {edge.to}
        </h2>
        <button type="button" className="icon" onClick={() => remove()} aria-label="Delete the edge" title="Delete (Del)">
          <Trash2 size={16} aria-hidden="true" />
        </button>
      </header>
      <div className="fields">
        <label className="field">
          <span className="field-title">Leaves by</span>
          <select value={edge.port ?? "out"} onChange={(event) => edit("Change the port", (now) => edits.setEdge(now, path, id, { port: event.target.value === "out" ? (undefined as never) : event.target.value }))}>
            {ports.map((port) => (
              <option key={port}>{port}</option>
            ))}
          </select>
        </label>
        <div className="field">
          <span className="field-title">Only when</span>
          <Code
            value={edge.when ?? ""}
            kind="expression"
            scope={scope}
            label="Condition of the edge"
            invalid={own.some((one) => one.severity === "error")}
            placeholder="always; or e.g. output.score >= 80"
            onChange={(text) => edit("Change the condition", (now) => edits.setEdge(now, path, id, { when: text === "" ? (undefined as never) : text }), `${name}:when`)}
          />
          {!own.some((one) => one.severity === "error") && <Preview text={edge.when ?? ""} kind="expression" scope={scope} />}
          {own.map((one) => (
            <p key={one.code} className={`problem ${one.severity}`} role="alert">
              <Prose text={`${one.message} ${one.hint ?? ""}`} />
            </p>
          ))}
          <p className="hint">
            <code>output</code> is what {edge.from} gave.
          </p>
        </div>
      </div>
    </section>
  );
}

const COLORS = ["yellow", "blue", "green", "pink"];

function NoteForm({ id }: { id: string }): ReactElement | null {
  const note = at(useDoc().notes, id);
  const { edit } = useEditor.getState();
  if (note === undefined) return null;
  const isGroup = note.kind === "group";
  return (
    <section aria-label={isGroup ? "Group" : "Note"}>
      <header className="panel-head">
        <h2>{isGroup ? "Group" : "Note"}</h2>
        <button type="button" className="icon" onClick={() => remove()} aria-label={isGroup ? "Ungroup" : "Delete the note"} title="Delete (Del); nodes stay">
          <Trash2 size={16} aria-hidden="true" />
        </button>
      </header>
      <div className="fields">
        <label className="field">
          <span className="field-title">{isGroup ? "Name" : "Text"}</span>
          <textarea
            rows={isGroup ? 1 : 5}
            value={note.text}
            onChange={(event) => edit("Write a note", (doc) => edits.setNote(doc, id, { text: event.target.value }), `note:${id}`)}
          />
        </label>
        <label className="field">
          <span className="field-title">Colour</span>
          <select value={note.color ?? "yellow"} onChange={(event) => edit("Colour a note", (doc) => edits.setNote(doc, id, { color: event.target.value }))}>
            {COLORS.map((color) => (
              <option key={color}>{color}</option>
            ))}
          </select>
        </label>
        {isGroup && <p className="hint">{note.nodes?.length ?? 0} nodes; drag nodes in or out. O closes the group to one block.</p>}
      </div>
    </section>
  );
}

function several(label: string, keys: string, run: () => void): ReactElement {
  return (
    <button type="button" onClick={run}>
      {label} <kbd>{keys}</kbd>
    </button>
  );
}

function Several(): ReactElement {
  const selection = useEditor((state) => state.selection);
  const count = selection.nodes.length + selection.edges.length + selection.notes.length;
  return (
    <section>
      <h2>{count} chosen</h2>
      <div className="actions column">
        {several("Align in a column", "X", () => align("x"))}
        {several("Align in a row", "Y", () => align("y"))}
        {several("Equal gaps from left to right", "Shift X", () => distribute("x"))}
        {several("Equal gaps from top to bottom", "Shift Y", () => distribute("y"))}
        {several("Group", "G", group)}
        {several("Move into a map or loop, or out", "M", moveChosen)}
        {several("Duplicate", "Ctrl D", duplicate)}
        {several("Delete", "Del", () => remove())}
        {several("Delete and join what was around", "Shift Del", () => remove(true))}
      </div>
    </section>
  );
}
