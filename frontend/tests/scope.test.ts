import { describe, expect, it } from "vitest";

import type { WorkflowDoc } from "../src/model/document";
import { rootsIn } from "../src/model/references";
import { scopeOf } from "../src/model/scope";

const doc = {
  name: "w",
  nodes: {
    free: { type: "transform" },
    paid: { type: "transform" },
    each: { type: "map", config: { items: "nodes.paid.rows", body: { nodes: { one: { type: "transform" } }, edges: {} } } },
    end: { type: "transform" },
  },
  edges: { a: { from: "free", to: "end" }, b: { from: "paid", to: "end" }, c: { from: "paid", to: "each" } },
} as unknown as WorkflowDoc;
const data = { inputs: {}, outputs: { paid: { rows: [{ n: 1 }, { n: 2 }] } }, pins: {}, skipped: ["free"] };

describe("what an expression sees", () => {
  it("does not find nodes that the last run skipped, and says which they are", () => {
    const scope = scopeOf(doc, "end", data);
    expect(scope.values["nodes"]).toEqual({ paid: { rows: [{ n: 1 }, { n: 2 }] } });
    expect(scope.skipped).toEqual(["free"]);
  });

  it("sees the item of the last run, or the first of the list that a map goes over", () => {
    expect(scopeOf(doc, "each/one", data).values["item"]).toEqual({ n: 1 });
    expect(scopeOf(doc, "each/one", { ...data, outputs: { ...data.outputs, "each#item": 7 } }).values["item"]).toBe(7);
    const none = scopeOf(doc, "each/one", { ...data, outputs: {} });
    expect(none.values["item"]).toBeNull();
    expect(none.lacking).toEqual(["item"]);
  });

  it("knows which roots a text names", () => {
    expect([...rootsIn('item.n + inputs.item + "index"', "expression")]).toEqual(["item", "inputs"]);
    expect([...rootsIn({ a: ["{{ item }}", 3], b: "item" }, "template")]).toEqual(["item"]);
  });
});
