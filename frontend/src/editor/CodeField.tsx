// A field for CEL, for text with {{ CEL }}, or for JSON, on CodeMirror; loaded when the first form opens.

import { autocompletion, type Completion, type CompletionContext, type CompletionResult, closeBrackets, pickedCompletion } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { json } from "@codemirror/lang-json";
import { HighlightStyle, StreamLanguage, type StreamParser, syntaxHighlighting } from "@codemirror/language";
import { Compartment, EditorState, type Extension } from "@codemirror/state";
import { EditorView, keymap, placeholder as placeholderOf } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { type ReactElement, type RefObject, useEffect, useLayoutEffect, useRef } from "react";

import { completionsAt, type Scope } from "../model/scope";
import { nonce } from "../shared/nonce";
import { useEditor } from "./store";

export type CodeKind = "expression" | "template" | "json";

export interface CodeFieldProps {
  value: string;
  kind: CodeKind;
  scope: Scope;
  label: string;
  describedBy?: string | undefined;
  invalid?: boolean;
  placeholder?: string | undefined;
  lines?: number;
  onChange: (text: string) => void;
  onBlur?: () => void;
  /** Whether somebody was writing in the field that stood here before. */
  goesOn?: RefObject<boolean>;
}

const WORDS = /^(true|false|null|in)\b/;

interface Inside {
  within: boolean;
}

/** CEL alone, or within {{ }} of a text. */
function celParser(isTemplate: boolean): StreamParser<Inside> {
  return {
    startState: () => ({ within: !isTemplate }),
    token(stream, state) {
      if (isTemplate && !state.within) {
        if (stream.match("{{")) {
          state.within = true;
          return "brace";
        }
        while (!stream.eol() && !stream.match("{{", false)) stream.next();
        return null;
      }
      if (isTemplate && stream.match("}}")) {
        state.within = false;
        return "brace";
      }
      if (stream.eatSpace()) return null;
      if (stream.match(/^"(?:[^"\\]|\\.)*"?|^'(?:[^'\\]|\\.)*'?/)) return "string";
      if (stream.match(/^\d+(\.\d+)?([eE][+-]?\d+)?/)) return "number";
      if (stream.match(WORDS)) return "keyword";
      if (stream.match(/^[A-Za-z_]\w*(?=\()/)) return "function";
      if (stream.match(/^[A-Za-z_]\w*/)) return "variableName";
      stream.next();
      return "operator";
    },
    tokenTable: { function: tags.function(tags.variableName), brace: tags.brace },
  };
}

const LANGUAGES: Record<CodeKind, Extension> = {
  expression: StreamLanguage.define(celParser(false)),
  template: StreamLanguage.define(celParser(true)),
  json: json(),
};

const COLORS = HighlightStyle.define([
  { tag: tags.string, class: "tok-string" },
  { tag: tags.number, class: "tok-number" },
  { tag: [tags.keyword, tags.bool, tags.null], class: "tok-word" },
  { tag: tags.function(tags.variableName), class: "tok-function" },
  { tag: tags.brace, class: "tok-brace" },
  { tag: tags.propertyName, class: "tok-property" },
]);

function complete(kind: CodeKind, scope: () => Scope): (context: CompletionContext) => CompletionResult | null {
  return (context) => {
    const text = context.state.sliceDoc(0, context.pos);
    const open = text.lastIndexOf("{{");
    if (kind !== "expression" && (open < 0 || text.indexOf("}}", open) >= 0)) return null;
    const start = kind === "expression" ? 0 : open + 2;
    const { from, options } = completionsAt(text.slice(start), scope(), useEditor.getState().callables);
    if (!context.explicit && start + from === context.pos && !/[.{]$/.test(text.trimEnd())) return null;
    return {
      from: start + from,
      options: options.map((one): Completion => ({
        label: one.label,
        type: one.kind,
        ...(one.detail ? { detail: one.detail } : {}),
        ...(one.info ? { info: one.info } : {}),
        ...(one.text === undefined ? {} : { apply: writes(one.text, one.overDot === true) }),
      })),
      validFor: /^\w*$/,
    };
  };
}

/** Writes a completion; a call is closed behind the cursor. */
function writes(text: string, overDot: boolean): (view: EditorView, completion: Completion, from: number, to: number) => void {
  return (view, completion, from, to) => {
    const start = overDot ? from - 1 : from;
    const insert = text.endsWith("(") ? `${text})` : text;
    view.dispatch({
      changes: { from: start, to, insert },
      selection: { anchor: start + text.length },
      annotations: pickedCompletion.of(completion),
    });
  };
}

export default function CodeField(props: CodeFieldProps): ReactElement {
  const { value, kind, label, describedBy, invalid = false, placeholder, lines = 1 } = props;
  const box = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView | null>(null);
  const latest = useRef(props);
  latest.current = props;
  const attributes = useRef(new Compartment());

  // A field does not become another one, and lose the cursor, because a line was added to what it holds.
  const single = lines === 1 && kind === "expression";
  // Before anything is shown, as nobody may find an empty place by Tab where the plain field was.
  useLayoutEffect(() => {
    const made = new EditorView({
      parent: box.current!,
      state: EditorState.create({
        doc: latest.current.value,
        extensions: [
          nonce(),
          LANGUAGES[kind],
          syntaxHighlighting(COLORS),
          history(),
          closeBrackets(),
          autocompletion({ override: [complete(kind, () => latest.current.scope)], icons: false }),
          keymap.of([...defaultKeymap, ...historyKeymap]),
          EditorView.lineWrapping,
          ...(placeholder ? [placeholderOf(placeholder)] : []),
          ...(single ? [EditorState.transactionFilter.of((tr) => (tr.newDoc.lines > 1 ? [] : tr))] : []),
          attributes.current.of([]),
          EditorView.updateListener.of((update) => {
            if (update.docChanged) latest.current.onChange(update.state.doc.toString());
            if (update.focusChanged && !update.view.hasFocus) latest.current.onBlur?.();
          }),
        ],
      }),
    });
    view.current = made;
    const { goesOn } = latest.current;
    if (goesOn?.current && document.activeElement === document.body) {
      made.dispatch({ selection: { anchor: made.state.doc.length } });
      made.focus();
    }
    if (goesOn) goesOn.current = false;
    return () => made.destroy();
  }, [kind, single, placeholder]);

  useLayoutEffect(() => {
    view.current?.dispatch({
      effects: attributes.current.reconfigure(
        EditorView.contentAttributes.of({
          "aria-label": label,
          "aria-invalid": String(invalid),
          ...(describedBy ? { "aria-describedby": describedBy } : {}),
        }),
      ),
    });
  }, [label, invalid, describedBy]);

  useEffect(() => {
    const now = view.current;
    // What the person is typing is newer than what comes back from the document.
    if (now && !now.hasFocus && now.state.doc.toString() !== value) {
      now.dispatch({ changes: { from: 0, to: now.state.doc.length, insert: value } });
    }
  }, [value]);

  return <div ref={box} className={`code ${invalid ? "invalid" : ""}`} style={{ minHeight: `${lines * 1.5 + 0.9}rem` }} />;
}
