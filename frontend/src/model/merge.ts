// Three-way merge of id-keyed JSON: what only one side changed is taken; what both changed differently is a conflict.
//
// Objects are merged key by key. Lists and plain values are taken whole: nobody knows which items of a list belong together.

import { at as own, type Json, type JsonObject, omit, record, same } from "./document";

export interface Conflict {
  /** JSON Pointer (RFC 6901). */
  pointer: string;
  base: Json | undefined;
  mine: Json | undefined;
  theirs: Json | undefined;
}

export interface Merged {
  value: Json;
  conflicts: Conflict[];
}

/** Places of nodes conflict for nobody: the later mover is right. */
const UNDISPUTED = /^\/(layout|notes)(\/|$)/;

/** With conflicts the value holds mine at their places. */
export function merge(base: Json, mine: Json, theirs: Json): Merged {
  const conflicts: Conflict[] = [];
  const value = mergedAt("", base, mine, theirs, conflicts);
  return { value: value === undefined ? null : value, conflicts };
}

function mergedAt(
  pointer: string,
  base: Json | undefined,
  mine: Json | undefined,
  theirs: Json | undefined,
  conflicts: Conflict[],
): Json | undefined {
  if (same(mine, theirs) || same(base, theirs)) return mine;
  if (same(base, mine)) return theirs;
  if (isObject(mine) && isObject(theirs) && (isObject(base) || base === undefined)) {
    const result: JsonObject = record();
    for (const key of new Set([...Object.keys(mine), ...Object.keys(theirs), ...Object.keys(base ?? {})])) {
      const at = `${pointer}/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`;
      const value = mergedAt(at, own(base, key), own(mine, key), own(theirs, key), conflicts);
      if (value !== undefined) result[key] = value;
    }
    return result;
  }
  if (!UNDISPUTED.test(pointer)) conflicts.push({ pointer, base, mine, theirs });
  return mine;
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The merged value with the conflicts settled as chosen: `theirs` for the pointers given, mine for the others. */
export function settle(merged: Merged, theirs: ReadonlySet<string>): Json {
  let value = merged.value;
  for (const one of merged.conflicts) if (theirs.has(one.pointer)) value = withValue(value, one.pointer, one.theirs);
  return value;
}

function withValue(root: Json, pointer: string, value: Json | undefined): Json {
  const parts = pointer.split("/").slice(1).map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
  const set = (at: Json, index: number): Json => {
    const key = parts[index];
    if (key === undefined) return value ?? null;
    if (!isObject(at)) return at;
    if (index < parts.length - 1) return { ...at, [key]: set(own(at, key) ?? null, index + 1) };
    return value === undefined ? omit(at, [key]) : { ...at, [key]: value };
  };
  return set(root, 0);
}
