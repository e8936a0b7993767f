// The editor's state: the document with its history, what is chosen, and what the server said. Edits go through `edit`.

import { create } from "zustand";

import { type Json, nodeAt, splitPath, type WorkflowDoc } from "../model/document";
import * as edits from "../model/edits";
import { begin, edit as step, type History, redo, seal, undo } from "../model/history";
import { refusedByPast, type RunGraph } from "../model/patch";
import { marksOf, targetOf } from "../model/problems";
import type { Callable } from "../model/scope";
import type { Registry } from "../model/types";
import type { Problem, RunView } from "../shared/api";

export type Panel = "inspector" | "problems" | "json" | "versions" | "settings" | "peek" | null;
export type Dialog =
  | { kind: "palette"; from?: { name: string; port: string }; to?: string; edge?: { path: string[]; id: string }; at?: edits.Point; path: string[] }
  | { kind: "connect"; from: string }
  | { kind: "edges"; of: string }
  /** What can be done with a node, at a place of the screen. */
  | { kind: "menu"; of: string; at?: edits.Point }
  | { kind: "move"; names: readonly string[] }
  | { kind: "shortcuts" }
  | { kind: "publish" }
  | { kind: "run" }
  | { kind: "propose" }
  | { kind: "find" }
  /** Two versions by number, id or tag, or "draft". */
  | { kind: "compare"; from: string; to: string }
  | null;

export type Saving = "saved" | "unsaved" | "saving" | "offline" | "conflict";

export interface Selection {
  nodes: readonly string[];
  edges: readonly string[];
  notes: readonly string[];
}

export interface Unread {
  text: string;
  /** What is wrong with it. */
  message: string;
}

/** The code of the problems that such texts are. */
export const UNREAD = "unread";

export interface Trying {
  name: string;
  mode: "node" | "until";
  run: string | null;
  waits: string;
}

export const NOTHING: Selection = { nodes: [], edges: [], notes: [] };

export interface EditorState {
  /** The run whose graph is edited, where it is not a draft. */
  session: RunGraph | null;
  /** What the run refused of a document; it stays until that is edited. */
  refused: { of: WorkflowDoc; problems: readonly Problem[] } | null;
  history: History<WorkflowDoc>;
  selection: Selection;
  registry: Registry;
  /** What the server found in the document, and what stands in fields that cannot be read. */
  problems: readonly Problem[];
  reported: readonly Problem[];
  /** Text that is no value yet, by the pointer of its field: it is in no document, and not lost either. */
  unread: ReadonlyMap<string, Unread>;
  /** The worst problem of each node. */
  marks: ReadonlyMap<string, Problem>;
  checked: boolean;
  /** What expressions may call. */
  callables: readonly Callable[];
  /** What would take up what is being dragged: the name of a body or of an edge, "" for the canvas. */
  dropping: string | null;
  /** The note that is being written in. */
  writing: string | null;
  panel: Panel;
  dialog: Dialog;
  saving: Saving;
  /** The last run of the workflow and what its nodes gave, for completion and previews. */
  run: RunView | null;
  outputs: Readonly<Record<string, Json>>;
  /** The nodes that it passed over: expressions find nothing of them, as in the run. */
  skipped: readonly string[];
  pins: Readonly<Record<string, Json>>;
  /** The try that goes on; its run once there is one, and what that waits for. */
  trying: Trying | null;
  /** Why the last try of a node gave nothing. */
  tried: Readonly<Record<string, { run: string | null; text: string }>>;
  message: { text: string; tone: "info" | "error" } | null;
  others: readonly { user: string; node: string | null }[];

  edit: (label: string, change: (doc: WorkflowDoc) => WorkflowDoc, merging?: string) => void;
  replace: (doc: WorkflowDoc) => void;
  undo: () => void;
  redo: () => void;
  seal: () => void;
  select: (selection: Partial<Selection>) => void;
  open: (dialog: Dialog) => void;
  show: (panel: Panel) => void;
  say: (text: string, tone?: "info" | "error") => void;
  found: (problems: readonly Problem[]) => void;
  /** Keeps a text that cannot be read under its field's pointer; null when it can be, or is given up. */
  keepText: (pointer: string, text: string | null, message?: string) => void;
  /** Takes along what is kept of a node whose pointer has changed. */
  moveTexts: (from: string, to: string) => void;
  set: (part: Partial<EditorState>) => void;
}

