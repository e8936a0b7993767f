// What differs between two versions, or a version and the draft: on one graph, in words, and as text.

import { ArrowLeftRight } from "lucide-react";
import { type KeyboardEvent as ReactKeyboardEvent, lazy, type ReactElement, Suspense, useEffect, useMemo, useRef, useState } from "react";

import type { Json, WorkflowDoc } from "../model/document";
import { api, ApiError, type VersionInfo } from "../shared/api";
import { Dialog } from "../shared/Dialog";
import { X } from "../shared/icons";
import { Differences } from "./Differences";
import { useDoc, useEditor } from "./store";

const TextDiff = lazy(() => import("./TextDiff"));
const DRAFT = "draft";

interface Side {
  document: WorkflowDoc;
  /** None for the draft. */
  version: VersionInfo | null;
}

async function published(name: string, wanted: string): Promise<Side> {
  let version = wanted;
  if (/^\d{1,9}$/.test(wanted)) {
    const found = await api.numbered(name, Number(wanted));
    if (found === undefined) throw new ApiError(404, "version_unknown", `${name} has no version No. ${wanted}.`, {});
    version = found.version;
  }
  const { document, ...info } = await api.version(name, version);
  return { document, version: info };
}

/** The draft as it is now, or a published version; null while it is on its way. */
function useSide(name: string, wanted: string): { side: Side | null; error: string | null } {
  const draft = useDoc();
  const [found, setFound] = useState<{ wanted: string; side: Side | null; error: string | null } | null>(null);
  useEffect(() => {
    if (wanted === DRAFT) return;
    let isWanted = true;
    published(name, wanted).then(
      (side) => isWanted && setFound({ wanted, side, error: null }),
      (failure: unknown) => isWanted && setFound({ wanted, side: null, error: failure instanceof ApiError ? failure.message : String(failure) }),
    );
    return () => {
      isWanted = false;
    };
  }, [name, wanted]);
  return useMemo(() => {
    if (wanted === DRAFT) return { side: { document: draft, version: null }, error: null };
    return found?.wanted === wanted ? found : { side: null, error: null };
  }, [draft, found, wanted]);
}

export default function Compare({ from, to }: { from: string; to: string }): ReactElement {
  const name = useDoc().name;
  const registry = useEditor((state) => state.registry);
  const { open } = useEditor.getState();
  const [versions, setVersions] = useState<readonly VersionInfo[]>([]);
  const [tab, setTab] = useState<"graph" | "text">("graph");
  const [left, right] = [useSide(name, from), useSide(name, to)];
  useEffect(() => {
    api.versions(name).then(setVersions, () => setVersions([]));
  }, [name]);
  // Not on the first choice, where a key would choose another version.
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), []);
  const compare = (one: string, other: string): void => open({ kind: "compare", from: one, to: other });
  const error = left.error ?? right.error;
  return (
    <Dialog label="Compare versions" className="compare" onClose={() => open(null)}>
      <header className="compare-head">
        <h2 ref={heading} tabIndex={-1}>Compare</h2>
        <div className="compare-sides">
          <Choice label="From" wanted={from} side={left.side} versions={versions} onChoose={(one) => compare(one, to)} />
          <button type="button" className="icon" title="Swap the two" aria-label="Swap the two" onClick={() => compare(to, from)}>
            <ArrowLeftRight size={16} aria-hidden="true" />
          </button>
          <Choice label="To" wanted={to} side={right.side} versions={versions} onChoose={(one) => compare(from, one)} />
        </div>
        <Tabs tab={tab} onTab={setTab} />
        <button type="button" className="icon close" aria-label="Close the comparison" onClick={() => open(null)}>
          <X size={18} aria-hidden="true" />
        </button>
      </header>
      {error !== null ? (
        <p className="notice error" role="alert">{error} Choose another one above.</p>
      ) : left.side === null || right.side === null ? (
        <p className="hint loading">Loading the two …</p>
      ) : (
        <div role="tabpanel" id="compare-panel" aria-labelledby={`compare-${tab}`} className="compare-panel">
          {tab === "graph" ? (
            <Differences before={left.side.document} after={right.side.document} registry={registry} />
          ) : (
            <Suspense fallback={<p className="hint loading">Loading the text …</p>}>
              <TextDiff before={asJson(left.side.document)} after={asJson(right.side.document)} />
            </Suspense>
          )}
        </div>
      )}
    </Dialog>
  );
}

function asJson(doc: WorkflowDoc): Json {
  return doc as unknown as Json;
}

interface ChoiceProps {
  label: string;
  wanted: string;
  side: Side | null;
  versions: readonly VersionInfo[];
  onChoose: (wanted: string) => void;
}

/** The draft and the newest versions; and what the address asked for, should it be older. */
function Choice({ label, wanted, side, versions, onChoose }: ChoiceProps): ReactElement {
  const value = side?.version?.number.toString() ?? wanted;
  const isListed = value === DRAFT || versions.some((one) => String(one.number) === value);
  return (
    <label>
      <span aria-hidden="true">{label}</span>
      <select aria-label={label} value={value} onChange={(event) => onChoose(event.target.value)}>
        <option value={DRAFT}>The draft</option>
        {versions.map((one) => (
          <option key={one.version} value={String(one.number)}>
            {optionOf(one)}
          </option>
        ))}
        {!isListed && <option value={value}>{side?.version ? optionOf(side.version) : wanted}</option>}
      </select>
    </label>
  );
}

function optionOf({ number, note }: VersionInfo): string {
  return note === "" ? `No. ${number}` : `No. ${number} · ${note.length > 40 ? `${note.slice(0, 40)}…` : note}`;
}

function Tabs({ tab, onTab }: { tab: "graph" | "text"; onTab: (tab: "graph" | "text") => void }): ReactElement {
  const onKeyDown = (event: ReactKeyboardEvent<HTMLElement>): void => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    const next = tab === "graph" ? "text" : "graph";
    onTab(next);
    document.getElementById(`compare-${next}`)?.focus();
  };
  return (
    <div role="tablist" aria-label="How to look at it" className="compare-tabs" onKeyDown={onKeyDown}>
      {(["graph", "text"] as const).map((one) => (
        <button key={one} type="button" role="tab" id={`compare-${one}`} aria-selected={tab === one} aria-controls="compare-panel" tabIndex={tab === one ? 0 : -1} onClick={() => onTab(one)}>
          {one === "graph" ? "Graph" : "Text"}
        </button>
      ))}
    </div>
  );
}
