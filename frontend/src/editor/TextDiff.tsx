// What differs between two texts, by CodeMirror's merge view.

import { json } from "@codemirror/lang-json";
import { unifiedMergeView } from "@codemirror/merge";
import { EditorState } from "@codemirror/state";
import { EditorView } from "@codemirror/view";
import { type ReactElement, useEffect, useRef } from "react";

import { inOrder } from "../model/diff";
import type { Json } from "../model/document";
import { nonce } from "../shared/nonce";

/** The values as JSON with their keys in order; nothing for `undefined`. */
export default function TextDiff({ before, after }: { before: Json | undefined; after: Json | undefined }): ReactElement {
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const view = new EditorView({
      parent: box.current!,
      state: EditorState.create({
        doc: textOf(after),
        extensions: [
          nonce(),
          json(),
          EditorView.lineWrapping,
          EditorState.readOnly.of(true),
          EditorView.contentAttributes.of({ "aria-label": "The difference as text" }),
          unifiedMergeView({ original: textOf(before), mergeControls: false, collapseUnchanged: {} }),
        ],
      }),
    });
    return () => view.destroy();
  }, [before, after]);
  return <div ref={box} className="code diff" />;
}

function textOf(value: Json | undefined): string {
  return value === undefined ? "" : JSON.stringify(inOrder(value), null, 2);
}
