// Publishing, running, and settling a merge.

import { type ReactElement, useState } from "react";

import type { Json, JsonObject } from "../model/document";
import { exampleOf, scopeOf } from "../model/scope";
import type { Schema } from "../model/types";
import { api, ApiError, type Problem } from "../shared/api";
import { Dialog } from "../shared/Dialog";
import { FormOf, SchemaForm } from "./fields";
import { conflicts, save, settleConflicts, unsaved } from "./keeping";
import { useDoc, useEditor } from "./store";

export function PublishDialog(): ReactElement | null {
  const dialog = useEditor((state) => state.dialog);
  const problems = useEditor((state) => state.problems);
  const doc = useDoc();
  const { open, say, show } = useEditor.getState();
  const [note, setNote] = useState("");
  const [tag, setTag] = useState("");
  const [error, setError] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  if (dialog?.kind !== "publish") return null;
  const errors = problems.filter((one) => one.severity === "error");
  const publish = async (): Promise<void> => {
    setBusy(true);
    setError(null);
    try {
      if (!(await save())) return setError(unsaved());
      // Saving may have merged what others wrote, so it is not the document of when the dialog was drawn.
      const made = await api.publish(useEditor.getState().history.present, note, tag || undefined);
      say(`Published as No. ${made.number}.`);
      setNote("");
      open(null);
    } catch (failure) {
      if (!(failure instanceof ApiError)) throw failure;
      setError(failure.message);
    } finally {
      setBusy(false);
    }
  };
  return (
    <Dialog label="Publish" onClose={() => open(null)}>
      <h2>Publish {doc.name}</h2>
      {errors.length > 0 ? (
        <>
          <p className="notice error">
            {errors.length === 1 ? "One error keeps" : `${errors.length} errors keep`} it from being published. The draft is saved as it is.
          </p>
          <button type="button" className="main" onClick={() => (open(null), show("problems"))}>
            Show the problems
          </button>
        </>
      ) : (
        <form
          className="stack"
          onSubmit={(event) => {
            event.preventDefault();
            void publish();
          }}
        >
          <p>New runs take this version at once; running ones keep theirs.</p>
          <label>
            What changed
            <input autoFocus value={note} onChange={(event) => setNote(event.target.value)} placeholder="e.g. retries for the price list" />
          </label>
          <label>
            Also tag it as
            <input value={tag} onChange={(event) => setTag(event.target.value)} placeholder="e.g. stable" pattern="[A-Za-z0-9_.\-]{1,64}" />
          </label>
          {error !== null && <p className="notice error" role="alert">{error}</p>}
          <div className="actions">
            <button className="main" disabled={busy}>
              {busy ? "Publishing …" : "Publish"}
            </button>
            <button type="button" onClick={() => open(null)}>Not now</button>
          </div>
        </form>
      )}
    </Dialog>
  );
}

const OF_RUN = "run:";

export function RunDialog(): ReactElement | null {
  const dialog = useEditor((state) => state.dialog);
  const run = useEditor((state) => state.run);
  const doc = useDoc();
  const { open } = useEditor.getState();
  const [inputs, setInputs] = useState<JsonObject | null>(null);
  const [problems, setProblems] = useState<Problem[]>([]);
  const [error, setError] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  if (dialog?.kind !== "run") return null;
  const schema = (typeof doc.inputs === "object" && doc.inputs !== null ? doc.inputs : {}) as Schema;
  const before = run?.inputs;
  const start = isObject(before) ? before : (exampleOf(doc.inputs) as JsonObject);
  const value = inputs ?? start;
  const go = async (): Promise<void> => {
    setBusy(true);
    setError(null);
    try {
      if ([...useEditor.getState().unread.keys()].some((key) => key.startsWith(OF_RUN))) return setError("One of the inputs cannot be read yet.");
      if (!(await save())) return setError(unsaved());
      const started = await api.start(useEditor.getState().history.present, value, { "aob.draft": "yes" });
      location.assign(`/runs/${started.id}/`);
    } catch (failure) {
      if (!(failure instanceof ApiError)) throw failure;
      setError(failure.message);
      setProblems((failure.body["errors"] as Problem[] | undefined)?.map((one) => ({ ...one, severity: "error" })) ?? []);
    } finally {
      setBusy(false);
    }
  };
  return (
    <Dialog label="Run" onClose={() => open(null)} className="wide">
      <h2>Run {doc.name}</h2>
      <form
        className="stack"
        onSubmit={(event) => {
          event.preventDefault();
          void go();
        }}
      >
        <p className="hint">Runs the draft as it is now.</p>
        {Object.keys((schema["properties"] as object | undefined) ?? {}).length === 0 ? (
          <p>It takes no inputs.</p>
        ) : (
          <FormOf value={OF_RUN}>
            <SchemaForm schema={schema} value={value} parts={{}} scope={scopeOf(doc, "", { inputs: null, outputs: {}, pins: {} })} pointer="/inputs" problems={problems} onChange={setInputs} />
          </FormOf>
        )}
        {error !== null && <p className="notice error" role="alert">{error}</p>}
        <div className="actions">
          <button className="main" disabled={busy}>{busy ? "Starting …" : "Run"}</button>
          <button type="button" onClick={() => open(null)}>Not now</button>
        </div>
      </form>
    </Dialog>
  );
}

export function MergeDialog(): ReactElement | null {
  const saving = useEditor((state) => state.saving);
  const [theirs, setTheirs] = useState<ReadonlySet<string>>(new Set());
  const found = saving === "conflict" ? conflicts() : null;
  if (found === null) return null;
  const choose = (pointer: string, isTheirs: boolean): void => {
    const next = new Set(theirs);
    if (isTheirs) next.add(pointer);
    else next.delete(pointer);
    setTheirs(next);
  };
  return (
    <Dialog label="Merge" className="wide" onClose={() => undefined}>
      <h2>{found.by} changed the same places</h2>
      <p>Everything else is merged. For each of these, say whose it shall be; undo brings back your own.</p>
      <ul className="plain">
        {found.list.map((one) => (
          <li key={one.pointer} className="card">
            <code>{one.pointer}</code>
            <div className="columns">
              <label className="choice">
                <input type="radio" name={one.pointer} checked={!theirs.has(one.pointer)} onChange={() => choose(one.pointer, false)} />
                <span>
                  Mine <pre>{shown(one.mine)}</pre>
                </span>
              </label>
              <label className="choice">
                <input type="radio" name={one.pointer} checked={theirs.has(one.pointer)} onChange={() => choose(one.pointer, true)} />
                <span>
                  {found.by}&rsquo;s <pre>{shown(one.theirs)}</pre>
                </span>
              </label>
            </div>
          </li>
        ))}
      </ul>
      <button type="button" className="main" onClick={() => settleConflicts(theirs)}>
        Save the merged draft
      </button>
    </Dialog>
  );
}

function shown(value: Json | undefined): string {
  return value === undefined ? "(removed)" : JSON.stringify(value, null, 2);
}

function isObject(value: Json | undefined): value is JsonObject {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}
