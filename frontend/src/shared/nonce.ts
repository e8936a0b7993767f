// CodeMirror writes its styles into the page; the policy of the page lets only what bears its number.

import type { Extension } from "@codemirror/state";
import { EditorView } from "@codemirror/view";

export function nonce(): Extension {
  return EditorView.cspNonce.of(document.querySelector<HTMLElement>("[data-nonce]")?.dataset["nonce"] ?? "");
}
