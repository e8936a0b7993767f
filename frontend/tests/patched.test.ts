// Patches on the graph of a run: their place in the log, their marks, and where their nodes stand.

import { describe, expect, it } from "vitest";

import { compared } from "../src/model/diff";
import type { WorkflowDoc } from "../src/model/document";
import { NODE_HEIGHT, NODE_WIDTH } from "../src/model/layout";
import { nearPlaces, withNear } from "../src/model/near";
import { kindsOf, marksOf } from "../src/model/patched";
import { type RunEvent, standingAt } from "../src/model/progress";

const node = (config = {}) => ({ type: "transform", config });
const DRAWN: WorkflowDoc = {
  name: "w",
  nodes: { a: node(), b: node(), c: node() },
  edges: { ab: { from: "a", to: "b" }, bc: { from: "b", to: "c" } },
  layout: { a: { x: 0, y: 0 }, b: { x: 300, y: 0 }, c: { x: 600, y: 0 } },
};
const SIZE = () => ({ width: NODE_WIDTH, height: NODE_HEIGHT });
const meet = (one: { x: number; y: number }, other: { x: number; y: number }): boolean =>
  Math.abs(one.x - other.x) < NODE_WIDTH && Math.abs(one.y - other.y) < NODE_HEIGHT;

function event(seq: number, type: string, data: object): RunEvent {
  return { seq, type, at: "2026-01-01T00:00:00Z", node: null, data: data as Record<string, unknown> };
}

describe("the log", () => {
  const by = { kind: "agent", name: "plan" };
  const events = [
    event(1, "RunStarted", { version: "v1" }),
    event(2, "PatchProposed", { patch: "p1", by, mode: "review" }),
    event(3, "PatchProposed", { patch: "p2", by, mode: "shadow" }),
    event(4, "PauseRequested", {}),
    event(5, "PatchApplied", { patch: "p1", by, version: "v2" }),
    event(6, "PatchProposed", { patch: "p3", by, mode: "review" }),
    event(7, "PatchApplied", { patch: "p4", by, version: "v3" }),
    event(8, "RunCancelled", {}),
  ];

  it("says which patches held at a seq and which waited", () => {
    expect(standingAt(events, 4)).toMatchObject({ version: "v1", patches: [], pending: [{ patch: "p1", seq: 2, by: "agent plan" }] });
    expect(standingAt(events, 5)).toMatchObject({ version: "v2", status: "paused", pending: [] });
    expect(standingAt(events, 7).patches).toEqual([
      { patch: "p1", seq: 5, by: "agent plan", before: "v1", version: "v2" },
      { patch: "p4", seq: 7, by: "agent plan", before: "v2", version: "v3" },
    ]);
    expect(standingAt(events, 7).pending.map((one) => one.patch)).toEqual(["p3"]);
    expect(standingAt(events, 8).pending).toEqual([]);
  });
});

describe("marks", () => {
  const more: WorkflowDoc = { ...DRAWN, nodes: { ...DRAWN.nodes, d: node() }, edges: { ...DRAWN.edges, bd: { from: "b", to: "d" } } };

  it("name the last patch that touched a node, and forget what was taken away again", () => {
    const changed = { ...more, nodes: { ...more.nodes, c: node({ output: 1 }) } };
    const steps = [
      { patch: "p1", by: "ann", before: DRAWN, after: more },
      { patch: "p2", by: "bob", before: more, after: changed },
    ];
    expect([...marksOf(steps)]).toEqual([
      ["d", { kind: "added", patch: "p1", by: "ann" }],
      ["#bd", { kind: "added", patch: "p1", by: "ann" }],
      ["c", { kind: "changed", patch: "p2", by: "bob" }],
    ]);
    expect(marksOf([...steps, { patch: "p3", by: "ann", before: changed, after: DRAWN }]).has("d")).toBe(false);
  });

  it("tell a body of what changes in it, and nothing of what is only moved", () => {
    const body = (inner: object) => ({ type: "map", config: { items: "[]", body: { nodes: inner, edges: {} } } });
    const before = { name: "w", nodes: { m: body({ x: node() }) }, layout: { m: { x: 0, y: 0 } } } as unknown as WorkflowDoc;
    const after = { name: "w", nodes: { m: body({ x: node(), y: node() }) }, layout: { m: { x: 9, y: 0 } } } as unknown as WorkflowDoc;
    expect([...kindsOf(compared(before, after))]).toEqual([
      ["m/y", "added"],
      ["m", "changed"],
    ]);
    expect(kindsOf(compared(before, { ...before, layout: { m: { x: 5, y: 5 } } })).size).toBe(0);
  });
});

describe("places of nodes that nobody drew", () => {
  it("are near what leads to them, and nothing else moves", () => {
    const doc: WorkflowDoc = {
      ...DRAWN,
      nodes: { ...DRAWN.nodes, d: node(), e: node(), f: node(), lone: node() },
      edges: { ...DRAWN.edges, ad: { from: "a", to: "d" }, de: { from: "d", to: "e" }, fa: { from: "f", to: "a" } },
    };
    const places = nearPlaces(doc, undefined, SIZE)!;
    expect({ a: places["a"], b: places["b"], c: places["c"] }).toEqual(DRAWN.layout);
    expect(places["d"]).toEqual({ x: 300, y: NODE_HEIGHT + 36 });
    expect(places["e"]!.x).toBe(600);
    expect(places["f"]!.x).toBeLessThan(0);
    expect(places["lone"]!.y).toBeGreaterThan(NODE_HEIGHT);
    const all = Object.values(places);
    all.forEach((one, index) => all.slice(index + 1).forEach((other) => expect(meet(one, other)).toBe(false)));
  });

  it("stay where they were known to be", () => {
    const doc = { ...DRAWN, nodes: { ...DRAWN.nodes, d: node() } };
    expect(nearPlaces(doc, { d: { x: 7, y: 777 } }, SIZE)!["d"]).toEqual({ x: 7, y: 777 });
    expect(withNear(DRAWN, { a: { x: 9, y: 9 } }, SIZE)).toBe(DRAWN);
  });

  it("are left to the layout of the whole where nothing is drawn", () => {
    const { layout: _, ...bare } = DRAWN;
    expect(nearPlaces(bare, undefined, SIZE)).toBeNull();
    expect(withNear(bare, undefined, SIZE)).toBe(bare);
  });

  it("keep what is in a body inside of it", () => {
    const body = { nodes: { x: node(), y: node() }, edges: { xy: { from: "x", to: "y" }, } };
    const doc = { ...DRAWN, nodes: { ...DRAWN.nodes, m: { type: "map", config: { items: "[]", body } } } } as unknown as WorkflowDoc;
    const places = nearPlaces(doc, undefined, SIZE)!;
    expect(places["m"]!.open).toBe(true);
    expect(places["m/x"]!.x).toBeGreaterThan(0);
    expect(places["m/y"]!.x).toBeGreaterThanOrEqual(places["m/x"]!.x + NODE_WIDTH);
  });
});
