// The editor: palette, canvas, what is beside it, and the loops that check and save.

import { ReactFlowProvider } from "@xyflow/react";
import { lazy, type ReactElement, type ReactNode, Suspense, useCallback, useEffect } from "react";

import { isPlaced } from "../model/layout";
import { api, ApiError } from "../shared/api";
import * as icons from "../shared/icons";
import * as actions from "./actions";
import { useAddress } from "./address";
import { Canvas } from "./Canvas";
import { preloadCode } from "./Code";
import { MergeDialog, PublishDialog, RunDialog } from "./dialogs";
import { Inspector } from "./Inspector";
import { beginWith, useKeeping } from "./keeping";
import { ConnectDialog, EdgesDialog, FindDialog, MoveDialog, Palette, PaletteDialog } from "./Palette";
import { JsonPanel, ProblemsPanel, SettingsPanel, VersionsPanel } from "./panels";
import { PeekPanel } from "./Peek";
import { usePresence } from "./presence";
import { NodeMenu, ShortcutsDialog, useShortcuts } from "./shortcuts";
import { type EditorState, type Panel, useDoc, useEditor } from "./store";
import { leaveTrying } from "./trying";

const Compare = lazy(() => import("./Compare"));
const Proposing = lazy(() => import("./session").then(({ Proposing }) => ({ default: Proposing })));
const CHECK_MS = 400;

/** The draft of a workflow, or the graph of a run. */
export function Editor({ name, run }: { name: string; run: string | null }): ReactElement {
  return (
    <ReactFlowProvider>
      <Loaded name={name} run={run} />
    </ReactFlowProvider>
  );
}

function Loaded({ name, run: ofRun }: { name: string; run: string | null }): ReactElement {
  const isReady = useEditor((state) => state.registry.size > 0);
  const error = useEditor((state) => (state.registry.size === 0 ? state.message?.text : undefined));
  useEffect(() => {
    const { set, say } = useEditor.getState();
    const begun = ofRun === null ? api.draft(name).then((draft) => () => beginWith(draft)) : import("./session").then(({ beginRun }) => beginRun(ofRun));
    Promise.all([api.nodeTypes(), begun])
      .then(([types, begin]) => {
        set({ registry: new Map(types.map((one) => [one.name, one])) });
        begin();
        if (ofRun === null && !isPlaced(useEditor.getState().history.present)) void actions.arrange(true);
        preloadCode();
        void api.functions().then((callables) => set({ callables }), () => undefined);
        return ofRun ?? api.lastRun(name).then((run) => run?.id ?? null);
      })
      .then(async (run) => {
        if (run !== null) set({ run: await api.run(run), ...(await api.outputs(run)) });
      })
      .catch((failure: unknown) => {
        if (!(failure instanceof ApiError)) throw failure;
        say(failure.message, "error");
      });
  }, [name, ofRun]);
  if (!isReady) return <p className="loading">{error ?? "Loading the editor …"}</p>;
  return <Workbench name={name} />;
}

function Workbench({ name }: { name: string }): ReactElement {
  const panel = useEditor((state) => state.panel);
  const selection = useEditor((state) => state.selection);
  const comparing = useEditor(({ dialog }) => (dialog?.kind === "compare" ? dialog : null));
  const isOfRun = useEditor((state) => state.session !== null);
  useAddress();
  useShortcuts();
  useChecking();
  useEffect(() => {
    addEventListener("pagehide", leaveTrying);
    return () => removeEventListener("pagehide", leaveTrying);
  }, []);

  const showNode = useCallback((node: string) => {
    actions.reveal(node);
    useEditor.getState().select({ nodes: [node] });
    document.dispatchEvent(new CustomEvent("aob-show", { detail: node }));
  }, []);
  const hasSelection = selection.nodes.length + selection.edges.length + selection.notes.length > 0;
  const shown: Panel = (panel === "inspector" || panel === "peek") && !hasSelection ? null : panel;
  return (
    <div className={`editor ${shown === null ? "" : "with-side"}`}>
      <Toolbar />
      <Palette />
      <Canvas />
      {shown !== null && (
        <aside className="side" aria-label="Details">
          <button type="button" className="icon close" aria-label="Close" onClick={() => useEditor.getState().show(null)}>
            <icons.X size={16} aria-hidden="true" />
          </button>
          {shown === "inspector" && <Inspector />}
          {shown === "problems" && <ProblemsPanel onGo={showNode} />}
          {shown === "json" && <JsonPanel />}
          {shown === "versions" && <VersionsPanel />}
          {shown === "settings" && <SettingsPanel />}
          {shown === "peek" && <PeekPanel />}
        </aside>
      )}
      <Message />
      <PaletteDialog />
      <ConnectDialog />
      <EdgesDialog />
      <MoveDialog />
      <FindDialog onFound={showNode} />
      <ShortcutsDialog />
      <NodeMenu />
      {isOfRun ? (
        <Suspense>
          <Proposing />
        </Suspense>
      ) : (
        <>
          <Drafting name={name} />
          <PublishDialog />
          <RunDialog />
          <MergeDialog />
        </>
      )}
      {comparing !== null && (
        <Suspense>
          <Compare {...comparing} />
        </Suspense>
      )}
    </div>
  );
}

/** What only a draft has: it is kept as one writes, and others may be in it. */
function Drafting({ name }: { name: string }): null {
  useKeeping();
  usePresence(name);
  return null;
}

