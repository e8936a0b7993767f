// What people write into fields for JSON: the value that it stands for, and how a value is written there.

import { type Json, same } from "./document";

export type Read = { ok: true; value: Json } | { ok: false; error: string };

/** One expression, or several, from the first letter to the last: a value of its own beside JSON. */
const WHOLE = /^\{\{[^]*\}\}$/;
/** What can only be meant as JSON, so that it is never taken for text. */
const JSON_BEGINS = /^\s*(\[|"|\{(?!\{))/;

/** JSON, or an expression that stands for the whole value; where text may stand as well, also text without quotes. */
export function readWritten(text: string, mayBeText: boolean): Read {
  if (WHOLE.test(text.trim())) return { ok: true, value: text.trim() };
  try {
    return { ok: true, value: JSON.parse(text) as Json };
  } catch (error) {
    if (mayBeText && !JSON_BEGINS.test(text)) return { ok: true, value: text };
    return { ok: false, error: error instanceof Error ? error.message : String(error) };
  }
}

/** The object or list that a text is. */
export function structureIn(text: string): Json | undefined {
  if (!/^\s*[[{]/.test(text)) return undefined;
  const read = readWritten(text, false);
  return read.ok && typeof read.value === "object" && read.value !== null ? read.value : undefined;
}

/** How a value is written in a field for JSON. */
export function written(value: Json | undefined): string {
  if (value === undefined || value === "") return "";
  if (typeof value === "string" && WHOLE.test(value)) return value;
  return JSON.stringify(value, null, 2);
}

/** Whether a text still says this value, so that it may stay as it was typed. */
export function says(text: string, value: Json | undefined, mayBeText: boolean): boolean {
  if (text.trim() === "") return value === undefined || value === "";
  const read = readWritten(text, mayBeText);
  return read.ok && value !== undefined && same(read.value, value);
}
