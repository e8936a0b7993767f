// Trying a node: the server runs it alone, or everything that leads to it, with pins and data of the last run in place.

import { scopeOf } from "../model/scope";
import { at, omit, splitPath } from "../model/document";
import { api, ApiError, type RunView } from "../shared/api";
import { type Trying, useEditor } from "./store";

const FIRST_WAIT_MS = 200;
const LONGEST_WAIT_MS = 2_000;
const ENDED = new Set(["completed", "failed", "cancelled", "timed_out"]);

let following: AbortController | null = null;

/** The run once it has ended; `heard` is told of it as it goes on. Null when nobody wants to hear of it any more. */
export async function ended(id: string, stop: AbortSignal, heard: (run: RunView) => void): Promise<RunView | null> {
  for (let wait = FIRST_WAIT_MS; !stop.aborted; wait = Math.min(wait * 1.5, LONGEST_WAIT_MS)) {
    const run = await api.run(id);
    if (stop.aborted) break;
    if (ENDED.has(run.status)) return run;
    heard(run);
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, wait);
      stop.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
    });
  }
  return null;
}

export async function tryNode(name: string, mode: "node" | "until"): Promise<void> {
  const { history, run, outputs, pins, trying, tried, say, set } = useEditor.getState();
  const doc = history.present;
  if (trying !== null) return say(`${trying.name} is being tried. Stop that first, or wait for it.`, "error");
  if (splitPath(name).path.length > 0 && mode === "until") {
    return say("Inside of a body only single nodes can be tried; try the whole map or loop instead.", "error");
  }
  const stop = (following = new AbortController());
  const now = (part: Partial<Trying>): void => {
    const { trying: one } = useEditor.getState();
    if (one !== null) set({ trying: { ...one, ...part } });
  };
  const failed = (id: string | null, text: string): void => {
    set({ tried: { ...useEditor.getState().tried, [name]: { run: id, text } } });
    say(`${name}: ${text}`, "error");
  };
  set({ trying: { name, mode, run: null, waits: "" }, tried: omit(tried, [name]) });
  try {
    const inputs = scopeOf(doc, name, { inputs: run?.inputs ?? null, outputs, pins }).values["inputs"] ?? {};
    const data = mode === "node" ? { ...outputs, ...pins } : pins;
    const started = await api.tryNode({ document: doc, node: name, mode, inputs, data });
    now({ run: started.id });
    if (stop.signal.aborted) await api.cancel(started.id, "Stopped in the editor");
    const finished = await ended(started.id, stop.signal, (one) => now({ waits: one.waiting_for?.at(-1)?.what ?? "" }));
    if (finished === null) return;
    const got = await api.outputs(finished.id);
    const before = useEditor.getState();
    set({
      outputs: { ...omit(before.outputs, got.skipped), ...got.outputs },
      skipped: [...new Set([...before.skipped, ...got.skipped])].filter((one) => !Object.hasOwn(got.outputs, one)),
    });
    if (finished.status === "completed") say(mode === "node" ? `${name} gave an output.` : `Ran to ${name}.`);
    else failed(finished.id, messageOf(finished));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    failed(useEditor.getState().trying?.run ?? null, error.message);
  } finally {
    following = null;
    set({ trying: null });
  }
}

/** Ends the try that goes on, and its run. */
export function stopTrying(): void {
  const { trying, say } = useEditor.getState();
  following?.abort();
  if (trying === null) return;
  say(`Stopped trying ${trying.name}.`);
  if (trying.run !== null) api.cancel(trying.run, "Stopped in the editor").catch((error: unknown) => error instanceof ApiError && say(error.message, "error"));
}

/** Nobody looks any more: the try goes on by itself, as every run does, and is not asked about. */
export function leaveTrying(): void {
  following?.abort();
}

export function messageOf(run: RunView): string {
  const error = run.error;
  if (error !== null && typeof error === "object" && !Array.isArray(error)) return String(error["message"] ?? run.status);
  return run.status;
}

/** Pins what a node gave last, so that tries use it in the node's place; or unpins it. */
export function togglePin(name: string): void {
  const { pins, outputs, set, say } = useEditor.getState();
  if (Object.hasOwn(pins, name)) {
    set({ pins: omit(pins, [name]), saving: "unsaved" });
    return;
  }
  const value = at(outputs, name);
  if (value === undefined) say("There is no output to pin yet: try the node, or run the workflow once.", "error");
  else set({ pins: { ...pins, [name]: value }, saving: "unsaved" });
}