function useChecking(): void {
  const doc = useDoc();
  useEffect(() => {
    const { found } = useEditor.getState();
    const stop = new AbortController();
    const timer = setTimeout(() => {
      api.validate(doc, stop.signal).then(
        (answer) => found(answer.problems),
        (error: unknown) => {
          if (error instanceof ApiError && error.status !== 0) {
            found([{ pointer: "", code: error.code, message: error.message, severity: "error" }]);
          }
        },
      );
    }, CHECK_MS);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [doc]);
}

const SAVED: Record<string, string> = {
  saved: "Draft saved",
  unsaved: "Not saved yet",
  saving: "Saving …",
  offline: "No connection; kept in this browser",
  conflict: "To be merged",
};

/** What stands in a field and cannot be read is in no draft, so nobody shall think that it is. */
function savedAs({ saving, unread }: EditorState): string | undefined {
  return saving === "saved" && unread.size > 0 ? "Draft saved without what cannot be read" : SAVED[saving];
}

function Toolbar(): ReactElement {
  const doc = useDoc();
  const state = useEditor();
  const { session } = state;
  const errors = state.problems.filter((one) => one.severity === "error").length;
  const button = (label: string, keys: string, icon: ReactNode, run: () => unknown, more: { pressed?: boolean; disabled?: boolean } = {}): ReactElement => (
    <button type="button" className="icon" title={`${label} (${keys})`} aria-label={label} aria-pressed={more.pressed} disabled={more.disabled} onClick={() => void run()}>
      {icon}
    </button>
  );
  const toggle = (panel: Panel): void => state.show(state.panel === panel ? null : panel);
  return (
    <header className="toolbar">
      <a className="back" href={session ? `/runs/${session.run}/` : `/workflows/${encodeURIComponent(doc.name)}/`} aria-label={session ? "Back to the run" : "Back to the workflow"}>
        <icons.ArrowLeft size={20} aria-hidden="true" />
      </a>
      <h1 title={doc.name}>{doc.name}</h1>
      <span className={`saving ${state.saving}`} role="status">
        {session ? <a href={`/runs/${session.run}/`}>Graph of run {session.run.slice(0, 8)}</a> : savedAs(state)}
      </span>
      {state.others.length > 0 && (
        <span className="others" title={state.others.map((one) => `${one.user}${one.node ? ` at ${one.node}` : ""}`).join(", ")}>
          {state.others.map((one) => (
            <span key={one.user} className="avatar" aria-label={`${one.user} is here too`}>
              {one.user.slice(0, 2)}
            </span>
          ))}
        </span>
      )}
      <span className="tools" role="toolbar" aria-label="Tools">
        {button("Undo", "Ctrl Z", <icons.Undo2 size={18} />, state.undo, { disabled: state.history.past.length === 0 })}
        {button("Redo", "Ctrl Shift Z", <icons.Redo2 size={18} />, state.redo, { disabled: state.history.future.length === 0 })}
        {button("Add a node", "/", <icons.Plus size={18} />, actions.openPalette)}
        {button("Add a note", "N", <icons.StickyNote size={18} />, () => actions.addNote())}
        {button("Find a node", "Ctrl F", <icons.Search size={18} />, () => state.open({ kind: "find" }))}
        {button("Arrange", "A", <icons.LayoutGrid size={18} />, () => actions.arrange())}
        {button("JSON", "J", <icons.Braces size={18} />, () => toggle("json"), { pressed: state.panel === "json" })}
        {!session && button("Versions", "V", <icons.History size={18} />, () => toggle("versions"), { pressed: state.panel === "versions" })}
        {button("Settings of the workflow", "W", <icons.Settings size={18} />, () => toggle("settings"), { pressed: state.panel === "settings" })}
        {button("Keys", "?", <icons.Keyboard size={18} />, () => state.open({ kind: "shortcuts" }))}
      </span>
      <button type="button" className={errors > 0 ? "danger" : ""} onClick={() => toggle("problems")} aria-pressed={state.panel === "problems"} aria-label={problemsLabel(state.problems.length)} title="Problems (P)">
        <icons.ListChecks size={16} aria-hidden="true" />
        {state.problems.length > 0 && state.problems.length} <span className="word">{state.problems.length === 0 ? "No problems" : state.problems.length === 1 ? "problem" : "problems"}</span>
      </button>
      {session ? (
        <button type="button" className="main" title="Propose what is drawn as a patch of the run (Ctrl Enter)" onClick={() => state.open({ kind: "propose" })}>
          <icons.Upload size={16} aria-hidden="true" /> Propose
        </button>
      ) : (
        <>
          <button type="button" data-tour="run" aria-label="Run" title="Run (Ctrl Enter)" onClick={() => state.open({ kind: "run" })}>
            <icons.Play size={16} aria-hidden="true" /> <span className="word">Run</span>
          </button>
          <button type="button" className="main" aria-label="Publish" title="Publish (Ctrl Shift Enter)" onClick={() => state.open({ kind: "publish" })}>
            <icons.Upload size={16} aria-hidden="true" /> <span className="word">Publish</span>
          </button>
        </>
      )}
    </header>
  );
}

function problemsLabel(count: number): string {
  return count === 0 ? "No problems" : count === 1 ? "1 problem" : `${count} problems`;
}

function Message(): ReactElement {
  const message = useEditor((state) => state.message);
  useEffect(() => {
    if (message === null || message.tone === "error") return;
    const timer = setTimeout(() => useEditor.getState().set({ message: null }), 5_000);
    return () => clearTimeout(timer);
  }, [message]);
  return (
    <div className="message" role="status" aria-live="polite">
      {message && (
        <p className={message.tone}>
          {message.text}
          <button type="button" className="icon" aria-label="Dismiss" onClick={() => useEditor.getState().set({ message: null })}>
            <icons.X size={14} aria-hidden="true" />
          </button>
        </p>
      )}
    </div>
  );
}
