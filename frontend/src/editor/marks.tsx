// How a change is marked, on the graph as in words: by colour, sign and name, so that none has to be told by one alone.

import { Minus, Move, Pencil, Plus } from "lucide-react";
import type { ReactElement } from "react";

import type { Kind } from "../model/diff";

const SIGNS = { added: Plus, removed: Minus, changed: Pencil, moved: Move };
export const WORDS: Record<Kind, string> = { added: "Added", removed: "Removed", changed: "Changed", moved: "Moved only" };

/** `bare`: where the word stands beside it. */
export function Mark({ kind, bare = false }: { kind: Kind; bare?: boolean }): ReactElement {
  const Sign = SIGNS[kind];
  return (
    <span className={`diff-mark ${kind}`} title={bare ? undefined : WORDS[kind]}>
      <Sign size={12} strokeWidth={3} {...(bare ? { "aria-hidden": true } : { "aria-label": WORDS[kind], role: "img" })} />
    </span>
  );
}
