// The editor's state: the document with its history, what is chosen, and what the server said. Edits go through `edit`.

import { create } from "zustand";

import { graphAt, type Json, splitPath, type WorkflowDoc } from "../model/document";
import * as edits from "../model/edits";
import { begin, edit as step, type History, redo, seal, undo } from "../model/history";
import type { Registry } from "../model/types";
import type { Problem, RunView } from "../shared/api";

export type Panel = "inspector" | "problems" | "json" | "versions" | "settings" | null;
export type Dialog =
  | { kind: "palette"; from?: { name: string; port: string }; edge?: { path: string[]; id: string }; at?: edits.Point; path: string[] }
  | { kind: "connect"; from: string }
  | { kind: "shortcuts" }
  | { kind: "publish" }
  | { kind: "run" }
  | { kind: "find" }
  | null;

export type Saving = "saved" | "unsaved" | "saving" | "offline" | "conflict";

export interface Selection {
  nodes: readonly string[];
  edges: readonly string[];
  notes: readonly string[];
}

export const NOTHING: Selection = { nodes: [], edges: [], notes: [] };

export interface EditorState {
  history: History<WorkflowDoc>;
  selection: Selection;
  registry: Registry;
  problems: readonly Problem[];
  checked: boolean;
  panel: Panel;
  dialog: Dialog;
  saving: Saving;
  /** The last run of the workflow and what its nodes gave, for completion and previews. */
  run: RunView | null;
  outputs: Readonly<Record<string, Json>>;
  pins: Readonly<Record<string, Json>>;
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
  set: (part: Partial<EditorState>) => void;
}

export const useEditor = create<EditorState>((set) => ({
  history: begin<WorkflowDoc>({ name: "new-workflow", nodes: {}, edges: {} }),
  selection: NOTHING,
  registry: new Map(),
  problems: [],
  checked: false,
  panel: null,
  dialog: null,
  saving: "saved",
  run: null,
  outputs: {},
  pins: {},
  message: null,
  others: [],

  edit: (label, change, merging) =>
    set((state) => {
      const doc = change(state.history.present);
      if (doc === state.history.present) return state;
      return { history: step(state.history, doc, label, merging ?? null), saving: "unsaved", checked: false };
    }),
  replace: (doc) => set({ history: begin(doc), selection: NOTHING, checked: false }),
  undo: () => set((state) => travelled(state, undo(state.history), "Undone")),
  redo: () => set((state) => travelled(state, redo(state.history), "Redone")),
  seal: () => set((state) => ({ history: seal(state.history) })),
  select: (selection) => set({ selection: { ...NOTHING, ...selection } }),
  open: (dialog) => set({ dialog }),
  show: (panel) => set({ panel }),
  say: (text, tone = "info") => set({ message: { text, tone } }),
  set: (part) => set(part),
}));

function travelled(state: EditorState, history: History<WorkflowDoc>, word: string): Partial<EditorState> {
  if (history === state.history) return { message: { text: `Nothing to ${word === "Undone" ? "undo" : "redo"}.`, tone: "info" } };
  const label = word === "Undone" ? history.future[0]?.label : history.past[history.past.length - 1]?.label;
  const doc = history.present;
  const nodes = state.selection.nodes.filter((name) => {
    const { path, id } = splitPath(name);
    return graphAt(doc, path)?.nodes[id] !== undefined;
  });
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

/** Edges are named by the path of their graph and their id, with "#" between: ids of nodes have no "#". */
export function edgeName(path: readonly string[], id: string): string {
  return `${path.join("/")}#${id}`;
}

export function splitEdge(name: string): { path: string[]; id: string } {
  const mark = name.indexOf("#");
  const path = name.slice(0, mark);
  return { path: path === "" ? [] : path.split("/"), id: name.slice(mark + 1) };
}
