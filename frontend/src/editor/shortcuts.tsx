// The keys of the editor, in one table: the listener and the sheet are made from it.

import { type ReactElement, useEffect } from "react";

import { Dialog } from "../shared/Dialog";
import * as actions from "./actions";
import { useEditor } from "./store";

interface Shortcut {
  keys: string[];
  shown: string;
  help: string;
  group: string;
  run: () => unknown;
}

const state = () => useEditor.getState();

export const SHORTCUTS: Shortcut[] = [
  { keys: ["/"], shown: "/", help: "Add a node, after the chosen one or into the chosen edge", group: "Build", run: actions.openPalette },
  { keys: ["c"], shown: "C", help: "Connect the chosen node to another", group: "Build", run: connect },
  { keys: ["Delete", "Backspace"], shown: "Del", help: "Delete what is chosen", group: "Build", run: () => actions.remove() },
  { keys: ["Shift+Delete", "Shift+Backspace"], shown: "Shift Del", help: "Delete nodes and join what was around them", group: "Build", run: () => actions.remove(true) },
  { keys: ["Mod+d"], shown: "Ctrl D", help: "Duplicate", group: "Build", run: actions.duplicate },
  { keys: ["Mod+x"], shown: "Ctrl X", help: "Cut", group: "Build", run: actions.cut },
  { keys: ["Mod+c"], shown: "Ctrl C", help: "Copy as JSON text, also for other workflows", group: "Build", run: actions.copy },
  { keys: ["Mod+v"], shown: "Ctrl V", help: "Paste nodes, also into a chosen empty body", group: "Build", run: () => undefined },
  { keys: ["n"], shown: "N", help: "Add a sticky note", group: "Build", run: () => actions.addNote() },
  { keys: ["g"], shown: "G", help: "Group the chosen nodes", group: "Build", run: actions.group },
  { keys: ["Mod+z"], shown: "Ctrl Z", help: "Undo", group: "History", run: () => state().undo() },
  { keys: ["Mod+Shift+z", "Mod+y"], shown: "Ctrl Shift Z", help: "Redo", group: "History", run: () => state().redo() },
  { keys: ["Mod+s"], shown: "Ctrl S", help: "Save the draft now (it is also saved by itself)", group: "History", run: () => document.dispatchEvent(new Event("aob-save")) },
  { keys: ["ArrowRight"], shown: "→", help: "To the node that follows", group: "Walk", run: () => actions.walk("right") },
  { keys: ["ArrowLeft"], shown: "←", help: "To the node before", group: "Walk", run: () => actions.walk("left") },
  { keys: ["ArrowDown"], shown: "↓", help: "To the node below", group: "Walk", run: () => actions.walk("down") },
  { keys: ["ArrowUp"], shown: "↑", help: "To the node above", group: "Walk", run: () => actions.walk("up") },
  { keys: ["Mod+ArrowDown"], shown: "Ctrl ↓", help: "Into a map or loop", group: "Walk", run: actions.enter },
  { keys: ["Mod+ArrowUp", "Escape"], shown: "Esc", help: "Out of it; choose nothing", group: "Walk", run: actions.leave },
  { keys: ["Mod+a"], shown: "Ctrl A", help: "Choose all nodes of this graph", group: "Walk", run: actions.selectAll },
  { keys: ["Mod+f"], shown: "Ctrl F", help: "Find a node", group: "Walk", run: () => state().open({ kind: "find" }) },
  { keys: ["Enter"], shown: "Enter", help: "Settings of what is chosen", group: "Look", run: toForm },
  { keys: ["p"], shown: "P", help: "Problems", group: "Look", run: () => state().show(state().panel === "problems" ? null : "problems") },
  { keys: ["j"], shown: "J", help: "The document as JSON", group: "Look", run: () => state().show(state().panel === "json" ? null : "json") },
  { keys: ["v"], shown: "V", help: "Versions", group: "Look", run: () => state().show(state().panel === "versions" ? null : "versions") },
  { keys: ["w"], shown: "W", help: "Settings of the workflow", group: "Look", run: () => state().show(state().panel === "settings" ? null : "settings") },
  { keys: ["a"], shown: "A", help: "Arrange the nodes", group: "Look", run: () => actions.arrange() },
  { keys: ["0"], shown: "0", help: "Show everything", group: "Look", run: () => document.dispatchEvent(new Event("aob-fit")) },
  { keys: ["+", "="], shown: "+", help: "Zoom in", group: "Look", run: () => document.dispatchEvent(new CustomEvent("aob-zoom", { detail: 1.25 })) },
  { keys: ["-"], shown: "-", help: "Zoom out", group: "Look", run: () => document.dispatchEvent(new CustomEvent("aob-zoom", { detail: 0.8 })) },
  { keys: ["Mod+Enter"], shown: "Ctrl Enter", help: "Run the workflow", group: "Run", run: () => state().open({ kind: "run" }) },
  { keys: ["Mod+Shift+Enter"], shown: "Ctrl Shift Enter", help: "Publish", group: "Run", run: () => state().open({ kind: "publish" }) },
  { keys: ["?"], shown: "?", help: "These keys", group: "Look", run: () => state().open({ kind: "shortcuts" }) },
];

