import { describe, expect, it } from "vitest";

import { firstView } from "../src/shared/canvas";

const ROW = [0, 300, 600, 900, 1200].map((x) => ({ x, y: 0, w: 210, h: 60 }));
const FIT = { padding: 0.1, maxZoom: 1 };
const PHONE = { width: 360, height: 390 };

/** Where a box stands on the screen. */
function onScreen(view: { x: number; zoom: number }, box: { x: number; w: number }): [number, number] {
  return [box.x * view.zoom + view.x, (box.x + box.w) * view.zoom + view.x];
}

describe("what a canvas shows at first", () => {
  it("is the whole graph where there is room", () => {
    const view = firstView(ROW, { width: 1200, height: 600 }, FIT);
    expect(onScreen(view, ROW[0]!)[0]).toBeGreaterThan(0);
    expect(onScreen(view, ROW[4]!)[1]).toBeLessThan(1200);
  });

  it("can be read on a phone, and begins where the graph begins", () => {
    const view = firstView(ROW, PHONE, FIT);
    expect(view.zoom).toBeGreaterThan(0.5);
    expect(onScreen(view, ROW[0]!)[0]).toBe(16);
  });

  it("is what matters on a phone, with nothing empty beside the graph", () => {
    const [left, right] = onScreen(firstView(ROW, PHONE, FIT, [ROW[2]!]), ROW[2]!);
    expect((left + right) / 2).toBeCloseTo(180);
    expect(onScreen(firstView(ROW, PHONE, FIT, [ROW[4]!]), ROW[4]!)[1]).toBeCloseTo(360 - 16);
  });

  it("is the whole on a phone where that can be read", () => {
    const view = firstView(ROW.slice(0, 1), PHONE, FIT);
    expect(view.zoom).toBe(1);
  });

  it("is the middle where there is nothing", () => {
    expect(firstView([], PHONE, FIT)).toEqual({ x: 180, y: 195, zoom: 1 });
  });
});
