// Two documents as text beside each other, by CodeMirror's merge view.

import { json } from "@codemirror/lang-json";
import { unifiedMergeView } from "@codemirror/merge";
import { EditorState } from "@codemirror/state";
import { EditorView } from "@codemirror/view";
import { type ReactElement, useEffect, useRef } from "react";

import { nonce } from "../shared/nonce";

export default function TextDiff({ before, after }: { before: unknown; after: unknown }): ReactElement {
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const view = new EditorView({
      parent: box.current!,
      state: EditorState.create({
        doc: JSON.stringify(after, null, 2),
        extensions: [
          nonce(),
          json(),
          EditorView.lineWrapping,
          EditorState.readOnly.of(true),
          EditorView.contentAttributes.of({ "aria-label": "The difference as text" }),
          unifiedMergeView({ original: JSON.stringify(before, null, 2), mergeControls: false, collapseUnchanged: {} }),
        ],
      }),
    });
    return () => view.destroy();
  }, [before, after]);
  return <div ref={box} className="code diff" />;
}
