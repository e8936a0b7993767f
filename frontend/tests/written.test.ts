import { describe, expect, it } from "vitest";

import { readWritten, says, structureIn, written } from "../src/model/written";

describe("fields for JSON", () => {
  it("reads JSON, an expression, and text without quotes where text may stand", () => {
    expect(readWritten('{"total": "{{ nodes.a }}"}', true)).toEqual({ ok: true, value: { total: "{{ nodes.a }}" } });
    expect(readWritten(" {{ nodes.a }} ", true)).toEqual({ ok: true, value: "{{ nodes.a }}" });
    expect(readWritten("Dear {{ inputs.name }}", true)).toEqual({ ok: true, value: "Dear {{ inputs.name }}" });
    expect(readWritten("42", true)).toEqual({ ok: true, value: 42 });
    expect(readWritten("Dear {{ inputs.name }}", false).ok).toBe(false);
  });

  it("never takes JSON that is not finished for text", () => {
    for (const text of ['{"total": 1', "[1, 2", '"open', ' {"a":}']) expect(readWritten(text, true).ok).toBe(false);
  });

  it("finds an object or a list in what was typed as text", () => {
    expect(structureIn('{"total": 1}')).toEqual({ total: 1 });
    expect(structureIn("[1]")).toEqual([1]);
    for (const text of ["{{ nodes.a }}", "12", "plain", '{"open'] as const) expect(structureIn(text)).toBeUndefined();
  });

  it("keeps what was typed as long as it says the value", () => {
    expect(says('{"a":1}', { a: 1 }, false)).toBe(true);
    expect(says('{"a":1}', { a: 2 }, false)).toBe(false);
    expect(says(" ", undefined, false)).toBe(true);
    expect(says("hello", "hello", true)).toBe(true);
    expect(written("")).toBe("");
    expect(written("hello")).toBe('"hello"');
    expect(written({ a: 1 })).toBe('{\n  "a": 1\n}');
  });
});
