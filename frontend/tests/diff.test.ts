import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { graphs, joinPath, nodeAt, record, same, type WorkflowDoc } from "../src/model/document";
import { type Change, compared, counted, inOrder, told } from "../src/model/diff";
import * as edits from "../src/model/edits";
import { meets } from "../src/model/geometry";
import { NODE_HEIGHT, NODE_WIDTH } from "../src/model/layout";
import { inReadingOrder, standing } from "../src/model/standing";
import { pairIn, hashOf } from "../src/editor/address";
import { applied, change, empty } from "./random";

const SIZE = { width: NODE_WIDTH, height: NODE_HEIGHT };
const edited = fc.array(change, { maxLength: 60 });

function after(doc: WorkflowDoc, changes: Parameters<typeof applied>[1][]): WorkflowDoc {
  return changes.reduce(applied, doc);
}

function nodeNames(doc: WorkflowDoc): string[] {
  return [...graphs(doc)].flatMap(([path, graph]) => Object.keys(graph.nodes).map((id) => joinPath(path, id)));
}

const minus = (one: ReadonlySet<string>, other: ReadonlySet<string>): Set<string> => new Set([...one].filter((name) => !other.has(name)));

const of = (changes: readonly Change[], about: Change["about"], kind: Change["kind"]): string[] =>
  changes.filter((one) => one.about === about && one.kind === kind).map((one) => one.name);

const node = (output: string): { type: string; config: { output: string } } => ({ type: "transform", config: { output } });

describe("what differs", () => {
  it("is nothing between a document and itself", () => {
    fc.assert(
      fc.property(edited, (changes) => {
        const doc = after(empty, changes);
        expect(compared(doc, structuredClone(doc)).changes).toEqual([]);
      }),
    );
  });

  it("is told of each node, edge and note exactly once, and both hold everything", () => {
    fc.assert(
      fc.property(edited, edited, edited, (shared, left, right) => {
        const start = after(empty, shared);
        const [one, other] = [after(start, left), after(start, right)];
        const { both, changes } = compared(one, other);
        const named = changes.map((found) => `${found.about} ${found.name}`);
        expect(new Set(named).size).toBe(named.length);

        const [before, now] = [new Set(nodeNames(one)), new Set(nodeNames(other))];
        expect(new Set(of(changes, "node", "added"))).toEqual(minus(now, before));
        expect(new Set(of(changes, "node", "removed"))).toEqual(minus(before, now));
        expect(new Set(nodeNames(both))).toEqual(new Set([...before, ...now]));
        const told = new Set(named);
        for (const name of [...before].filter((one) => now.has(one))) {
          const [a, b] = [nodeAt(one, name)!, nodeAt(other, name)!];
          const differs = a.type !== b.type || !same(a.config?.["output"], b.config?.["output"]);
          if (differs) expect(told).toContain(`node ${name}`);
        }

        const ends = (doc: WorkflowDoc): string[] =>
          [...graphs(doc)].flatMap(([path, graph]) => Object.values(graph.edges ?? {}).map((edge) => `${path.join("/")}:${edge.from}>${edge.to}`));
        const edges = changes.filter((found) => found.about === "edge");
        const count = (kind: string): number => edges.filter((found) => found.kind === kind).length;
        expect(count("added")).toBe(minus(new Set(ends(other)), new Set(ends(one))).size);
        expect(count("removed")).toBe(minus(new Set(ends(one)), new Set(ends(other))).size);
        expect(new Set(ends(both))).toEqual(new Set([...ends(one), ...ends(other)]));

        const notes = [new Set(Object.keys(one.notes ?? {})), new Set(Object.keys(other.notes ?? {}))] as const;
        expect(of(changes, "note", "added").length).toBe(minus(notes[1], notes[0]).size);
        expect(of(changes, "note", "removed").length).toBe(minus(notes[0], notes[1]).size);
      }),
    );
  });

  it("goes the other way round when the two are swapped", () => {
    fc.assert(
      fc.property(edited, edited, (left, right) => {
        const [there, back] = [compared(after(empty, left), after(empty, right)), compared(after(empty, right), after(empty, left))];
        expect(of(there.changes, "node", "added").sort()).toEqual(of(back.changes, "node", "removed").sort());
        expect(of(there.changes, "node", "changed").sort()).toEqual(of(back.changes, "node", "changed").sort());
        expect(counted(there.changes).replace(/\d+ (added|removed),? ?/g, "")).toBe(counted(back.changes).replace(/\d+ (added|removed),? ?/g, ""));
      }),
    );
  });

  it("takes hostile ids and keys for what they are", () => {
    const strange = ["__proto__", "constructor", "toString", "hasOwnProperty"];
    const doc = (output: string, ids: string[]): WorkflowDoc => {
      const nodes = record<ReturnType<typeof node>>();
      const [edges, notes] = [record<{ from: string; to: string }>(), record<{ text: string; x: number; y: number; w: number; h: number }>()];
      for (const id of ids) {
        nodes[id] = node(output);
        edges[id] = { from: id, to: id };
        notes[id] = { text: output, x: 0, y: 0, w: 1, h: 1 };
      }
      return JSON.parse(JSON.stringify({ name: "w", nodes, edges, notes })) as WorkflowDoc;
    };
    const none = compared(doc("", []), doc("a", strange)).changes;
    expect(of(none, "node", "added")).toEqual(strange);
    expect(of(none, "edge", "added")).toEqual(strange.map((id) => `#${id}`));
    expect(of(none, "note", "added")).toEqual(strange.map((id) => `note:${id}`));
    const { changes, both } = compared(doc("a", strange), doc("b", strange));
    expect(of(changes, "node", "changed")).toEqual(strange);
    expect(Object.keys(both.nodes)).toEqual(strange);
    const comparison = compared(doc("a", strange), doc("a", []));
    expect(of(comparison.changes, "node", "removed")).toEqual(strange);
    expect(Object.keys(standing(comparison, doc("a", strange), doc("a", []), () => SIZE))).toEqual(strange);
    const keyed = (text: string): WorkflowDoc => JSON.parse(`{"name":"w","nodes":{"a":{"type":"t","config":${text}}}}`) as WorkflowDoc;
    const [found] = compared(keyed("{}"), keyed('{"__proto__":{"x":1}}')).changes;
    expect(found!.parts).toEqual([{ path: ["config", "__proto__"], before: undefined, after: { x: 1 } }]);
    expect(JSON.stringify(inOrder(JSON.parse('{"b":1,"__proto__":{"d":1,"c":2}}')))).toBe('{"__proto__":{"c":2,"d":1},"b":1}');
    expect(({} as { x?: number }).x).toBeUndefined();
  });

  it("is said in plain words, as deep as it goes", () => {
    const http = (config: object): WorkflowDoc => ({ name: "w", nodes: { check: { type: "http", config } } as never });
    const { changes } = compared(http({ url: "http://a", headers: { accept: "x" } }), http({ url: "http://b", headers: {}, method: "PUT" }));
    expect(changes.flatMap((one) => one.parts.map(told))).toEqual([
      "url changed from “http://a” to “http://b”",
      "headers.accept removed, was “x”",
      "method set to “PUT”",
    ]);
    expect(counted(changes)).toBe("1 changed");
  });

  it("knows an edge by its ends and a node that went into a body by its id", () => {
    const edge = (id: string, to: string): WorkflowDoc => ({ name: "w", nodes: { a: node(""), b: node(""), c: node("") }, edges: { [id]: { from: "a", to } } });
    expect(compared(edge("e", "b"), edge("f", "b")).changes.map(({ kind, name }) => [kind, name])).toEqual([["changed", "#f"]]);
    expect(compared(edge("e", "b"), edge("e", "c")).changes.map(({ kind, name }) => [kind, name])).toEqual([["added", "#e"], ["removed", "#e~"]]);
    let doc = edits.addNode(empty, [], { type: "map", config: { items: "[]", body: { nodes: {}, edges: {} } } }, { x: 0, y: 0 }, "each").doc;
    doc = edits.addNode(doc, [], node("1"), { x: 400, y: 0 }, "one").doc;
    const { changes } = compared(doc, edits.moveNodes(doc, ["one"], ["each"]).doc);
    expect(changes.map((found) => [found.kind, found.name, found.about === "node" && found.elsewhere])).toEqual([
      ["added", "each/one", "one"],
      ["removed", "one", "each/one"],
    ]);
  });

  it("tells what only moved apart, and last", () => {
    let doc = edits.addNode(empty, [], node("1"), { x: 0, y: 0 }, "first").doc;
    doc = edits.addNode(doc, [], node("1"), { x: 400, y: 0 }, "second").doc;
    const next = edits.setConfig(edits.movePlaces(doc, { first: { x: 0, y: 200 } }), "second", "output", "2");
    const { changes } = compared(doc, next);
    expect(inReadingOrder(changes, new Map()).map(({ kind, name }) => [kind, name])).toEqual([["changed", "second"], ["moved", "first"]]);
  });
});

