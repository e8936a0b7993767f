// What differs between two documents, on one graph and as a list: the same between versions as before a patch is applied.

import { ChevronLeft, ChevronRight } from "lucide-react";
import { lazy, type ReactElement, Suspense, useEffect, useMemo, useRef, useState } from "react";

import "./compare.css";

import { at, type JsonObject, same, splitPath, type WorkflowDoc } from "../model/document";
import { type Change, compared, counted, type Kind, told } from "../model/diff";
import { around, boxesOf } from "../model/geometry";
import { isPlaced, laidOut, roughPlaces } from "../model/layout";
import { withNear } from "../model/near";
import { boxOf, inReadingOrder, standing } from "../model/standing";
import type { Registry } from "../model/types";
import { CompareGraph } from "./CompareGraph";
import { closedSize, Flow, flowEdges } from "./flow";
import { Mark, WORDS } from "./marks";

const TextDiff = lazy(() => import("./TextDiff"));
const NOTHING: ReadonlySet<string> = new Set();
const KINDS: readonly Kind[] = ["added", "removed", "changed", "moved"];

interface Props {
  before: WorkflowDoc;
  after: WorkflowDoc;
  registry: Registry;
}

export function Differences({ before: one, after: other, registry }: Props): ReactElement {
  // What only one of them has a place for stands there in both; what neither has, near what it belongs to.
  const before = useMemo(() => withNear(one, other.layout, (name) => closedSize(one, name, registry)), [one, other, registry]);
  const after = useMemo(() => withNear(other, before.layout, (name) => closedSize(other, name, registry)), [other, before, registry]);
  const comparison = useMemo(() => compared(before, after), [before, after]);
  const { both } = comparison;
  const isDrawn = isPlaced(before) && isPlaced(after);
  const [thoughtOut, setThoughtOut] = useState<{ of: WorkflowDoc; places: ReturnType<typeof roughPlaces> } | null>(null);
  useEffect(() => {
    if (isDrawn) return;
    // One of them was never drawn: both are laid out together, and kept nowhere.
    let isWanted = true;
    const { layout: _, ...bare } = both;
    laidOut({ ...bare, layout: roughPlaces(bare) }, [], (name) => closedSize(both, name, registry)).then(
      (places) => isWanted && setThoughtOut({ of: both, places }),
      () => undefined,
    );
    return () => {
      isWanted = false;
    };
  }, [both, isDrawn, registry]);
  const places = useMemo(() => {
    if (isDrawn) return standing(comparison, before, after, (name) => closedSize(both, name, registry));
    const { layout: _, ...bare } = both;
    return thoughtOut?.of === both ? thoughtOut.places : roughPlaces(bare);
  }, [comparison, both, before, after, isDrawn, registry, thoughtOut]);
  const nodes = useMemo(() => new Flow().nodes(both, places, registry, NOTHING), [both, places, registry]);
  const edges = useMemo(() => flowEdges(both, places, NOTHING), [both, places]);
  const boxes = useMemo(() => boxesOf(nodes), [nodes]);
  const whole = useMemo(() => around(boxes.values()), [boxes]);
  const changes = useMemo(() => inReadingOrder(comparison.changes, boxes), [comparison, boxes]);
  const marks = useMemo(() => new Map(changes.filter((one) => one.about !== "workflow").map((one) => [one.name, one])), [changes]);
  const [chosen, setChosen] = useState<Change | null>(null);
  const current = chosen !== null && changes.includes(chosen) ? chosen : null;
  const box = useMemo(() => (current === null ? null : boxOf(current, boxes)), [current, boxes]);

  const step = (by: number): void => {
    if (changes.length === 0) return;
    const now = current === null ? (by > 0 ? -1 : 0) : changes.indexOf(current);
    setChosen(changes[(now + by + changes.length) % changes.length]!);
  };
  const latest = useRef(step);
  latest.current = step;
  useEffect(() => {
    // Dialogs keep keys to themselves, so they are heard on their way in.
    const onKey = (event: KeyboardEvent): void => {
      const target = event.target as HTMLElement;
      if (event.ctrlKey || event.metaKey || event.altKey || target.closest("input, textarea, select, [contenteditable=true]")) return;
      if (event.key === "n" || event.key === "p") latest.current(event.key === "n" ? 1 : -1);
    };
    document.addEventListener("keydown", onKey, true);
    return () => document.removeEventListener("keydown", onKey, true);
  }, []);

  return (
    <div className="compare-body">
      <div className="compare-graph">
        <CompareGraph nodes={nodes} edges={edges} of={marks} current={current} whole={whole} box={box} onChoose={setChosen} />
        <ul className="compare-legend" aria-label="What the marks mean">
          {KINDS.map((kind) => (
            <li key={kind} className={kind}>
              <Mark kind={kind} bare /> {WORDS[kind]}
              {kind === "removed" && ", at its old place"}
            </li>
          ))}
        </ul>
      </div>
      <section className="compare-list" aria-label="Changes">
        {changes.length === 0 ? (
          <div className="compare-same">
            <h3>Nothing changed</h3>
            <p className="hint">{same(before, after) ? "The two are the same." : "They do the same; only how they are drawn differs."}</p>
          </div>
        ) : (
          <>
            <div className="compare-steps">
              <h3>{counted(changes)}</h3>
              <span role="status" className="hint">
                {current === null ? "" : `${changes.indexOf(current) + 1} of ${changes.length}`}
              </span>
              <button type="button" className="icon" title="Previous change (P)" aria-label="Previous change" onClick={() => step(-1)}>
                <ChevronLeft size={16} aria-hidden="true" />
              </button>
              <button type="button" className="icon" title="Next change (N)" aria-label="Next change" onClick={() => step(1)}>
                <ChevronRight size={16} aria-hidden="true" />
              </button>
            </div>
            <ol className="changes">
              {changes.map((one) => (
                <Item key={`${one.about} ${one.name}`} change={one} isCurrent={one === current} onChoose={() => setChosen(one === current ? null : one)} />
              ))}
            </ol>
          </>
        )}
      </section>
    </div>
  );
}

