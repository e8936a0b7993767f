// The same REST API that programs use, with the session of the page's user. Refusals become ApiError.

import type { Json, WorkflowDoc } from "../model/document";
import type { Callable } from "../model/scope";
import type { NodeType } from "../model/types";

export interface Problem {
  pointer: string;
  code: string;
  message: string;
  hint?: string | null;
  severity: "error" | "warning";
}

export interface Draft {
  document: WorkflowDoc;
  revision: number;
  base: string | null;
  updated_by: string | null;
  updated_at: string | null;
  pins: Record<string, Json>;
}

export interface VersionInfo {
  version: string;
  number: number;
  note: string;
  created_at: string;
  created_by: string | null;
  tags?: string[];
}

export interface RunView {
  id: string;
  workflow: string;
  version: string;
  status: string;
  labels: Record<string, string>;
  inputs: Json;
  output: Json;
  error: Json;
  created_at: string;
  ended_at: string | null;
  last_seq: number;
  /** Of one run that goes on: what it waits for, in words. */
  waiting_for?: { node: string | null; what: string }[];
}

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly body: Record<string, unknown>,
  ) {
    super(message);
  }
}

function cookie(name: string): string {
  const found = document.cookie.split("; ").find((one) => one.startsWith(`${name}=`));
  return found ? decodeURIComponent(found.slice(name.length + 1)) : "";
}

export async function call<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  let response: Response;
  try {
    response = await fetch(`/api/v1${path}`, {
      method,
      headers: {
        accept: "application/json",
        ...(method === "GET" ? {} : { "content-type": "application/json", "x-csrftoken": csrf() }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(signal ? { signal } : {}),
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "unreachable", "The server cannot be reached; what you do is kept here meanwhile.", {});
  }
  const text = await response.text();
  const value: unknown = text === "" ? null : JSON.parse(text);
  if (response.ok) return value as T;
  const problem = (value ?? {}) as Record<string, unknown>;
  const message = [problem["detail"] ?? problem["title"] ?? response.statusText, problem["hint"]].filter(Boolean).join(" ");
  throw new ApiError(response.status, String(problem["code"] ?? "error"), message, problem);
}

/** The token is given by the page: the cookie may be unreadable for scripts. */
function csrf(): string {
  return document.querySelector<HTMLElement>("[data-csrf]")?.dataset["csrf"] ?? cookie("csrftoken");
}

const at = encodeURIComponent;

export const api = {
  nodeTypes: () => call<{ items: NodeType[] }>("GET", "/node-types").then((page) => page.items),
  functions: () => call<{ items: Callable[] }>("GET", "/expressions/functions").then((page) => page.items),
  validate: (doc: WorkflowDoc, signal?: AbortSignal) =>
    call<{ valid: boolean; problems: Problem[] }>("POST", "/workflows/validate", { document: doc }, signal),
  draft: (name: string) => call<Draft>("GET", `/workflows/${at(name)}/draft`),
  saveDraft: (name: string, draft: { document: WorkflowDoc; revision: number; pins: Record<string, Json> }) =>
    call<Draft>("PUT", `/workflows/${at(name)}/draft`, draft),
  publish: (doc: WorkflowDoc, note: string, tag?: string) =>
    call<VersionInfo & { name: string }>("POST", "/workflows", { document: doc, note, ...(tag ? { tag } : {}) }),
  versions: (name: string) => call<{ items: VersionInfo[] }>("GET", `/workflows/${at(name)}/versions`).then((p) => p.items),
  version: (name: string, version: string) =>
    call<VersionInfo & { document: WorkflowDoc }>("GET", `/workflows/${at(name)}/versions/${at(version)}`),
  /** A version by its number, or undefined. */
  numbered: (name: string, number: number) =>
    call<{ items: VersionInfo[] }>("GET", `/workflows/${at(name)}/versions?cursor=${number + 1}&limit=1`).then(({ items: [one] }) =>
      one?.number === number ? one : undefined,
    ),
  tags: (name: string) => call<{ items: { tag: string; version: string }[] }>("GET", `/workflows/${at(name)}/tags`),
  moveTag: (name: string, tag: string, version: string) =>
    call<unknown>("PUT", `/workflows/${at(name)}/tags/${at(tag)}`, { version }),
  /** The last run of a workflow. Tries are runs too; their data reaches the editor when they end. */
  lastRun: (name: string) => call<{ items: RunView[] }>("GET", `/runs?workflow=${at(name)}&tries=false&limit=1`).then((page) => page.items[0] ?? null),
  cancel: (id: string, reason: string) => call<unknown>("POST", `/runs/${at(id)}/cancel`, { reason }),
  run: (id: string) => call<RunView>("GET", `/runs/${id}`),
  /** The newest document of a run with its version. */
  runGraph: (id: string) => call<{ version: string; document: WorkflowDoc }>("GET", `/runs/${at(id)}/document`),
  /** The nodes of a run that no patch may change, with their state. */
  started: (id: string) => call<{ nodes: Record<string, string> }>("GET", `/runs/${at(id)}/started`).then((one) => one.nodes),
  propose: (run: string, body: { operations: readonly Json[]; reason: string; base: string }) =>
    call<{ id: string; status: string }>("POST", `/runs/${at(run)}/patch`, body),
  runDocument: (id: string, seq: number | null = null) =>
    call<{ document: WorkflowDoc }>("GET", `/runs/${id}/document${seq === null ? "" : `?seq=${seq}`}`).then((one) => one.document),
  /** The document of a run without a patch and with it; null where it fits none. */
  patched: (patch: string, run?: string) =>
    call<{ before: WorkflowDoc | null; after: WorkflowDoc | null }>("GET", `/patches/${at(patch)}/documents${run === undefined ? "" : `?run=${at(run)}`}`),
  /** What the nodes of a run gave, and those that it passed over. */
  outputs: (id: string) => call<{ outputs: Record<string, Json>; skipped: string[] }>("GET", `/runs/${id}/outputs`),
  start: (doc: WorkflowDoc | string, inputs: Json, labels: Record<string, string> = {}) =>
    call<RunView>("POST", "/runs", { workflow: doc, inputs, labels }),
  tryNode: (body: { document: WorkflowDoc; node: string; mode: "node" | "until"; inputs: Json; data: Record<string, Json> }) =>
    call<RunView>("POST", "/workflows/try", body),
  preview: (
    body: { text: Json; kind: "template" | "expression"; scope: Record<string, Json> },
    signal?: AbortSignal,
  ) => call<{ ok: boolean; value?: Json; error?: string }>("POST", "/expressions/preview", body, signal),
};
