import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { clip, paste, readClip } from "../src/model/clipboard";
import { allIds, graphs, type Json, same, type WorkflowDoc } from "../src/model/document";
import * as edits from "../src/model/edits";
import { begin, edit, redo, undo } from "../src/model/history";
import { merge, settle } from "../src/model/merge";
import { namedIn, renameInExpression, renameInTemplate } from "../src/model/references";
import { applied, type Change, change, empty, registry } from "./random";

function sound(doc: WorkflowDoc): void {
  const seen: string[] = [];
  for (const [, graph] of graphs(doc)) {
    const ids = Object.keys(graph.nodes);
    seen.push(...ids);
    for (const edge of Object.values(graph.edges ?? {})) {
      expect(ids).toContain(edge.from);
      expect(ids).toContain(edge.to);
    }
    const edges = Object.values(graph.edges ?? {});
    for (const edge of edges) expect(edits.reaches(edges, edge.to, edge.from)).toBe(false);
  }
  expect(new Set(seen).size).toBe(seen.length);
  const names = new Set([...graphs(doc)].flatMap(([path, graph]) => Object.keys(graph.nodes).map((id) => [...path, id].join("/"))));
  for (const place of Object.keys(doc.layout ?? {})) expect(names).toContain(place);
  for (const note of Object.values(doc.notes ?? {})) for (const name of note.nodes ?? []) expect(names).toContain(name);
}

describe("history", () => {
  it("undoes 300 random edits to the first document and redoes them to the last", () => {
    fc.assert(
      fc.property(fc.array(change, { minLength: 300, maxLength: 300 }), (changes) => {
        let history = begin(empty);
        for (const one of changes) history = edit(history, applied(history.present, one), "edit");
        const last = structuredClone(history.present);
        const steps = history.past.length;
        sound(last);
        while (history.past.length > 0) history = undo(history);
        expect(history.present).toEqual({ name: "w", nodes: {}, edges: {} });
        for (let step = 0; step < steps; step++) history = redo(history);
        expect(history.present).toEqual(last);
      }),
      { numRuns: 40 },
    );
  });

  it("joins what is typed into one field to one step", () => {
    let history = begin(empty);
    for (const text of ["a", "ab", "abc"]) history = edit(history, { ...history.present, description: text }, "type", "d");
    expect(history.past).toHaveLength(1);
    expect(undo(history).present).toBe(empty);
  });
});

describe("references", () => {
  it("renames what expressions name and nothing else", () => {
    const names = new Map([["a", "b"], ["x-y", "z"]]);
    expect(renameInExpression('nodes.a.total + nodes["x-y"].n + nodes.ab + "nodes.a" + other.nodes.a', names)).toBe(
      'nodes.b.total + nodes.z.n + nodes.ab + "nodes.a" + other.nodes.a',
    );
    expect(renameInTemplate('nodes.a {{ nodes.a }} {{ "}}" + nodes.a }}', names)).toBe('nodes.a {{ nodes.b }} {{ "}}" + nodes.b }}');
    expect(renameInExpression("nodes.a", new Map([["a", "q-r"]]))).toBe('nodes["q-r"]');
    expect([...namedIn({ a: "{{ nodes.q }}", items: "nodes.r" }, new Set(["items"]))]).toEqual(["q", "r"]);
  });

  it("follows a new id through edges, expressions, bodies, places and groups", () => {
    let doc = edits.addNode(empty, [], { type: "transform", config: { output: 1 } }, { x: 0, y: 0 }, "first").doc;
    doc = edits.addNode(doc, [], { type: "map", config: { items: "nodes.first", body: { nodes: {}, edges: {} } } }, { x: 1, y: 1 }, "each").doc;
    doc = edits.addNode(doc, ["each"], { type: "transform", config: { output: "{{ nodes.first + item }}" } }, { x: 0, y: 0 }, "inner").doc;
    doc = edits.addEdge(doc, [], { from: "first", to: "each", when: "nodes.first > 0" }).doc;
    doc = edits.addNote(doc, { kind: "group", text: "g", x: 0, y: 0, w: 1, h: 1, nodes: ["first"] }).doc;
    doc = edits.renameNode(doc, "first", "source", registry);
    doc = edits.renameNode(doc, "each", "every", registry);
    const text = JSON.stringify(doc);
    expect(text).not.toContain("nodes.first");
    expect(doc.nodes["every"]!.config!["items"]).toBe("nodes.source");
    expect(Object.values(doc.edges!)[0]).toEqual({ from: "source", to: "every", when: "nodes.source > 0" });
    expect(doc.layout).toHaveProperty("every/inner");
    expect(Object.values(doc.notes!)[0]!.nodes).toEqual(["source"]);
    sound(doc);
  });
});

