// The graph of a patch page: the document without the patch and with it, as one graph.

import { type ReactElement, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";

import "@xyflow/react/dist/base.css";
import "../editor/editor.css";

import { Differences } from "../editor/Differences";
import type { WorkflowDoc } from "../model/document";
import type { Registry } from "../model/types";
import { api, ApiError } from "../shared/api";

interface Shown {
  before: WorkflowDoc;
  after: WorkflowDoc;
  registry: Registry;
}

function PatchGraph({ run, patch }: { run: string | undefined; patch: string }): ReactElement {
  const [shown, setShown] = useState<Shown | null>(null);
  const [error, setError] = useState<string | null>(null);
  useEffect(() => {
    Promise.all([api.nodeTypes(), api.patched(patch, run)]).then(
      ([types, { before, after }]) => {
        if (before === null || after === null) setError("Its operations fit no document any more.");
        else setShown({ before, after, registry: new Map(types.map((one) => [one.name, one])) });
      },
      (failure: unknown) => setError(failure instanceof ApiError ? failure.message : String(failure)),
    );
  }, [run, patch]);
  if (error !== null) return <p className="notice error" role="alert">{error}</p>;
  if (shown === null) return <p className="hint">Loading the graph …</p>;
  return (
    <div className="compare compare-inline">
      <Differences {...shown} />
    </div>
  );
}

export function mount(place: HTMLElement): void {
  createRoot(place).render(<PatchGraph run={place.dataset["run"]} patch={place.dataset["patch"]!} />);
}
