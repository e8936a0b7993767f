import type { ELK as Elk } from "elkjs/lib/elk-api";
import { describe, expect, it } from "vitest";

import type { WorkflowDoc } from "../src/model/document";
import { elkGraph, NODE_HEIGHT, NODE_WIDTH } from "../src/model/layout";

const size = (name: string) => ({
  width: NODE_WIDTH,
  height: NODE_HEIGHT,
  ports: (name === "wait" ? ["out", "timed_out"] : ["out"]).map((id, index) => ({ id, y: 20 + 20 * index })),
});

/** The same library as in the browser, without its worker. */
async function elk(): Promise<Elk> {
  const { default: Bundled } = (await import("elkjs/lib/elk.bundled.js")) as unknown as { default: new () => Elk };
  return new Bundled();
}

describe("arranging", () => {
  it("places what leaves by an upper port above what leaves by a lower one, whatever was drawn first", async () => {
    for (const order of [["late", "soon"], ["soon", "late"]]) {
      const doc = {
        name: "w",
        nodes: Object.fromEntries(["wait", ...order].map((id) => [id, { type: "log" }])),
        edges: Object.fromEntries(order.map((id) => [id, { from: "wait", to: id, port: id === "soon" ? "out" : "timed_out" }])),
      } as unknown as WorkflowDoc;
      const found = await (await elk()).layout(elkGraph(doc, doc, [], "root", size));
      const y = (id: string): number => found.children!.find((one) => one.id === id)!.y!;
      expect(y("soon")).toBeLessThan(y("late"));
    }
  });
});
