// JSON as it was written: whole numbers beyond 2^53 keep their digits, `__proto__` is a key like any other.

export class Digits {
  constructor(readonly text: string) {}
}

export type Value = null | boolean | number | string | Digits | Value[] | { [key: string]: Value };

type Reviver = (this: unknown, key: string, value: unknown, context?: { source?: string }) => unknown;

/** Old browsers do not tell how a number was written. */
const tellsSource = ((): boolean => {
  let told = false;
  const look: Reviver = (_key, value, context) => {
    told = context?.source !== undefined;
    return value;
  };
  JSON.parse("1", look as (key: string, value: unknown) => unknown);
  return told;
})();

/** Throws where digits would be lost: the text is better than a wrong number. */
export function parse(text: string): Value {
  if (!tellsSource && /\d{16}/.test(text)) throw new RangeError("a number has too many digits");
  const revive: Reviver = (_key, value, context) => {
    const source = context?.source;
    return typeof value === "number" && source !== undefined && String(value) !== source ? new Digits(source) : value;
  };
  return JSON.parse(text, revive as (key: string, value: unknown) => unknown) as Value;
}

export function write(value: Value, indent = 2): string {
  const inner = (one: Value, depth: number): string => {
    if (one instanceof Digits) return one.text;
    if (one === null || typeof one !== "object") return JSON.stringify(one);
    const pad = "\n" + " ".repeat(indent * (depth + 1));
    const end = "\n" + " ".repeat(indent * depth);
    if (Array.isArray(one)) return one.length === 0 ? "[]" : `[${one.map((each) => pad + inner(each, depth + 1)).join(",")}${end}]`;
    const entries = Object.entries(one);
    if (entries.length === 0) return "{}";
    return `{${entries.map(([key, each]) => `${pad}${JSON.stringify(key)}: ${inner(each, depth + 1)}`).join(",")}${end}}`;
  };
  return inner(value, 0);
}

export type Path = readonly (string | number)[];

/** As an expression would reach it: `body.rows[3]["unit price"]`. */
export function expression(path: Path): string {
  return path
    .map((part, index) => {
      if (typeof part === "number") return `[${part}]`;
      if (!/^[A-Za-z_]\w*$/.test(part)) return `[${JSON.stringify(part)}]`;
      return index === 0 ? part : `.${part}`;
    })
    .join("");
}

export const isOpenable = (value: Value): value is Value[] | { [key: string]: Value } =>
  value !== null && typeof value === "object" && !(value instanceof Digits);

export function entries(value: Value[] | { [key: string]: Value }): [string | number, Value][] {
  return Array.isArray(value) ? value.map((one, index) => [index, one]) : Object.entries(value);
}

/** Where keys or plain values hold a text, in the order of the tree. */
export function find(value: Value, text: string, most = 1_000): Path[] {
  const wanted = text.toLowerCase();
  const found: Path[] = [];
  const look = (one: Value, path: Path): void => {
    if (found.length >= most) return;
    const key = path[path.length - 1];
    const isKey = typeof key === "string" && key.toLowerCase().includes(wanted);
    const isPlain = !isOpenable(one) && (one instanceof Digits ? one.text : String(one)).toLowerCase().includes(wanted);
    if (isKey || isPlain) found.push(path);
    if (isOpenable(one)) for (const [name, each] of entries(one)) look(each, [...path, name]);
  };
  if (wanted !== "") look(value, []);
  return found;
}

/** A blob's name when the value is a reference to one. */
export function blobOf(value: Value): string | null {
  if (!isOpenable(value) || Array.isArray(value)) return null;
  const name = Object.hasOwn(value, "blob") ? value["blob"] : null;
  return typeof name === "string" && /^sha256:[0-9a-f]{64}$/.test(name) && Object.hasOwn(value, "bytes") ? name : null;
}
