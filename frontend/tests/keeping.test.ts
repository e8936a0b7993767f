import { beforeEach, describe, expect, it, vi } from "vitest";

import type { WorkflowDoc } from "../src/model/document";
import { ApiError, type Draft } from "../src/shared/api";

const { saveDraft } = vi.hoisted(() => ({ saveDraft: vi.fn() }));
vi.mock("../src/shared/api", async (real) => ({ ...(await real<object>()), api: { saveDraft } }));
vi.stubGlobal("localStorage", { getItem: () => null, setItem: () => undefined, removeItem: () => undefined });

const { beginWith, conflicts, save, settleConflicts, unsaved } = await import("../src/editor/keeping");
const { useEditor } = await import("../src/editor/store");

const doc = (title: string, more: object = {}): WorkflowDoc =>
  ({ name: "w", nodes: { bill: { type: "log", title, ...more }, other: { type: "log" } }, edges: {} }) as unknown as WorkflowDoc;
const draft = (document: WorkflowDoc, revision: number): Draft => ({ document, revision, base: null, updated_by: "bea", updated_at: null, pins: {} });
const stale = (theirs: Draft): ApiError => new ApiError(409, "draft_stale", "bea saved meanwhile.", { draft: theirs });
const titled = (title: string): void => useEditor.getState().edit("Title", (now) => ({ ...now, nodes: { ...now.nodes, bill: { ...now.nodes["bill"]!, title } } }));
const present = (): WorkflowDoc => useEditor.getState().history.present;

/** A server that takes what follows its revision, and refuses the rest with what it has. */
let stored = draft(doc("old"), 1);
const serves = async (_: string, sent: { document: WorkflowDoc; revision: number }): Promise<Draft> => {
  if (sent.revision !== stored.revision) throw stale(stored);
  return (stored = draft(sent.document, stored.revision + 1));
};

beforeEach(() => {
  stored = draft(doc("old"), 1);
  saveDraft.mockReset().mockImplementation(serves);
  beginWith(stored);
});

describe("keeping the draft", () => {
  it("says that everything is saved", async () => {
    titled("mine");
    expect(await save()).toBe(true);
    expect(stored.document.nodes["bill"]!.title).toBe("mine");
  });

  it("says that it is not saved while somebody changed the same place", async () => {
    titled("mine");
    stored = draft(doc("theirs"), 2);
    expect(await save()).toBe(false);
    expect(useEditor.getState().saving).toBe("conflict");
    expect(conflicts()?.by).toBe("bea");
    expect(unsaved()).toContain("the same places");
    settleConflicts(new Set());
    expect(await save()).toBe(true);
    expect(stored.document.nodes["bill"]!.title).toBe("mine");
  });

  it("saves what a merge made of both changes before it says so", async () => {
    titled("mine");
    stored = draft(doc("old", { config: { message: "theirs" } }), 2);
    expect(await save()).toBe(true);
    expect(stored.document.nodes["bill"]).toMatchObject({ title: "mine", config: { message: "theirs" } });
    expect(present()).toEqual(stored.document);
  });

  it("waits for a save that is on its way, and saves what was written meanwhile", async () => {
    let go = (): void => undefined;
    saveDraft.mockImplementationOnce((name, sent) => new Promise<void>((resolve) => (go = resolve)).then(() => serves(name, sent)));
    titled("first");
    const early = save();
    titled("second");
    const late = save();
    go();
    expect(await late).toBe(true);
    expect(stored.document.nodes["bill"]!.title).toBe("second");
    expect(await early).toBe(true);
  });

  it("keeps what was written while somebody else's save was heard of", async () => {
    titled("first");
    stored = draft(doc("old", { config: { message: "theirs" } }), 2);
    const saving = save();
    titled("second");
    expect(await saving).toBe(true);
    expect(stored.document.nodes["bill"]).toMatchObject({ title: "second", config: { message: "theirs" } });
  });

  it("says that it is not saved when the server cannot be reached, or refuses it", async () => {
    saveDraft.mockRejectedValueOnce(new ApiError(0, "unreachable", "no", {}));
    titled("mine");
    expect(await save()).toBe(false);
    expect(unsaved()).toContain("cannot be reached");
    saveDraft.mockRejectedValueOnce(new ApiError(422, "limit_document_bytes", "It is too large.", {}));
    expect(await save()).toBe(false);
    expect(unsaved()).toContain("It is too large.");
  });
});
