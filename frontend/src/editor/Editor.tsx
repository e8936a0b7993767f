// The editor: palette, canvas, what is beside it, and the loops that check and save.

import { ReactFlowProvider, useReactFlow } from "@xyflow/react";
import { type ReactElement, type ReactNode, useCallback, useEffect } from "react";

import { isPlaced } from "../model/edits";
import { api, ApiError } from "../shared/api";
import * as icons from "../shared/icons";
import * as actions from "./actions";
import { Canvas } from "./Canvas";
import { MergeDialog, PublishDialog, RunDialog } from "./dialogs";
import { Inspector } from "./Inspector";
import { beginWith, useKeeping } from "./keeping";
import { ConnectDialog, FindDialog, Palette, PaletteDialog } from "./Palette";
import { JsonPanel, ProblemsPanel, SettingsPanel, VersionsPanel } from "./panels";
import { usePresence } from "./presence";
import { ShortcutsDialog, useShortcuts } from "./shortcuts";
import { type Panel, useDoc, useEditor } from "./store";

const CHECK_MS = 400;

export function Editor({ name }: { name: string }): ReactElement {
  return (
    <ReactFlowProvider>
      <Loaded name={name} />
    </ReactFlowProvider>
  );
}

function Loaded({ name }: { name: string }): ReactElement {
  const isReady = useEditor((state) => state.registry.size > 0);
  const error = useEditor((state) => (state.registry.size === 0 ? state.message?.text : undefined));
  useEffect(() => {
    const { set, say } = useEditor.getState();
    Promise.all([api.nodeTypes(), api.draft(name)])
      .then(([types, draft]) => {
        beginWith(draft);
        set({ registry: new Map(types.map((one) => [one.name, one])) });
        if (!isPlaced(draft.document)) void actions.arrange(true);
        return api.lastRun(name);
      })
      .then(async (run) => {
        if (run !== null) set({ run: await api.run(run.id), outputs: await api.outputs(run.id) });
      })
      .catch((failure: unknown) => {
        if (!(failure instanceof ApiError)) throw failure;
        say(failure.message, "error");
      });
  }, [name]);
  if (!isReady) return <p className="loading">{error ?? "Loading the editor …"}</p>;
  return <Workbench name={name} />;
}

function Workbench({ name }: { name: string }): ReactElement {
  const panel = useEditor((state) => state.panel);
  const selection = useEditor((state) => state.selection);
  const flow = useReactFlow();
  useShortcuts();
  useKeeping();
  useChecking();
  usePresence(name);

  const showNode = useCallback(
    (node: string) => {
      useEditor.getState().select({ nodes: [node] });
      void flow.fitView({ nodes: [{ id: node }], maxZoom: 1.1, duration: 200, padding: 0.6 });
    },
    [flow],
  );
  useEffect(() => {
    const fit = (): void => void flow.fitView({ maxZoom: 1, padding: 0.2, duration: 200 });
    const zoom = (event: Event): void => void flow.zoomTo(flow.getZoom() * (event as CustomEvent<number>).detail, { duration: 100 });
    document.addEventListener("aob-fit", fit);
    document.addEventListener("aob-zoom", zoom);
    return () => {
      document.removeEventListener("aob-fit", fit);
      document.removeEventListener("aob-zoom", zoom);
    };
  }, [flow]);
  useFollowing(selection.nodes[0]);
  const hasSelection = selection.nodes.length + selection.edges.length + selection.notes.length > 0;
  const shown: Panel = panel === "inspector" && !hasSelection ? null : panel;
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
        </aside>
      )}
      <Message />
      <PaletteDialog />
      <ConnectDialog />
      <FindDialog onFound={showNode} />
      <ShortcutsDialog />
      <PublishDialog />
      <RunDialog />
      <MergeDialog />
    </div>
  );
}

/** Keeps what is chosen in sight: a node that was added or walked to may stand beyond the edge, or behind the form. */
function useFollowing(name: string | undefined): void {
  const flow = useReactFlow();
  const panel = useEditor((state) => state.panel);
  useEffect(() => {
    if (name === undefined) return;
    const timer = setTimeout(() => {
      const node = flow.getInternalNode(name);
      const canvas = document.querySelector(".canvas")?.getBoundingClientRect();
      if (node === undefined || canvas === undefined) return;
      const { x, y } = node.internals.positionAbsolute;
      const [width, height] = [node.width ?? 0, node.height ?? 0];
      const { x: left, y: top, zoom } = flow.getViewport();
      const isSeen =
        x * zoom + left >= 0 && y * zoom + top >= 0 && (x + width) * zoom + left <= canvas.width && (y + height) * zoom + top <= canvas.height;
      if (!isSeen) void flow.setCenter(x + width / 2, y + height / 2, { zoom, duration: 150 });
    }, 60);
    return () => clearTimeout(timer);
  }, [flow, name, panel]);
}

function useChecking(): void {
  const doc = useDoc();
  useEffect(() => {
    const { set } = useEditor.getState();
    const stop = new AbortController();
    const timer = setTimeout(() => {
      api.validate(doc, stop.signal).then(
        (found) => set({ problems: found.problems, checked: true }),
        (error: unknown) => {
          if (error instanceof ApiError && error.status !== 0) {
            set({ problems: [{ pointer: "", code: error.code, message: error.message, severity: "error" }], checked: true });
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

function Toolbar(): ReactElement {
  const doc = useDoc();
  const state = useEditor();
  const errors = state.problems.filter((one) => one.severity === "error").length;
  const button = (label: string, keys: string, icon: ReactNode, run: () => unknown, more: { pressed?: boolean; disabled?: boolean } = {}): ReactElement => (
    <button type="button" className="icon" title={`${label} (${keys})`} aria-label={label} aria-pressed={more.pressed} disabled={more.disabled} onClick={() => void run()}>
      {icon}
    </button>
  );
  const toggle = (panel: Panel): void => state.show(state.panel === panel ? null : panel);
  return (
    <header className="toolbar">
      <h1 title={doc.name}>{doc.name}</h1>
      <span className={`saving ${state.saving}`} role="status">
        {SAVED[state.saving]}
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
        {button("Versions", "V", <icons.History size={18} />, () => toggle("versions"), { pressed: state.panel === "versions" })}
        {button("Settings of the workflow", "W", <icons.Settings size={18} />, () => toggle("settings"), { pressed: state.panel === "settings" })}
        {button("Keys", "?", <icons.Keyboard size={18} />, () => state.open({ kind: "shortcuts" }))}
      </span>
      <button type="button" className={errors > 0 ? "danger" : ""} onClick={() => toggle("problems")} aria-pressed={state.panel === "problems"}>
        <icons.ListChecks size={16} aria-hidden="true" /> {state.problems.length === 0 ? "No problems" : `${state.problems.length} problem${state.problems.length === 1 ? "" : "s"}`}
      </button>
      <button type="button" onClick={() => state.open({ kind: "run" })}>
        <icons.Play size={16} aria-hidden="true" /> Run
      </button>
      <button type="button" className="main" onClick={() => state.open({ kind: "publish" })}>
        <icons.Upload size={16} aria-hidden="true" /> Publish
      </button>
    </header>
  );
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
