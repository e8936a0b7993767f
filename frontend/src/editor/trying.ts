// Trying a node: the server runs it alone, or everything that leads to it, with pins and data of the last run in place.

import { scopeOf } from "../model/scope";
import { at, omit, splitPath } from "../model/document";
import { api, ApiError, type RunView } from "../shared/api";
import { useEditor } from "./store";

const WAIT_MS = 250;
const ENDED = new Set(["completed", "failed", "cancelled", "timed_out"]);

export async function ended(id: string): Promise<RunView> {
  for (;;) {
    const run = await api.run(id);
    if (ENDED.has(run.status)) return run;
    await new Promise((resolve) => setTimeout(resolve, WAIT_MS));
  }
}

export async function tryNode(name: string, mode: "node" | "until"): Promise<void> {
  const { history, run, outputs, pins, say, set } = useEditor.getState();
  const doc = history.present;
  if (splitPath(name).path.length > 0 && mode === "until") {
    say("Inside of a body only single nodes can be tried; try the whole map or loop instead.", "error");
    return;
  }
  try {
    const inputs = scopeOf(doc, name, { inputs: run?.inputs ?? null, outputs, pins }).values["inputs"] ?? {};
    const data = mode === "node" ? { ...outputs, ...pins } : pins;
    const started = await api.tryNode({ document: doc, node: name, mode, inputs, data });
    const finished = await ended(started.id);
    const got = await api.outputs(finished.id);
    set({ outputs: { ...useEditor.getState().outputs, ...got } });
    if (finished.status === "completed") say(mode === "node" ? `${name} gave an output.` : `Ran to ${name}.`);
    else say(`${name}: ${messageOf(finished)}`, "error");
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    say(error.message, "error");
  }
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
