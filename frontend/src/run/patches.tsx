// Patches on the graph of a run: what they changed is marked, and what one would change that waits for review can be seen.

import { type ReactElement, useEffect, useRef, useState } from "react";

import { compared, counted } from "../model/diff";
import type { WorkflowDoc } from "../model/document";
import { kindsOf, marksOf } from "../model/patched";
import { api, ApiError } from "../shared/api";
import { Mark } from "../editor/marks";
import { say } from "./dom";
import { useShown } from "./shown";

/** So many of the newest patches are marked. */
const MARKED = 20;
const FRESH_MS = 6_000;

/** The graph with what a patch would add and take away. */
export interface Preview {
  patch: string;
  both: WorkflowDoc;
}

const addressOf = (patch: string): string => `/runs/${document.getElementById("run")?.dataset["run"] ?? ""}/patches/${patch}/`;

const WOULD = { added: "would be added", removed: "would be removed", changed: "would be changed" };

/** Says by whom a node was patched, and leads there; or what would become of it. */
export function PatchBadge({ name }: { name: string }): ReactElement | null {
  const mark = useShown((state) => state.marks.get(name));
  const would = useShown((state) => state.proposed.get(name));
  if (would !== undefined) {
    return (
      <span className={`patch-badge ${would}`}>
        <Mark kind={would} bare /> {WOULD[would]}
      </span>
    );
  }
  if (mark === undefined) return null;
  return (
    <a className={`patch-badge nodrag nopan ${mark.kind}`} href={addressOf(mark.patch)} title={`${mark.kind === "added" ? "Added" : "Changed"} by a patch of ${mark.by}`} onClick={(event) => event.stopPropagation()}>
      <Mark kind={mark.kind} bare />
      <span className="visually-hidden">{mark.kind}, </span>
      <span className="patch-by">
        patched by <bdi>{mark.by}</bdi>
      </span>
    </a>
  );
}

/** Keeps the marks in step with the seq that is looked at; what is patched while somebody looks is shown as new. */
export function usePatches(documentOf: (version: string, seq: number) => Promise<WorkflowDoc>): void {
  const key = useShown((state) => (state.standing?.patches ?? []).map((one) => one.seq).join());
  const told = useRef(0);
  useEffect(() => {
    const patches = (useShown.getState().standing?.patches ?? []).slice(-MARKED);
    if (patches.length === 0) {
      useShown.setState({ marks: new Map() });
      return;
    }
    let isWanted = true;
    const asked = patches.map(async ({ patch, by, seq, before, version }) => {
      const [one, other] = await Promise.all([documentOf(before, seq - 1), documentOf(version, seq)]);
      return { patch, by, seq, before: one, after: other };
    });
    Promise.all(asked).then(
      (steps) => {
        if (!isWanted) return;
        const { at, loaded } = useShown.getState();
        const isNew = at === null && loaded !== null;
        const news = steps.filter((one) => isNew && one.seq > Math.max(loaded, told.current));
        const fresh = new Set(marksOf(news).keys());
        useShown.setState({ marks: marksOf(steps), ...(fresh.size > 0 ? { fresh } : {}) });
        for (const { by, seq, before, after } of news) {
          told.current = seq;
          say(`The graph was patched by ${by}: ${counted(compared(before, after).changes) || "nothing that is drawn"}`);
        }
        if (fresh.size > 0) setTimeout(() => useShown.setState((now) => (now.fresh === fresh ? { fresh: new Set() } : {})), FRESH_MS);
      },
      () => undefined,
    );
    return () => {
      isWanted = false;
    };
  }, [key, documentOf]);
}

interface Props {
  run: string;
  doc: WorkflowDoc;
  onPreview: (preview: Preview | null) => void;
}

/** The patches that wait for review, each with the way to see it on the graph and the way to answer it. */
export function Proposals({ run, doc, onPreview }: Props): ReactElement | null {
  const isNow = useShown((state) => state.at === null);
  const key = useShown((state) => (state.standing?.pending ?? []).map((one) => one.patch).join());
  const [shown, setShown] = useState<string | null>(null);
  const pending = useShown.getState().standing?.pending ?? [];
  const wanted = isNow && pending.some((one) => one.patch === shown) ? shown : null;
  useEffect(() => {
    if (wanted === null) {
      useShown.setState({ proposed: new Map() });
      onPreview(null);
      return;
    }
    let isWanted = true;
    api.patched(wanted, run).then(
      ({ after }) => {
        if (!isWanted) return;
        if (after === null) return say("It does not fit the graph any more");
        const comparison = compared(doc, after);
        useShown.setState({ proposed: kindsOf(comparison) });
        onPreview({ patch: wanted, both: comparison.both });
      },
      (failure: unknown) => isWanted && say(failure instanceof ApiError ? failure.message : String(failure)),
    );
    return () => {
      isWanted = false;
    };
  }, [wanted, run, doc, key, onPreview]);
  if (pending.length === 0 || !isNow) return null;
  return (
    <ul className="proposals" aria-label="Patches that wait for review">
      {pending.map(({ patch, by }) => (
        <li key={patch}>
          <span>
            A patch of <bdi>{by}</bdi> waits for review.
          </span>
          <button type="button" className="small" aria-pressed={wanted === patch} onClick={() => setShown(shown === patch ? null : patch)}>
            Show what is proposed
          </button>
          <a className="button small" href={addressOf(patch)}>
            Review
          </a>
        </li>
      ))}
    </ul>
  );
}
