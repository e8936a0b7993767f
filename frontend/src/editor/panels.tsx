// Beside the canvas: problems, the document as JSON, versions, settings of the workflow.

import { lazy, type ReactElement, Suspense, useEffect, useState } from "react";

import { at, edgeName, type Json, same, type WorkflowDoc } from "../model/document";
import * as edits from "../model/edits";
import { isThere, targetOf } from "../model/problems";
import { scopeOf } from "../model/scope";
import { api, ApiError, type Problem, type VersionInfo } from "../shared/api";
import { TriangleAlert } from "../shared/icons";
import { Prose } from "../shared/Prose";
import { Field } from "./fields";
import { useDoc, useEditor } from "./store";

const JsonText = lazy(() => import("./JsonText"));

export function ProblemsPanel({ onGo }: { onGo: (name: string) => void }): ReactElement {
  const problems = useEditor((state) => state.problems);
  const checked = useEditor((state) => state.checked);
  const isOfRun = useEditor((state) => state.session !== null);
  const doc = useDoc();
  return (
    <section aria-label="Problems">
      <h2>Problems {problems.length > 0 && `(${problems.length})`}</h2>
      {problems.length === 0 && <p className="hint">{checked ? `None.${isOfRun ? "" : " It can be published."}` : "Looking …"}</p>}
      <ul className="problems">
        {problems.map((one) => (
          <li key={`${one.pointer} ${one.code}`}>
            <button type="button" className={`problem ${one.severity}`} onClick={() => go(doc, one, onGo)}>
              <TriangleAlert size={16} aria-label={one.severity} />
              <span>
                <Prose text={one.message} />{" "}
                {one.hint && (
                  <span className="hint">
                    <Prose text={one.hint} />
                  </span>
                )}
                <code>{one.pointer || "the document"}</code>
              </span>
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

/** The node or edge that a pointer is about, chosen and shown; else the settings of the workflow. */
export function go(doc: WorkflowDoc, problem: Pick<Problem, "pointer">, onGo: (name: string) => void): void {
  const { select, show } = useEditor.getState();
  const target = targetOf(problem.pointer);
  if (problem.pointer === "" && useEditor.getState().unread.has(WHOLE_DOCUMENT)) show("json");
  else if (target.kind === "edge") {
    select({ edges: [edgeName(target.path, target.edge!)] });
    show("inspector");
  } else if (isThere(doc, target)) {
    select({ nodes: [target.path.join("/")] });
    show("inspector");
    onGo(target.path.join("/"));
  } else show("settings");
}

/** Under which the text of the JSON view is kept while it is no document. */
const WHOLE_DOCUMENT = "#json";

/** The document that a text is, or what is wrong with it. */
function documentIn(text: string): WorkflowDoc | string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (failure) {
    return `Not JSON yet: ${failure instanceof Error ? failure.message : ""}.`;
  }
  const found = value as WorkflowDoc;
  if (typeof value !== "object" || value === null || typeof found.nodes !== "object" || found.nodes === null || typeof found.name !== "string") {
    return "A workflow is an object with a name and nodes.";
  }
  if (Object.values(found.nodes).some((node) => typeof node !== "object" || node === null || typeof node.type !== "string")) {
    return "Every node is an object with a type.";
  }
  return found;
}

export function JsonPanel(): ReactElement {
  const doc = useDoc();
  const { edit, keepText } = useEditor.getState();
  const kept = useEditor((state) => state.unread.get(WHOLE_DOCUMENT));
  const change = (text: string): void => {
    const found = documentIn(text);
    keepText(WHOLE_DOCUMENT, typeof found === "string" ? text : null, `The JSON view is no document. ${String(found)}`);
    if (typeof found !== "string" && !same(found, useEditor.getState().history.present)) edit("Edit as JSON", () => found, "json");
  };
  const file = (): void => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([`${JSON.stringify(doc, null, 2)}\n`], { type: "application/json" }));
    link.download = `${doc.name}.json`;
    link.click();
    URL.revokeObjectURL(link.href);
  };
  return (
    <section aria-label="JSON" className="json-panel">
      <div className="actions">
        <button type="button" onClick={file}>Save as a file</button>
        <label className="button">
          Load a file
          <input
            type="file"
            accept="application/json,.json"
            className="visually-hidden"
            onChange={(event) => {
              const [one] = event.target.files ?? [];
              void one?.text().then(change);
              event.target.value = "";
            }}
          />
        </label>
        <button type="button" onClick={() => void navigator.clipboard.writeText(JSON.stringify(doc, null, 2))}>Copy all</button>
      </div>
      {kept !== undefined && (
        <p className="notice error" role="alert">
          <span>
            {kept.message} The canvas shows the last text that was one, and that is what is saved.{" "}
            <button type="button" className="link" onClick={() => keepText(WHOLE_DOCUMENT, null)}>
              Back to that
            </button>
          </span>
        </p>
      )}
      <Suspense fallback={<pre tabIndex={0}>{kept?.text ?? JSON.stringify(doc, null, 2)}</pre>}>
        <JsonText text={kept?.text ?? JSON.stringify(doc, null, 2)} onChange={change} />
      </Suspense>
    </section>
  );
}

export function SettingsPanel(): ReactElement {
  const doc = useDoc();
  const problems = useEditor((state) => state.problems);
  const run = useEditor((state) => state.run);
  const outputs = useEditor((state) => state.outputs);
  const pins = useEditor((state) => state.pins);
  const edit = useEditor((state) => state.edit);
  const isOfRun = useEditor((state) => state.session !== null);
  const set = (key: keyof WorkflowDoc, value: Json | undefined): void =>
    edit(`Change ${key}`, (now) => edits.setDocument(now, { [key]: value } as Partial<WorkflowDoc>), `document:${key}`);
  const skipped = useEditor((state) => state.skipped);
  const scope = scopeOf(doc, "", { inputs: run?.inputs ?? null, outputs, pins });
  const ends = Object.fromEntries(Object.keys(doc.nodes).flatMap((id) => (at(outputs, id) === undefined ? [] : [[id, outputs[id]!]])));
  const own = problems.filter((one) => !/^\/(nodes|edges)\//.test(one.pointer));
  return (
    <section aria-label="Settings of the workflow">
      <h2>Workflow</h2>
      {isOfRun ? (
        <p className="hint">A patch changes the graph of this run and its output. For all else publish a new version of the workflow.</p>
      ) : (
        <>
          <label className="field">
            <span className="field-title">Description</span>
            <textarea rows={3} value={doc.description ?? ""} onChange={(event) => set("description", event.target.value || undefined)} />
          </label>
          <Field name="inputs" schema={{ title: "Inputs", description: "A JSON Schema; the form that starts a run is made from it.", examples: [{ type: "object", properties: { url: { type: "string" } } }] }} value={doc.inputs} part="literal" scope={scope} pointer="/inputs" problems={own} onChange={(value) => set("inputs", value)} />
        </>
      )}
      <Field name="output" schema={{ title: "Output", description: "What a run gives; without it the outputs of the last nodes." }} value={doc.output} scope={{ values: { ...scope.values, nodes: ends }, nodes: Object.keys(doc.nodes), skipped }} pointer="/output" problems={own} onChange={(value) => set("output", value)} />
      {!isOfRun && (
        <Field name="limits" schema={{ title: "Limits", description: "Time limit, agents, items.", examples: [{ timeout: "2h" }] }} part="literal" value={doc.limits as Json | undefined} scope={scope} pointer="/limits" problems={own} onChange={(value) => set("limits", value)} />
      )}
    </section>
  );
}

/** Drafts, published versions, the way to what differs, and going back. */
export function VersionsPanel(): ReactElement {
  const doc = useDoc();
  const { edit, say, open } = useEditor.getState();
  const [versions, setVersions] = useState<VersionInfo[] | null>(null);
  const [tags, setTags] = useState<{ tag: string; version: string }[]>([]);
  const [tagging, setTagging] = useState<string | null>(null);

  useEffect(() => {
    api.versions(doc.name).then(setVersions, () => setVersions([]));
    api.tags(doc.name).then((page) => setTags(page.items), () => setTags([]));
  }, [doc.name]);
  return (
    <section aria-label="Versions">
      <h2>Versions</h2>
      {versions === null && <p className="hint">Looking …</p>}
      {versions?.length === 0 && <p className="hint">Nothing is published yet. The draft is kept as you write.</p>}
      <ul className="versions">
        {versions?.map((one) => (
          <li key={one.version} className="card">
            <strong>No. {one.number}</strong>{" "}
            {tags.filter((tag) => tag.version === one.version).map((tag) => (
              <code className="tag" key={tag.tag}>{tag.tag}</code>
            ))}
            <p>{one.note || <span className="hint">no note</span>}</p>
            <p className="hint">
              <time dateTime={one.created_at}>{new Date(one.created_at).toISOString().slice(0, 16).replace("T", " ")} UTC</time>
              {one.created_by ? ` by ${one.created_by}` : ""}
            </p>
            <div className="actions">
              <button type="button" title={`What differs between No. ${one.number} and the draft`} onClick={() => open({ kind: "compare", from: String(one.number), to: "draft" })}>
                Compare
              </button>
              <button
                type="button"
                onClick={() =>
                  void api.version(doc.name, one.version).then((found) => {
                    edit(`Restore No. ${one.number}`, () => found.document);
                    say(`The draft is No. ${one.number} again; undo brings back what was.`);
                  })
                }
              >
                Restore
              </button>
              <button type="button" aria-expanded={tagging === one.version} onClick={() => setTagging(tagging === one.version ? null : one.version)}>
                Tag
              </button>
            </div>
            {tagging === one.version && (
              <form
                className="row"
                onSubmit={(event) => {
                  event.preventDefault();
                  const tag = String(new FormData(event.currentTarget).get("tag"));
                  api.moveTag(doc.name, tag, one.version).then(
                    () => {
                      setTagging(null);
                      say(`${tag} points to No. ${one.number} now.`);
                      void api.tags(doc.name).then((page) => setTags(page.items));
                    },
                    (error: unknown) => error instanceof ApiError && say(error.message, "error"),
                  );
                }}
              >
                <input name="tag" autoFocus required aria-label={`Tag for No. ${one.number}`} placeholder="e.g. stable" pattern="[A-Za-z0-9_.\-]{1,64}" />
                <button>Point it here</button>
              </form>
            )}
          </li>
        ))}
      </ul>
    </section>
  );
}
