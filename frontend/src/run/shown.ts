// What the graph of the run page shows at the moment.

import { create } from "zustand";

import type { PatchMark } from "../model/patched";
import type { Standing } from "../model/progress";

interface Shown {
  standing: Standing | null;
  /** Attempts that are being executed, by node: no event tells of them. */
  running: Record<string, number>;
  last: number;
  at: number | null;
  /** So many events were there when the page had loaded; what comes later comes while somebody looks. */
  loaded: number | null;
  /** What patches made of the graph that is shown, and what was made just now. */
  marks: ReadonlyMap<string, PatchMark>;
  fresh: ReadonlySet<string>;
  /** What a patch that waits for review would make of it, while that is looked at. */
  proposed: ReadonlyMap<string, PatchMark["kind"]>;
}

export const useShown = create<Shown>(() => ({
  standing: null,
  running: {},
  last: 0,
  at: null,
  loaded: null,
  marks: new Map(),
  fresh: new Set(),
  proposed: new Map(),
}));
