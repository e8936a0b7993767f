// Undo and redo: documents are never changed in place, so a step is the document before it and what was done.

export interface Step<D> {
  readonly doc: D;
  readonly label: string;
}

export interface History<D> {
  readonly past: readonly Step<D>[];
  readonly present: D;
  readonly future: readonly Step<D>[];
  /** Edits with the same key follow each other as one step: letters typed into one field, one drag. */
  readonly merging: string | null;
}

export const MAX_STEPS = 1000;

export function begin<D>(doc: D): History<D> {
  return { past: [], present: doc, future: [], merging: null };
}

export function edit<D>(history: History<D>, doc: D, label: string, merging: string | null = null): History<D> {
  if (doc === history.present) return history;
  if (merging !== null && merging === history.merging && history.past.length > 0) {
    return { ...history, present: doc, future: [] };
  }
  const past = [...history.past, { doc: history.present, label }].slice(-MAX_STEPS);
  return { past, present: doc, future: [], merging };
}

/** What comes next is a step of its own, even in the same field. */
export function seal<D>(history: History<D>): History<D> {
  return history.merging === null ? history : { ...history, merging: null };
}

export function undo<D>(history: History<D>): History<D> {
  const step = history.past[history.past.length - 1];
  if (step === undefined) return history;
  return {
    past: history.past.slice(0, -1),
    present: step.doc,
    future: [{ doc: history.present, label: step.label }, ...history.future],
    merging: null,
  };
}

export function redo<D>(history: History<D>): History<D> {
  const [step, ...future] = history.future;
  if (step === undefined) return history;
  return {
    past: [...history.past, { doc: history.present, label: step.label }],
    present: step.doc,
    future,
    merging: null,
  };
}
