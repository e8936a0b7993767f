// A JSON value as a tree that opens where it is wanted. Everything is text: no value is ever read as HTML.

import { type ReactElement, useState } from "react";

import type { Json } from "../model/document";

const PAGE = 100;
const MAX_TEXT = 2_000;

export function JsonTree({ value, name, open = true }: { value: Json; name?: string; open?: boolean }): ReactElement {
  const [shown, setShown] = useState(PAGE);
  const label = name === undefined ? null : <span className="json-key">{name}: </span>;
  if (value === null || typeof value !== "object") {
    return (
      <div className="json-leaf">
        {label}
        <Leaf value={value} />
      </div>
    );
  }
  const entries = Object.entries(value);
  const size = Array.isArray(value) ? `[${entries.length}]` : `{${entries.length}}`;
  return (
    <details className="json" open={open}>
      <summary>
        {label}
        <span className="hint">{size}</span>
      </summary>
      <div className="json-inner">
        {entries.slice(0, shown).map(([key, one]) => (
          <JsonTree key={key} name={key} value={one} open={false} />
        ))}
        {entries.length > shown && (
          <button type="button" className="link" onClick={() => setShown(shown + PAGE)}>
            {entries.length - shown} more
          </button>
        )}
      </div>
    </details>
  );
}

function Leaf({ value }: { value: string | number | boolean | null }): ReactElement {
  const [whole, setWhole] = useState(false);
  const text = typeof value === "string" ? JSON.stringify(value) : String(value);
  const kind = value === null ? "word" : typeof value === "string" ? "string" : typeof value === "number" ? "number" : "word";
  return (
    <span className={`tok-${kind}`} dir="auto">
      {whole ? text : text.slice(0, MAX_TEXT)}
      {!whole && text.length > MAX_TEXT && (
        <button type="button" className="link" onClick={() => setWhole(true)}>
          … {text.length - MAX_TEXT} more characters
        </button>
      )}
    </span>
  );
}
