// The code field when it has been loaded; a plain field meanwhile, so that nobody waits. Below it what the text gives.

import { lazy, type ReactElement, Suspense, useEffect, useMemo, useRef, useState } from "react";

import type { Json } from "../model/document";
import { found, namedIn, rootsIn } from "../model/references";
import type { Scope } from "../model/scope";
import { api, ApiError } from "../shared/api";
import type { CodeFieldProps } from "./CodeField";

const load = () => import("./CodeField");
const CodeField = lazy(load);
const QUIET_MS = 350;

/** Begins to load what forms need, before the first form is opened. */
export function preloadCode(): void {
  void load();
}

export function Code(props: CodeFieldProps): ReactElement {
  // Who already writes in the plain field goes on in the other.
  const isWriting = useRef(false);
  const plain = (
    <textarea
      className="code plain"
      rows={props.lines ?? 1}
      aria-label={props.label}
      value={props.value}
      onChange={(event) => props.onChange(event.target.value)}
      onFocus={() => (isWriting.current = true)}
      onBlur={(event) => (isWriting.current = event.relatedTarget === null)}
    />
  );
  return (
    <Suspense fallback={plain}>
      <CodeField {...props} goesOn={isWriting} />
    </Suspense>
  );
}

/** The value of an expression or a template on the data of the last run, a moment after the last letter. */
export function Preview({ text, kind, scope }: { text: Json; kind: "template" | "expression"; scope: Scope }): ReactElement | null {
  const values = scope.values;
  const [shown, setShown] = useState<{ ok: boolean; text: string } | null>(null);
  const isNeeded = kind === "expression" ? String(text).trim() !== "" : JSON.stringify(text).includes("{{");
  const { missing, skipped } = useMemo(() => withoutValue(text, kind, scope), [text, kind, scope]);
  useEffect(() => {
    if (!isNeeded || missing.length > 0) {
      setShown(null);
      return;
    }
    const stop = new AbortController();
    const timer = setTimeout(() => {
      api.preview({ text, kind, scope: values }, stop.signal).then(
        (answer) => setShown(answer.ok ? { ok: true, text: JSON.stringify(answer.value) } : { ok: false, text: answer.error ?? "" }),
        (error: unknown) => {
          if (error instanceof ApiError) setShown({ ok: false, text: error.message });
        },
      );
    }, QUIET_MS);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [text, kind, values, isNeeded, missing]);
  if (isNeeded && missing.length > 0) {
    return <p className="hint">No data of {missing.join(", ")} yet: try {missing.length === 1 ? "it" : "them"}, or run once.</p>;
  }
  if (!isNeeded || shown === null) return null;
  return (
    <>
      <output className={`preview ${shown.ok ? "" : "bad"}`} title={shown.text}>
        {shown.ok ? "= " : ""}
        {shown.text.length > 300 ? `${shown.text.slice(0, 300)}…` : shown.text}
      </output>
      {skipped.length > 0 && <p className="hint">The last run skipped {skipped.join(", ")}.</p>}
    </>
  );
}

/** What the text names and of which no value is known: what there will be one of, and nodes that the last run skipped.
 *
 * Of those a run finds nothing either, so the text is judged without them. */
function withoutValue(text: Json, kind: "template" | "expression", scope: Scope): { missing: string[]; skipped: string[] } {
  const named = [...new Set(kind === "expression" ? found(String(text)).map((one) => one.id) : namedIn(text))];
  const known = scope.values["nodes"] as Record<string, Json>;
  const unknown = named.filter((id) => scope.nodes.includes(id) && !Object.hasOwn(known, id));
  const roots = rootsIn(text, kind);
  const lacking = (scope.lacking ?? []).filter((root) => roots.has(root));
  const skipped = unknown.filter((id) => scope.skipped?.includes(id));
  return { missing: [...unknown.filter((id) => !skipped.includes(id)), ...lacking], skipped };
}