export const useEditor = create<EditorState>((set) => ({
  session: null,
  refused: null,
  history: begin<WorkflowDoc>({ name: "new-workflow", nodes: {}, edges: {} }),
  selection: NOTHING,
  registry: new Map(),
  problems: [],
  reported: [],
  unread: new Map(),
  marks: new Map(),
  checked: false,
  callables: [],
  dropping: null,
  writing: null,
  panel: null,
  dialog: null,
  saving: "saved",
  run: null,
  outputs: {},
  skipped: [],
  pins: {},
  trying: null,
  tried: {},
  message: null,
  others: [],

  edit: (label, change, merging) =>
    set((state) => {
      const doc = change(state.history.present);
      if (doc === state.history.present) return state;
      const refused = state.session && refusedByPast(state.session, state.history.present, doc);
      if (refused) return { message: { text: refused, tone: "error" } };
      return { history: step(state.history, doc, label, merging ?? null), saving: "unsaved", checked: false };
    }),
  replace: (doc) => set({ history: begin(doc), selection: NOTHING, checked: false }),
  undo: () => set((state) => travelled(state, undo(state.history), "Undone")),
  redo: () => set((state) => travelled(state, redo(state.history), "Redone")),
  seal: () => set((state) => ({ history: seal(state.history) })),
  select: (selection) => set({ selection: { ...NOTHING, ...selection } }),
  open: (dialog) => set(({ session }) => ({ dialog: session === null ? dialog : ofRun(dialog) })),
  show: (panel) => set(({ session }) => ({ panel: session !== null && panel === "versions" ? null : panel })),
  say: (text, tone = "info") => set({ message: { text, tone } }),
  found: (problems) =>
    set(({ refused, history, unread }) => {
      const reported = refused?.of === history.present ? [...refused.problems, ...problems] : problems;
      return { reported, ...withUnread(reported, unread, history.present), checked: true };
    }),
  keepText: (pointer, text, message = "") =>
    set(({ reported, unread, history }) => {
      if (text === null && !unread.has(pointer)) return {};
      const kept = new Map(unread);
      if (text === null) kept.delete(pointer);
      else kept.set(pointer, { text, message });
      return { unread: kept, ...withUnread(reported, kept, history.present) };
    }),
  moveTexts: (from, to) =>
    set(({ reported, unread, history }) => {
      const isOf = (key: string): boolean => key.startsWith(`${from}/`) || key.startsWith(`${from}#`);
      const kept = new Map([...unread].map(([key, one]) => [isOf(key) ? to + key.slice(from.length) : key, one]));
      return { unread: kept, ...withUnread(reported, kept, history.present) };
    }),
  set: (part) => set(part),
}));

/** Problems and marks with the texts that cannot be read; those of nodes that are gone count no more. */
function withUnread(reported: readonly Problem[], unread: EditorState["unread"], doc: WorkflowDoc): Pick<EditorState, "problems" | "marks"> {
  const kept = [...unread].flatMap(([field, { message }]): Problem[] => {
    const pointer = field.split("#")[0]!;
    const target = targetOf(pointer);
    if (!pointer.startsWith("/") && pointer !== "") return [];
    if (target.kind === "node" && nodeAt(doc, target.path.join("/")) === undefined) return [];
    return [{ pointer, code: UNREAD, message, hint: "The document keeps what stood there before.", severity: "error" }];
  });
  const problems = [...kept, ...reported];
  return { problems, marks: marksOf(problems) };
}

/** What is published or run from a draft is proposed from a run's graph, which has no versions to compare. */
function ofRun(dialog: Dialog): Dialog {
  if (dialog?.kind === "publish" || dialog?.kind === "run") return { kind: "propose" };
  return dialog?.kind === "compare" ? null : dialog;
}

function travelled(state: EditorState, history: History<WorkflowDoc>, word: string): Partial<EditorState> {
  if (history === state.history) return { message: { text: `Nothing to ${word === "Undone" ? "undo" : "redo"}.`, tone: "info" } };
  const label = word === "Undone" ? history.future[0]?.label : history.past[history.past.length - 1]?.label;
  const doc = history.present;
  const nodes = state.selection.nodes.filter((name) => nodeAt(doc, name) !== undefined);
  return {
    history,
    selection: { ...NOTHING, nodes },
    saving: "unsaved",
    checked: false,
    message: { text: `${word}: ${label ?? ""}`, tone: "info" },
  };
}

export const useDoc = (): WorkflowDoc => useEditor((state) => state.history.present);

/** The graph into which something new goes: that of the chosen node, or the top. */
export function currentPath(state: EditorState): string[] {
  const [name] = state.selection.nodes;
  return name === undefined ? [] : splitPath(name).path;
}

export function splitEdge(name: string): { path: string[]; id: string } {
  const mark = name.indexOf("#");
  const path = name.slice(0, mark);
  return { path: path === "" ? [] : path.split("/"), id: name.slice(mark + 1) };
}