describe("one picture of two documents", () => {
  it("lets nothing that is gone cover what is there", () => {
    const at = (id: string, x: number, y: number): WorkflowDoc => edits.addNode(empty, [], node("1"), { x, y }, id).doc;
    const [before, now] = [at("old", 8, 8), at("fresh", 0, 0)];
    const places = standing(compared(before, now), before, now, () => SIZE);
    expect(places["fresh"]).toMatchObject({ x: 0, y: 0 });
    const box = (name: string): { x: number; y: number; w: number; h: number } => ({ ...places[name]!, w: NODE_WIDTH, h: NODE_HEIGHT });
    expect(meets(box("old"), box("fresh"))).toBe(false);
  });

  it("opens a body in which something changed and moves aside what it would cover", () => {
    const body = (output: string): WorkflowDoc => ({
      name: "w",
      nodes: { each: { type: "map", config: { items: "[]", body: { nodes: { inner: node(output) } } } }, next: node("") },
      layout: { each: { x: 0, y: 0 }, next: { x: 300, y: 0 }, "each/inner": { x: 200, y: 72 } },
    });
    const places = standing(compared(body("1"), body("2")), body("1"), body("2"), () => SIZE);
    expect(places["each"]!.open).toBe(true);
    expect(places["next"]!.x).toBeGreaterThan(places["each"]!.w!);
    expect(standing(compared(body("1"), body("1")), body("1"), body("1"), () => SIZE)["each"]!.open).toBeUndefined();
  });
});

describe("the address of a comparison", () => {
  it("names any two and refuses what names none", () => {
    for (const pair of [{ from: "1", to: "draft" }, { from: `sha256:${"a".repeat(64)}`, to: "b.c" }]) expect(pairIn(hashOf(pair))).toEqual(pair);
    for (const hash of ["", "#versions", "#versions=", "#versions=1..", "#versions=..2", "#versions=%..%", "#other=1..2"]) expect(pairIn(hash)).toBeNull();
  });
});