describe("clipboard", () => {
  it("survives as text and pastes with new ids and with references among the copies", () => {
    let doc = edits.addNode(empty, [], { type: "transform", config: { output: 1 } }, { x: 10, y: 10 }, "a").doc;
    doc = edits.addNode(doc, [], { type: "transform", config: { output: "{{ nodes.a }}" } }, { x: 60, y: 10 }, "b").doc;
    doc = edits.addEdge(doc, [], { from: "a", to: "b" }).doc;
    const copied = readClip(JSON.stringify(clip(doc, ["a", "b"])))!;
    const { doc: after, names } = paste(doc, [], copied, { x: 100, y: 200 }, registry);
    expect(names).toEqual(["a2", "b2"]);
    expect(after.nodes["b2"]!.config!["output"]).toBe("{{ nodes.a2 }}");
    expect(Object.values(after.edges!)).toContainEqual({ from: "a2", to: "b2" });
    expect(after.layout!["a2"]).toEqual({ x: 100, y: 200 });
    expect(readClip("no json")).toBeNull();
    expect(readClip('{"a": 1}')).toBeNull();
  });

  it("never gives two nodes the same id", () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 60 }), (changes) => {
        const doc = changes.reduce(applied, empty);
        const copied = clip(doc, Object.keys(doc.nodes));
        if (copied === null) return;
        const pasted = paste(doc, [], copied, { x: 0, y: 0 }, registry).doc;
        sound(pasted);
        expect(allIds(pasted).size).toBe(2 * allIds(doc).size);
      }),
    );
  });
});

describe("merge", () => {
  const base: WorkflowDoc = { name: "w", nodes: { a: { type: "t", config: { x: 1, y: 1 } } }, edges: {} };
  const json = (value: unknown): Json => value as Json;

  it("takes what only one side changed", () => {
    const mine = edits.setConfig(base, "a", "x", 2);
    const theirs = edits.addNode(edits.setConfig(base, "a", "y", 3), [], { type: "t" }, { x: 0, y: 0 }, "b").doc;
    const { value, conflicts } = merge(json(base), json(mine), json(theirs));
    expect(conflicts).toEqual([]);
    expect(value).toMatchObject({ nodes: { a: { config: { x: 2, y: 3 } }, b: { type: "t" } } });
  });

  it("names what both changed differently and lets each be settled", () => {
    const found = merge(json(base), json(edits.setConfig(base, "a", "x", 2)), json(edits.setConfig(base, "a", "x", 3)));
    expect(found.conflicts.map((one) => one.pointer)).toEqual(["/nodes/a/config/x"]);
    expect(settle(found, new Set())).toMatchObject({ nodes: { a: { config: { x: 2 } } } });
    expect(settle(found, new Set(["/nodes/a/config/x"]))).toMatchObject({ nodes: { a: { config: { x: 3 } } } });
    const gone = merge(json(base), json(edits.removeNodes(base, ["a"])), json(edits.setConfig(base, "a", "x", 3)));
    expect(gone.conflicts.map((one) => one.pointer)).toEqual(["/nodes/a"]);
  });

  it("is symmetrical without conflicts, and with nobody's change is the other's document", () => {
    const any = fc.array(change, { maxLength: 25 });
    fc.assert(
      fc.property(any, any, any, (first, left, right) => {
        const [start, mine, theirs] = [first.reduce(applied, empty), left, right].map((one, i) =>
          i === 0 ? one : (one as Change[]).reduce(applied, first.reduce(applied, empty)),
        ) as [WorkflowDoc, WorkflowDoc, WorkflowDoc];
        expect(same(merge(json(start), json(start), json(theirs)).value, theirs)).toBe(true);
        expect(same(merge(json(start), json(mine), json(start)).value, mine)).toBe(true);
        const one = merge(json(start), json(mine), json(theirs));
        const other = merge(json(start), json(theirs), json(mine));
        expect(one.conflicts.map((c) => c.pointer).sort()).toEqual(other.conflicts.map((c) => c.pointer).sort());
        expect(same(settle(one, new Set(one.conflicts.map((c) => c.pointer))), other.value) || touchesLayout(mine, theirs)).toBe(true);
      }),
    );
  });

  const touchesLayout = (a: WorkflowDoc, b: WorkflowDoc): boolean => !same(a.layout, b.layout) || !same(a.notes, b.notes);
});

describe("reconnecting an edge", () => {
  const doc = {
    name: "w",
    nodes: { a: { type: "transform" }, b: { type: "transform" }, c: { type: "transform" } },
    edges: { "a-b": { from: "a", to: "b", when: "output > 1" }, "b-c": { from: "b", to: "c" } },
  } as unknown as WorkflowDoc;

  it("takes one end elsewhere and keeps the rest", () => {
    const moved = edits.reconnect(doc, [], "a-b", { from: "a", to: "c", port: "error" });
    expect(moved.edges!["a-b"]).toEqual({ from: "a", to: "c", port: "error", when: "output > 1" });
    expect(edits.reconnect(moved, [], "a-b", { from: "a", to: "b", port: "out" })).toEqual(doc);
  });

  it("goes nowhere where it would make a circle, or is there already", () => {
    expect(edits.reconnect(doc, [], "b-c", { from: "b", to: "a", port: "out" })).toBe(doc);
    expect(edits.reconnectRefusal(doc, [], "b-c", { from: "a", to: "b", port: "out" })).toContain("connected already");
    expect(edits.reconnectRefusal(doc, [], "a-b", { from: "a", to: "b", port: "out" })).toBeNull();
  });
});
