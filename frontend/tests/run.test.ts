import { describe, expect, it } from "vitest";

import { Previews } from "../src/run/agents";
import { blobOf, expression, find, parse, write } from "../src/run/json";
import { ALL, Lines } from "../src/run/lines";
import { type AgentText, type BriefEvent, Source, type World } from "../src/run/source";

const event = (seq: number, more: Partial<BriefEvent> = {}): BriefEvent => ({
  seq,
  type: "NodeCompleted",
  at: "2026-01-01T00:00:00.000Z",
  node: "a",
  data: {},
  level: "info",
  text: "Done",
  ...more,
});

/** A server whose connection the test cuts, and that may send what it likes. */
class Stage implements World {
  stored: BriefEvent[] = [];
  hear: ((event: BriefEvent) => void) | null = null;
  closed: ((code: number) => void) | null = null;
  preview: ((text: AgentText) => void) | null = null;
  opened: number[] = [];
  waiting: (() => void)[] = [];
  soons: (() => void)[] = [];
  async page(after: number): Promise<{ items: BriefEvent[]; next: number | null }> {
    const items = this.stored.filter((one) => one.seq > after).slice(0, 2);
    const last = items[items.length - 1]?.seq ?? after;
    return { items, next: last < this.stored.length ? last : null };
  }
  connect(after: number, hear: (event: BriefEvent) => void, closed: (code: number) => void, preview: (text: AgentText) => void): () => void {
    this.preview = preview;
    this.opened.push(after);
    this.hear = hear;
    this.closed = closed;
    return () => undefined;
  }
  soon(act: () => void): void {
    this.soons.push(act);
  }
  later(act: () => void): void {
    this.waiting.push(act);
  }
  async settle(): Promise<void> {
    for (const act of this.waiting.splice(0)) act();
    for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
    for (const act of this.soons.splice(0)) act();
  }
}

describe("the events of a run", () => {
  const begun = async (count: number): Promise<[Stage, Source, number[]]> => {
    const stage = new Stage();
    stage.stored = Array.from({ length: count }, (_, index) => event(index + 1));
    const source = new Source(stage);
    const heard: number[] = [];
    source.listen((fresh) => heard.push(...fresh.map((one) => one.seq)));
    source.begin();
    await stage.settle();
    return [stage, source, heard];
  };

  it("go on at the seq where a connection dropped, none lost and none twice", async () => {
    const [stage, source, heard] = await begun(3);
    stage.hear!(event(4));
    stage.stored.push(event(4), event(5), event(6));
    stage.closed!(1006);
    expect(source.connection).toBe("reconnecting");
    await stage.settle();
    stage.hear!(event(6));
    stage.hear!(event(7));
    await stage.settle();
    expect(stage.opened).toEqual([3, 6]);
    expect(heard).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(source.connection).toBe("live");
  });

  it("are asked for again when some are missing", async () => {
    const [stage, , heard] = await begun(1);
    stage.hear!(event(5));
    stage.stored.push(event(2), event(3), event(4), event(5));
    await stage.settle();
    expect(heard).toEqual([1, 2, 3, 4, 5]);
  });

  it("end with the run, and when the watcher may not see them any more", async () => {
    const [stage, source] = await begun(1);
    stage.closed!(4401);
    expect(source.connection).toBe("refused");
    const [other, ended] = await begun(1);
    other.hear!(event(2, { type: "RunCompleted", node: null }));
    other.closed!(1006);
    expect(ended.connection).toBe("ended");
  });
});

describe("the lines of a log", () => {
  it("fit by node and what lies in it, level and text", () => {
    const lines = new Lines();
    lines.add([
      event(1, { node: "each[3]/get", level: "error", text: "Failed" }),
      event(2, { node: "each", log: [{ level: "warning", message: "Nearly Full" }] }),
      event(3, { node: "eachother", level: "debug" }),
    ]);
    expect(lines.fitting.map((one) => one.seq)).toEqual([1, 2, 2, 3]);
    lines.choose({ ...ALL, node: "each" });
    expect(lines.fitting.map((one) => one.text)).toEqual(["Failed", "Nearly Full", "Done"]);
    lines.choose({ node: "", level: "warning", text: "full" });
    lines.add([event(4, { level: "error", text: "The disk is FULL" }), event(5)]);
    expect(lines.fitting.map((one) => one.seq)).toEqual([2, 4]);
    expect([lines.upTo(1), lines.upTo(3), lines.upTo(null)]).toEqual([0, 1, 2]);
  });
});

describe("a JSON value", () => {
  const text = '{"n": 7, "__proto__": {"x": 1}, "rows": [{"unit price": 1.50}], "s": "a\\"b"}';

  it("keeps every key, and no digits are lost: where they would be, it is not read", () => {
    const value = parse(text) as Record<string, unknown>;
    expect(Object.keys(value)).toContain("__proto__");
    expect(write(parse(text), 0).replaceAll("\n", "")).toContain('"n": 7');
    const large = "9007199254740993";
    expect((() => {
      try {
        return write(parse(large));
      } catch {
        return large;
      }
    })()).toBe(large);
    expect(({} as Record<string, unknown>)["x"]).toBeUndefined();
  });

  it("tells where things are, as an expression reaches them", () => {
    expect(find(parse(text), "unit").map(expression)).toEqual(['rows[0]["unit price"]']);
    expect(find(parse(text), "1").map(expression)).toEqual(["__proto__.x", "rows[0][\"unit price\"]"]);
  });

  it("is known as a blob's reference only when it is one", () => {
    expect(blobOf(parse(`{"blob": "sha256:${"a".repeat(64)}", "bytes": 3}`))).toBe(`sha256:${"a".repeat(64)}`);
    expect(blobOf(parse('{"blob": "javascript:alert(1)", "bytes": 3}'))).toBeNull();
  });
});

describe("what models say before it is an event", () => {
  const ended = (seq: number, step: number): BriefEvent => event(seq, { type: "AgentStepEnded", node: "look", data: { step } });

  it("is kept for the step that goes on, bounded, until its event is there", () => {
    const previews = new Previews();
    previews.hear({ node: "look", step: 1, text: "One " });
    previews.hear({ node: "look", step: 1, text: "row" });
    previews.hear({ node: "other", step: 1, text: "x" });
    expect([previews.text("look", 1), previews.text("look", 2)]).toEqual(["One row", ""]);
    previews.hear({ node: "look", step: 3, text: "a".repeat(50_000) });
    previews.hear({ node: "look", step: 1, text: "late" });
    expect(previews.text("look", 3)).toHaveLength(20_000);
    previews.settle([ended(1, 1)]);
    expect(previews.text("look", 3)).toHaveLength(20_000);
    previews.settle([ended(2, 3)]);
    expect([previews.text("look", 3), previews.text("other", 1)]).toEqual(["", "x"]);
  });

  it("comes beside the events, and is no part of their order", async () => {
    const stage = new Stage();
    stage.stored = [event(1)];
    const source = new Source(stage);
    const heard: string[] = [];
    source.read((text) => heard.push(text.text));
    source.begin();
    await stage.settle();
    stage.preview!({ node: "look", step: 1, text: "Hm" });
    stage.hear!(event(2));
    expect([heard, source.connection]).toEqual([["Hm"], "live"]);
  });
});