function Item({ change, isCurrent, onChoose }: { change: Change; isCurrent: boolean; onChoose: () => void }): ReactElement {
  const place = useRef<HTMLLIElement>(null);
  useEffect(() => {
    if (isCurrent) place.current?.scrollIntoView({ block: "nearest" });
  }, [isCurrent]);
  const hasText = change.kind !== "moved";
  return (
    <li ref={place} className={`${change.kind} ${isCurrent ? "current" : ""}`}>
      <button type="button" aria-expanded={isCurrent} onClick={onChoose}>
        <Mark kind={change.kind} bare />
        <span>
          <span className="change-what">
            <strong>{WORDS[change.kind]}</strong> <What change={change} />
          </span>
          {linesOf(change).map((line) => (
            <span key={line} className="change-line">{line}</span>
          ))}
        </span>
      </button>
      {isCurrent && hasText && (
        <Suspense fallback={<p className="hint">Loading …</p>}>
          <TextDiff before={change.before} after={change.after} />
        </Suspense>
      )}
    </li>
  );
}

function What({ change }: { change: Change }): ReactElement {
  const title = at((change.after ?? change.before) as JsonObject | undefined, "title");
  switch (change.about) {
    case "node":
      return (
        <>
          node <code>{change.name}</code>
          {typeof title === "string" && <span className="hint"> {title}</span>}
        </>
      );
    case "edge":
      return (
        <>
          edge <code>{change.edge.from}</code> → <code>{change.edge.to}</code>
          {change.path.length > 0 && <> in <code>{change.path.join("/")}</code></>}
        </>
      );
    case "note":
      return <>{change.note.kind === "group" ? "group" : "note"} <q>{change.note.text.slice(0, 60)}</q></>;
    case "workflow":
      return <>{change.name} of the workflow</>;
  }
}

/** The details in plain words. */
function linesOf(change: Change): string[] {
  const lines = change.parts.map((part) => {
    // What the first line has named needs not be named again, unless it is all that there is to tell.
    const [first, ...rest] = part.path;
    return told(change.about === "workflow" && first === change.name && rest.length > 0 ? { ...part, path: rest } : part);
  });
  if (change.about === "edge" && change.kind !== "changed") {
    if (change.edge.port !== undefined && change.edge.port !== "out") lines.push(`by the port ${change.edge.port}`);
    if (change.edge.when !== undefined) lines.push(`when ${change.edge.when}`);
  }
  if (change.about === "node" && change.elsewhere !== undefined) {
    const around = splitPath(change.elsewhere).path.join("/");
    lines.push(`${change.kind === "added" ? "stood" : "stands now"} ${around === "" ? "outside, on the canvas" : `in ${around}`}`);
  }
  return lines;
}
