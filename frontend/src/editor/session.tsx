// Editing the graph of a run that goes on: what is drawn is proposed as a patch, and what has begun stays as it is.

import { type ReactElement, useEffect, useState } from "react";

import { compared, counted } from "../model/diff";
import { type Json, same, type WorkflowDoc } from "../model/document";
import { isPlaced, laidOut, roughPlaces } from "../model/layout";
import { withNear } from "../model/near";
import { operationsOf, type RunGraph } from "../model/patch";
import { api, ApiError, type Problem } from "../shared/api";
import { Dialog } from "../shared/Dialog";
import { closedSize } from "./flow";
import { useEditor } from "./store";

/** Gets the run's newest graph; gives what begins with it once the node types are known. */
export async function beginRun(run: string): Promise<() => void> {
  const [{ version, document }, started] = await Promise.all([api.runGraph(run), api.started(run)]);
  return () => {
    const { registry, replace, set } = useEditor.getState();
    const sizeOf = (name: string): { width: number; height: number } => closedSize(document, name, registry);
    const begin = (shown: WorkflowDoc): void => {
      set({ session: { run, version, document, shown, started } });
      replace(shown);
    };
    const near = withNear(document, undefined, sizeOf);
    if (isPlaced(near)) return begin(near);
    const rough = { ...document, layout: roughPlaces(document) };
    begin(rough);
    void laidOut(rough, [], sizeOf).then(
      (layout) => useEditor.getState().history.present === rough && begin({ ...document, layout }),
      () => undefined,
    );
  };
}

const LOOK_MS = 3_000;

/** The run goes on meanwhile: what has begun now is locked from here on. */
async function lookAgain(): Promise<void> {
  const { session, set } = useEditor.getState();
  if (session === null) return;
  const started = await api.started(session.run);
  if (!same(started, session.started)) set({ session: { ...session, started } });
}

function useOperations(session: RunGraph): ReturnType<typeof operationsOf> {
  const present = useEditor((state) => state.history.present);
  return operationsOf(session, present);
}

export function Proposing(): ReactElement | null {
  const session = useEditor((state) => state.session);
  return session && <Propose session={session} />;
}

function Propose({ session }: { session: RunGraph }): ReactElement | null {
  const dialog = useEditor((state) => state.dialog);
  const problems = useEditor((state) => state.problems);
  const present = useEditor((state) => state.history.present);
  const operations = useOperations(session);
  const { open, show, say, found, set } = useEditor.getState();
  const [reason, setReason] = useState("");
  const [error, setError] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const isChanged = operations.length > 0;
  useEffect(() => {
    if (!isChanged || busy) return;
    const leaving = (event: BeforeUnloadEvent): void => event.preventDefault();
    addEventListener("beforeunload", leaving);
    return () => removeEventListener("beforeunload", leaving);
  }, [isChanged, busy]);
  useEffect(() => {
    const timer = setInterval(() => {
      if (!document.hidden) void lookAgain().catch(() => undefined);
    }, LOOK_MS);
    return () => clearInterval(timer);
  }, []);
  if (dialog?.kind !== "propose") return null;

  const refused = async (failure: ApiError): Promise<void> => {
    const errors = (failure.body["errors"] as Problem[] | undefined) ?? [];
    if (failure.status !== 422 || errors.length === 0) return setError(failure.message);
    open(null);
    set({ refused: { of: present, problems: errors.map((one) => ({ ...one, severity: "error" })) } });
    found([]);
    show("problems");
    say("The patch was refused, and nothing was changed. The problems say where and why.", "error");
    await lookAgain();
  };
  const propose = async (): Promise<void> => {
    setBusy(true);
    setError(null);
    try {
      const patch = await api.propose(session.run, { operations: operations as unknown as Json[], reason, base: session.version });
      set({ session: { ...session, document: present, shown: present } });
      location.assign(patch.status === "applied" ? `/runs/${session.run}/` : `/runs/${session.run}/patches/${patch.id}/`);
    } catch (failure) {
      if (!(failure instanceof ApiError)) throw failure;
      setBusy(false);
      await refused(failure);
    }
  };
  const errors = problems.filter((one) => one.severity === "error").length;
  return (
    <Dialog label="Propose a patch" onClose={() => open(null)}>
      <h2>Propose a patch</h2>
      {!isChanged ? (
        <>
          <p>Nothing is changed yet. What you draw here is sent to the run as one patch.</p>
          <button type="button" className="main" onClick={() => open(null)}>
            Go on drawing
          </button>
        </>
      ) : (
        <form
          className="stack"
          onSubmit={(event) => {
            event.preventDefault();
            void propose();
          }}
        >
          <p>
            {counted(compared(session.shown, present).changes)}. It is checked against the run as it is then; what has begun is not touched.
          </p>
          {errors > 0 && <p className="notice warning">{errors === 1 ? "One problem is" : `${errors} problems are`} not solved yet, so it will be refused.</p>}
          <label>
            Why
            <textarea autoFocus rows={3} maxLength={2000} value={reason} onChange={(event) => setReason(event.target.value)} placeholder="e.g. the rows need a check before they are sent" />
          </label>
          {error !== null && (
            <p className="notice error" role="alert">
              {error}
            </p>
          )}
          <div className="actions">
            <button className="main" disabled={busy}>
              {busy ? "Proposing …" : "Propose"}
            </button>
            <button type="button" onClick={() => open(null)}>
              Not now
            </button>
          </div>
        </form>
      )}
    </Dialog>
  );
}