function connect(): void {
  const [name] = state().selection.nodes;
  if (name === undefined) state().say("Choose a node first: with the arrow keys or the mouse.", "error");
  else state().open({ kind: "connect", from: name });
}

function toForm(): void {
  state().show("inspector");
  requestAnimationFrame(() => document.querySelector<HTMLElement>(".side input, .side .cm-content, .side select")?.focus());
}

function nameOf(event: KeyboardEvent): string {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const mod = event.ctrlKey || event.metaKey ? "Mod+" : "";
  const isLetter = /^[a-z]$/.test(key);
  const shift = event.shiftKey && (isLetter || event.key.length > 1) ? "Shift+" : "";
  return `${mod}${shift}${key}`;
}

const BY_KEY = new Map(SHORTCUTS.flatMap((one) => one.keys.map((key) => [key, one] as const)));
const PASTES = "Mod+v";

/** Listens while no dialog is open. In a field only Escape and the keys with Ctrl that no field has are ours. */
export function useShortcuts(): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (state().dialog !== null || event.defaultPrevented) return;
      const name = nameOf(event);
      const target = event.target as HTMLElement;
      const isField = target.closest("input, textarea, select, [contenteditable=true]") !== null;
      if (isField && name === "Escape") {
        target.blur();
        document.querySelector<HTMLElement>(".canvas .react-flow")?.focus();
        return;
      }
      if (isField && !["Mod+s", "Mod+Enter", "Mod+Shift+Enter"].includes(name)) return;
      if (target.closest("button, a, summary") !== null && (name === "Enter" || name === " ")) return;
      const found = BY_KEY.get(name);
      if (found === undefined || name === PASTES) return;
      event.preventDefault();
      void found.run();
    };
    const onPaste = (event: ClipboardEvent): void => {
      if (state().dialog !== null || (event.target as HTMLElement).closest("input, textarea, [contenteditable=true]") !== null) return;
      const text = event.clipboardData?.getData("text/plain") ?? "";
      if (text === "") return;
      event.preventDefault();
      actions.pasteText(text);
    };
    document.addEventListener("keydown", onKey);
    document.addEventListener("paste", onPaste);
    return () => {
      document.removeEventListener("keydown", onKey);
      document.removeEventListener("paste", onPaste);
    };
  }, []);
}

export function ShortcutsDialog(): ReactElement | null {
  const dialog = useEditor((now) => now.dialog);
  if (dialog?.kind !== "shortcuts") return null;
  return (
    <Dialog label="Keys" className="sheet" onClose={() => state().open(null)}>
      <h2>Keys</h2>
      <div className="sheet-groups">
        {[...Map.groupBy(SHORTCUTS, (one) => one.group)].map(([group, several]) => (
          <section key={group}>
            <h3>{group}</h3>
            <dl>
              {several.map((one) => (
                <div key={one.shown}>
                  <dt>
                    <kbd>{one.shown}</kbd>
                  </dt>
                  <dd>{one.help}</dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
      <button type="button" onClick={() => state().open(null)}>
        Close
      </button>
    </Dialog>
  );
}
