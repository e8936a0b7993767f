// Operations that make one document of another, and what the past of a run forbids.

import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { type Json, type JsonObject, same, type WorkflowDoc } from "../src/model/document";
import { difference, isStarted, type Operation, operationsOf, refusedByPast, type RunGraph } from "../src/model/patch";

function applied(document: Json, operations: Operation[]): Json {
  let result = structuredClone(document);
  for (const one of operations) {
    const keys = one.path.split("/").slice(1).map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
    const last = keys.pop();
    if (last === undefined) {
      if (one.op !== "remove") result = one.value;
      continue;
    }
    let place = result as JsonObject;
    for (const key of keys) place = place[key] as JsonObject;
    if (one.op === "remove") delete place[last];
    else Object.defineProperty(place, last, { value: one.value, enumerable: true, configurable: true, writable: true });
  }
  return result;
}

const DOC: WorkflowDoc = {
  name: "w",
  inputs: {},
  nodes: { wait: { type: "signal" }, last: { type: "transform", config: { output: [1, 2] } }, each: { type: "map", config: { body: { nodes: { in: { type: "log" } } } } } },
  edges: { "wait-last": { from: "wait", to: "last" } },
  layout: { wait: { x: 0, y: 0 }, last: { x: 300, y: 0 } },
};
const RUN: RunGraph = { run: "r", version: "v", document: DOC, shown: { ...DOC, layout: { ...DOC.layout, each: { x: 0, y: 100, open: true } } }, started: { wait: "waiting", each: "running" } };

describe("the difference", () => {
  it("makes the second of the first, whatever they are", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), fc.jsonValue({ maxDepth: 4 }), (one, other) => {
        const [before, after] = [one as Json, other as Json];
        expect(same(applied(before, difference(before, after)), after)).toBe(true);
        expect(difference(before, structuredClone(before))).toEqual([]);
      }),
    );
  });

  it("names members by pointers, and replaces lists whole", () => {
    expect(difference({ "a/b": { "~": [1] } }, { "a/b": { "~": [1, 2] }, c: null })).toEqual([
      { op: "replace", path: "/a~1b/~0", value: [1, 2] },
      { op: "add", path: "/c", value: null },
    ]);
  });
});

describe("operations of an edited graph", () => {
  it("send the places that somebody chose, not those that were thought out", () => {
    expect(operationsOf(RUN, RUN.shown)).toEqual([]);
    const edited = { ...RUN.shown, nodes: { ...DOC.nodes, more: { type: "log" } }, layout: { ...RUN.shown.layout, more: { x: 1, y: 2 } } };
    expect(operationsOf(RUN, edited)).toEqual([
      { op: "add", path: "/layout/more", value: { x: 1, y: 2 } },
      { op: "add", path: "/nodes/more", value: { type: "log" } },
    ]);
    const { layout: _, ...bare } = DOC;
    expect(operationsOf({ ...RUN, document: bare }, edited).map((one) => one.path)).toEqual(["/nodes/more"]);
  });
});

describe("the past of a run", () => {
  const refused = (after: WorkflowDoc): string | null => refusedByPast(RUN, DOC, after);
  const without = (name: string): WorkflowDoc["nodes"] => Object.fromEntries(Object.entries(DOC.nodes).filter(([id]) => id !== name));

  it("is not changed, nor what leads to it", () => {
    expect(refused({ ...DOC, nodes: without("wait") })).toContain("wait is waiting");
    const body = { nodes: {} } as unknown as Json;
    expect(refused({ ...DOC, nodes: { ...DOC.nodes, each: { type: "map", config: { body } } } })).toContain("each is running");
    expect(refused({ ...DOC, edges: { ...DOC.edges, back: { from: "last", to: "wait" } } })).toContain("what leads to it");
    expect(refused({ ...DOC, inputs: { type: "object" } })).toContain("not inputs");
    const done = { started: { wait: "done" } };
    expect(refusedByPast(done, DOC, { ...DOC, edges: { "wait-last": { from: "wait", to: "last", when: "true" } } })).toContain("decided");
    expect(isStarted(RUN, "each/in")).toBe(true);
    expect(isStarted(RUN, "last")).toBe(false);
  });

  it("lets everything else be drawn, and all be moved", () => {
    expect(refused({ ...DOC, nodes: without("last"), edges: {} })).toBeNull();
    expect(refused({ ...DOC, nodes: { ...DOC.nodes, more: { type: "log" } }, edges: { ...DOC.edges, x: { from: "wait", to: "more" } } })).toBeNull();
    expect(refused({ ...DOC, layout: { wait: { x: 5, y: 5 } }, notes: {}, output: 1 })).toBeNull();
  });
});
