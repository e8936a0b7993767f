import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { Fold, type RunEvent, standingAt } from "../src/model/progress";

const event = (seq: number, type: string, node: string | null = null, data: RunEvent["data"] = {}): RunEvent => ({
  seq,
  type,
  at: `2026-01-01T00:00:${String(seq % 60).padStart(2, "0")}Z`,
  node,
  data,
});

const LOG = [
  event(1, "RunStarted", null, { version: "sha256:a" }),
  event(2, "TaskScheduled", "list", { attempt: 1 }),
  event(3, "TaskFailed", "list", { attempt: 1, error: { message: "busy" } }),
  event(4, "RetryScheduled", "list"),
  event(5, "TaskScheduled", "list", { attempt: 2 }),
  event(6, "TaskCompleted", "list", { attempt: 2 }),
  event(7, "NodeCompleted", "list", { port: "out", taken: ["list-each"] }),
  event(8, "MapStarted", "each", { count: 2 }),
  event(9, "TaskScheduled", "each[0]/get", { attempt: 1 }),
  event(10, "TaskScheduled", "each[1]/get", { attempt: 1 }),
  event(11, "NodeCompleted", "each[0]/get", { taken: ["get-keep"] }),
  event(12, "ItemCompleted", "each[0]"),
  event(13, "NodeFailed", "each[1]/get", { handled: "fail", error: { message: "gone" } }),
  event(14, "RunFailed"),
];

describe("progress", () => {
  it("shows a run as it was at each of its events", () => {
    expect(standingAt(LOG, 2).nodes.get("list")!.state).toBe("queued");
    expect(standingAt(LOG, 4).nodes.get("list")).toMatchObject({ state: "retrying", error: "busy", attempts: 1 });
    expect(standingAt(LOG, 7).nodes.get("list")).toMatchObject({ state: "done", attempts: 2 });
    expect(standingAt(LOG, 7).edges).toEqual(new Set(["#list-each"]));
    expect(standingAt(LOG, 8).nodes.get("each")!.items).toEqual({ done: 0, total: 2 });
    expect(standingAt(LOG, 10).nodes.get("each/get")!.counts).toEqual({ queued: 2 });
    expect(standingAt(LOG, 12).nodes.get("each")!.items).toEqual({ done: 1, total: 2 });
    expect(standingAt(LOG, 12).edges).toContain("each#get-keep");
    const end = standingAt(LOG, 99);
    expect(end.status).toBe("failed");
    expect(end.nodes.get("each/get")).toMatchObject({ state: "failed", error: "gone" });
    expect(end.nodes.get("each")!.state).toBe("cancelled");
  });

  it("is the same however the events arrive, and a picture is not changed by later ones", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: LOG.length }), (seq) => {
        const fold = new Fold();
        for (const one of LOG.slice(0, seq)) fold.apply(one);
        const picture = fold.standing();
        const kept = structuredClone(picture);
        for (const one of LOG.slice(seq)) fold.apply(one);
        expect(picture).toEqual(kept);
        expect(picture.nodes).toEqual(standingAt(LOG, seq).nodes);
      }),
    );
  });

  it("shows a loop as running from its first iteration on", () => {
    const log = [event(1, "RunStarted", null, { version: "sha256:a" }), event(2, "IterationStarted", "again[0]"), event(3, "NodeWaiting", "again[0]/ask")];
    const loop = standingAt(log, 3).nodes.get("again");
    expect([loop?.state, loop?.items]).toEqual(["running", { done: 1, total: null }]);
    expect(standingAt([...log, event(4, "NodeCompleted", "again", { taken: [] })], 4).nodes.get("again")?.state).toBe("done");
  });
});
