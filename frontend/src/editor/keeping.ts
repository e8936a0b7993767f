// Keeping the draft: on the server a moment after each edit, in the browser at once, merged when someone else was quicker.

import { useEffect } from "react";

import { type Json, same, type WorkflowDoc } from "../model/document";
import { type Conflict, merge, type Merged, settle } from "../model/merge";
import { api, ApiError, type Draft } from "../shared/api";
import { useEditor } from "./store";

const QUIET_MS = 900;
const AGAIN_MS = 4_000;

/** The draft as the server has it, which mine is based on. */
let base: Draft | null = null;
/** The request that is on its way; gives whether there is something left that could be saved at once. */
let running: Promise<boolean> | null = null;
/** So often others may save in between before nothing more is tried. */
const TURNS = 5;

export interface Clash {
  merged: Merged;
  theirs: Draft;
}

let clash: Clash | null = null;

const keyOf = (name: string): string => `aob-draft:${name}`;

interface Local {
  document: WorkflowDoc;
  pins: Record<string, Json>;
  revision: number;
}

/** Begins with the server's draft; what a crash of the browser left here is taken up when nobody wrote since. */
export function beginWith(draft: Draft): void {
  base = draft;
  const { set, replace, say, edit } = useEditor.getState();
  replace(draft.document);
  set({ pins: draft.pins, saving: "saved" });
  const left = localOf(draft.document.name);
  if (left === null || same(left.document, draft.document)) return;
  if (left.revision === draft.revision) {
    edit("What was not saved yet", () => left.document);
    say("Taken up what was not saved when this page was closed; undo leaves it.");
  } else {
    const merged = merge(draft.document as unknown as Json, left.document as unknown as Json, draft.document as unknown as Json);
    edit("What was not saved yet", () => merged.value as unknown as WorkflowDoc);
    say("Someone wrote meanwhile. What was not saved here is the newest edit; undo leaves it.");
  }
}

function localOf(name: string): Local | null {
  try {
    return JSON.parse(localStorage.getItem(keyOf(name)) ?? "null") as Local | null;
  } catch {
    return null;
  }
}

function keepLocally(): void {
  const { history, pins } = useEditor.getState();
  try {
    const local: Local = { document: history.present, pins: { ...pins }, revision: base?.revision ?? 0 };
    localStorage.setItem(keyOf(history.present.name), JSON.stringify(local));
  } catch {
    // The browser has no room; the server's copy is the one that counts.
  }
}

/** Saves until the server has everything that is shown, what others wrote meanwhile among it.
 *
 * False where it has not: somebody changed the same places, it cannot be reached, or it refused the draft. */
export async function save(): Promise<boolean> {
  for (let turn = 0; turn < TURNS; turn++) if (!(await saveOnce())) break;
  return useEditor.getState().saving === "saved";
}

/** Why the last save did not keep everything, for those who need it kept. */
export function unsaved(): string {
  const { saving, message } = useEditor.getState();
  if (saving === "conflict") return "Somebody changed the same places. Say first whose they shall be.";
  if (saving === "offline") return "The draft could not be saved: the server cannot be reached.";
  return `The draft could not be saved. ${message?.tone === "error" ? message.text : ""}`.trim();
}

/** One request; who asks while one is on its way waits for that one. */
function saveOnce(): Promise<boolean> {
  running ??= send().finally(() => (running = null));
  return running;
}

async function send(): Promise<boolean> {
  if (base === null) return false;
  const { history, pins, set, say } = useEditor.getState();
  const doc = history.present;
  set({ saving: "saving" });
  try {
    base = await api.saveDraft(base.document.name, { document: doc, revision: base.revision, pins: { ...pins } });
    const now = useEditor.getState();
    const isSame = now.history.present === doc && now.pins === pins;
    set({ saving: isSame ? "saved" : "unsaved" });
    if (isSame) localStorage.removeItem(keyOf(doc.name));
    return !isSame;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 409) return resolve(error.body["draft"] as Draft);
    set({ saving: error.status === 0 || error.status >= 500 ? "offline" : "unsaved" });
    if (error.status !== 0) say(error.message, "error");
    return false;
  }
}

/** Someone saved first. What both did to different places goes together; for the rest somebody has to say.
 *
 * Gives whether the merge is there to be saved. */
function resolve(theirs: Draft): boolean {
  const { set, edit, say, history } = useEditor.getState();
  // With what was written while the request was on its way.
  const mine = history.present;
  const merged = merge(base!.document as unknown as Json, mine as unknown as Json, theirs.document as unknown as Json);
  if (merged.conflicts.length === 0) {
    base = theirs;
    edit(`Merge with ${theirs.updated_by ?? "another"}`, () => merged.value as unknown as WorkflowDoc);
    set({ pins: { ...theirs.pins, ...useEditor.getState().pins }, saving: "unsaved" });
    say(`${theirs.updated_by ?? "Someone"} saved meanwhile; both changes are in the draft now.`);
    return true;
  }
  clash = { merged, theirs };
  set({ saving: "conflict" });
  return false;
}

export function conflicts(): { list: readonly Conflict[]; by: string } | null {
  return clash && { list: clash.merged.conflicts, by: clash.theirs.updated_by ?? "someone" };
}

/** Ends a conflict: at these pointers theirs is taken, mine at the others. */
export function settleConflicts(theirs: ReadonlySet<string>): void {
  if (clash === null) return;
  const { edit, set } = useEditor.getState();
  const value = settle(clash.merged, theirs) as unknown as WorkflowDoc;
  base = clash.theirs;
  clash = null;
  edit("Merge", () => value);
  set({ saving: "unsaved" });
  void saveOnce();
}

export function useKeeping(): void {
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const later = (ms: number): void => {
      clearTimeout(timer);
      timer = setTimeout(() => void again(), ms);
    };
    // What was written while a request was on its way is saved by the next.
    const again = async (): Promise<void> => {
      if ((await saveOnce()) && useEditor.getState().saving === "unsaved") later(QUIET_MS);
    };
    const stop = useEditor.subscribe((now, before) => {
      if (now.saving === "unsaved" && (now.history.present !== before.history.present || now.pins !== before.pins || before.saving !== "unsaved")) {
        keepLocally();
        later(QUIET_MS);
      }
      if (now.saving === "offline" && before.saving !== "offline") later(AGAIN_MS);
    });
    // What a crash left behind is taken up before anybody listens here.
    if (useEditor.getState().saving === "unsaved") later(QUIET_MS);
    const now = (): void => void again();
    const leaving = (event: BeforeUnloadEvent): void => {
      const { saving, unread } = useEditor.getState();
      if (!["saved", "saving"].includes(saving) || unread.size > 0) event.preventDefault();
    };
    const hidden = (): void => {
      if (document.visibilityState === "hidden" && useEditor.getState().saving === "unsaved") void saveOnce();
    };
    document.addEventListener("aob-save", now);
    document.addEventListener("visibilitychange", hidden);
    window.addEventListener("online", now);
    window.addEventListener("beforeunload", leaving);
    return () => {
      stop();
      clearTimeout(timer);
      document.removeEventListener("aob-save", now);
      document.removeEventListener("visibilitychange", hidden);
      window.removeEventListener("online", now);
      window.removeEventListener("beforeunload", leaving);
    };
  }, []);
}
