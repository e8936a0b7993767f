// The keys of the editor, in one table: the listener and the sheet are made from it.

import { type KeyboardEvent as ReactKeyboardEvent, type ReactElement, useEffect } from "react";

import { isGraph, nodeAt, splitPath } from "../model/document";
import { Dialog } from "../shared/Dialog";
import { X } from "../shared/icons";
import * as actions from "./actions";
import { type EditorState, type Panel, useEditor } from "./store";
import { togglePin, tryNode } from "./trying";

interface Shortcut {
  keys: string[];
  shown: string;
  help: string;
  group: string;
  run: () => unknown;
  /** What it is called in the menu of a node, where it stands there. */
  menu?: string;
}

const state = (): EditorState => useEditor.getState();
const PASTES = "Mod+v";

const panel = (name: Panel) => (): void => state().show(state().panel === name ? null : name);
const tell = (name: string, detail?: unknown) => (): void => void document.dispatchEvent(new CustomEvent(name, { detail }));
const GRID = 8;

export const SHORTCUTS: Shortcut[] = [
  { keys: ["/"], shown: "/", help: "Add a node, after the chosen one or into the chosen edge", group: "Build", run: actions.openPalette, menu: "Add what follows" },
  { keys: ["c"], shown: "C", help: "Connect the chosen node to another", group: "Build", run: connect, menu: "Connect to …" },
  { keys: ["e"], shown: "E", help: "Choose an edge of the chosen node", group: "Build", run: actions.chooseEdge, menu: "Its edges" },
  { keys: ["Delete", "Backspace"], shown: "Del", help: "Delete what is chosen", group: "Build", run: () => actions.remove(), menu: "Delete" },
  { keys: ["Shift+Delete", "Shift+Backspace"], shown: "Shift Del", help: "Delete nodes and join what was around them", group: "Build", run: () => actions.remove(true), menu: "Delete, and join what is around" },
  { keys: ["Mod+d"], shown: "Ctrl D", help: "Duplicate", group: "Build", run: actions.duplicate, menu: "Duplicate" },
  { keys: ["Mod+x"], shown: "Ctrl X", help: "Cut", group: "Build", run: actions.cut, menu: "Cut" },
  { keys: ["Mod+c"], shown: "Ctrl C", help: "Copy as JSON text, also for other workflows", group: "Build", run: actions.copy, menu: "Copy" },
  { keys: [PASTES], shown: "Ctrl V", help: "Paste nodes, also into a chosen empty body", group: "Build", run: () => undefined },
  { keys: ["m"], shown: "M", help: "Move into a map or loop, or out of it", group: "Build", run: actions.moveChosen, menu: "Move into a map or loop, or out" },
  { keys: ["n"], shown: "N", help: "Add a sticky note", group: "Build", run: () => actions.addNote() },
  { keys: ["g"], shown: "G", help: "Group the chosen nodes", group: "Build", run: actions.group, menu: "Group" },
  { keys: ["Mod+z"], shown: "Ctrl Z", help: "Undo", group: "History", run: () => state().undo() },
  { keys: ["Mod+Shift+z", "Mod+y"], shown: "Ctrl Shift Z", help: "Redo", group: "History", run: () => state().redo() },
  { keys: ["Mod+s"], shown: "Ctrl S", help: "Save the draft now (it is also saved by itself)", group: "History", run: tell("aob-save") },
  { keys: ["ArrowRight"], shown: "→", help: "To the node that follows", group: "Walk", run: () => actions.walk("right") },
  { keys: ["ArrowLeft"], shown: "←", help: "To the node before", group: "Walk", run: () => actions.walk("left") },
  { keys: ["ArrowDown"], shown: "↓", help: "To the node below", group: "Walk", run: () => actions.walk("down") },
  { keys: ["ArrowUp"], shown: "↑", help: "To the node above", group: "Walk", run: () => actions.walk("up") },
  { keys: ["Shift+ArrowRight"], shown: "Shift →", help: "Choose everything after it too", group: "Walk", run: () => actions.extend("right") },
  { keys: ["Shift+ArrowLeft"], shown: "Shift ←", help: "Choose everything before it too", group: "Walk", run: () => actions.extend("left") },
  { keys: ["Shift+ArrowDown"], shown: "Shift ↓", help: "Choose the node below too", group: "Walk", run: () => actions.extend("down") },
  { keys: ["Shift+ArrowUp"], shown: "Shift ↑", help: "Choose the node above too", group: "Walk", run: () => actions.extend("up") },
  { keys: ["Mod+ArrowDown"], shown: "Ctrl ↓", help: "Into a map or loop; look into a sub-workflow", group: "Walk", run: actions.enter },
  { keys: ["Mod+ArrowUp", "Escape"], shown: "Esc", help: "Out of it; choose nothing", group: "Walk", run: actions.leave },
  { keys: ["Mod+a"], shown: "Ctrl A", help: "Choose all nodes of this graph", group: "Walk", run: actions.selectAll },
  { keys: ["Mod+f"], shown: "Ctrl F", help: "Find a node", group: "Walk", run: () => state().open({ kind: "find" }) },
  { keys: ["Alt+ArrowRight"], shown: "Alt →", help: "Move by a step; the same with the other arrows", group: "Place", run: () => actions.nudge(GRID, 0) },
  { keys: ["Alt+ArrowLeft"], shown: "", help: "", group: "Place", run: () => actions.nudge(-GRID, 0) },
  { keys: ["Alt+ArrowDown"], shown: "", help: "", group: "Place", run: () => actions.nudge(0, GRID) },
  { keys: ["Alt+ArrowUp"], shown: "", help: "", group: "Place", run: () => actions.nudge(0, -GRID) },
  { keys: ["x"], shown: "X", help: "Align the chosen nodes in a column", group: "Place", run: () => actions.align("x") },
  { keys: ["y"], shown: "Y", help: "Align them in a row", group: "Place", run: () => actions.align("y") },
  { keys: ["Shift+x"], shown: "Shift X", help: "Equal gaps from left to right", group: "Place", run: () => actions.distribute("x") },
  { keys: ["Shift+y"], shown: "Shift Y", help: "Equal gaps from top to bottom", group: "Place", run: () => actions.distribute("y") },
  { keys: ["a"], shown: "A", help: "Arrange all nodes", group: "Place", run: () => actions.arrange() },
  { keys: ["o"], shown: "O", help: "Open or close a map, a loop or a group", group: "Place", run: actions.toggleOpen, menu: "Open or close" },
  { keys: ["Enter"], shown: "Enter", help: "Settings of what is chosen; write in a note", group: "Look", run: () => actions.openForm(), menu: "Settings" },
  { keys: ["F2"], shown: "F2", help: "Rename the chosen node", group: "Look", run: () => actions.openForm('.side input[name="id"]'), menu: "Rename" },
  { keys: ["p"], shown: "P", help: "Problems", group: "Look", run: panel("problems") },
  { keys: ["j"], shown: "J", help: "The document as JSON", group: "Look", run: panel("json") },
  { keys: ["v"], shown: "V", help: "Versions", group: "Look", run: panel("versions") },
  { keys: ["w"], shown: "W", help: "Settings of the workflow", group: "Look", run: panel("settings") },
  { keys: ["0"], shown: "0", help: "Show everything", group: "Look", run: tell("aob-fit") },
  { keys: ["+", "="], shown: "+", help: "Zoom in", group: "Look", run: tell("aob-zoom", 1.25) },
  { keys: ["-"], shown: "-", help: "Zoom out", group: "Look", run: tell("aob-zoom", 0.8) },
  { keys: ["Shift+F10", "ContextMenu"], shown: "Shift F10", help: "The menu of the chosen node", group: "Look", run: openMenu },
  { keys: ["?"], shown: "?", help: "These keys", group: "Look", run: () => state().open({ kind: "shortcuts" }) },
  { keys: ["t"], shown: "T", help: "Try the chosen node alone", group: "Run", run: attempt("node"), menu: "Try it alone" },
  { keys: ["Shift+t"], shown: "Shift T", help: "Run to the chosen node", group: "Run", run: attempt("until"), menu: "Run to here" },
  { keys: ["k"], shown: "K", help: "Keep the chosen node's output for tries (pin), or let it go", group: "Run", run: pinChosen, menu: "Pin or unpin its output" },
  { keys: ["Mod+Enter"], shown: "Ctrl Enter", help: "Run the workflow", group: "Run", run: () => state().open({ kind: "run" }) },
  { keys: ["Mod+Shift+Enter"], shown: "Ctrl Shift Enter", help: "Publish", group: "Run", run: () => state().open({ kind: "publish" }) },
];

function attempt(mode: "node" | "until"): () => void {
  return () => {
    const [name] = state().selection.nodes;
    if (name === undefined) state().say("Choose a node first.", "error");
    else void tryNode(name, mode);
  };
}

/** Beside the node, as far as it can be seen. */
function openMenu(): void {
  const [name] = state().selection.nodes;
  if (name === undefined) return state().say("Choose a node first.", "error");
  const box = document.querySelector(`[data-node="${CSS.escape(name)}"]`)?.getBoundingClientRect();
  state().open({ kind: "menu", of: name, ...(box && { at: { x: box.left + 24, y: box.top + 40 } }) });
}

const MENU = ["Settings", "Rename", "Add what follows", "Connect to …", "Its edges", "Try it alone", "Run to here", "Pin or unpin its output", "Open or close", "Duplicate", "Copy", "Cut", "Move into a map or loop, or out", "Group", "Delete", "Delete, and join what is around"];

/** What can be done with a node, and by which keys. */
export function NodeMenu(): ReactElement | null {
  const dialog = useEditor((now) => now.dialog);
  if (dialog?.kind !== "menu") return null;
  const { path, id } = splitPath(dialog.of);
  const hasBody = isGraph(nodeAt(state().history.present, dialog.of)?.config?.["body"]);
  const entries = MENU.flatMap((label) => SHORTCUTS.find((one) => one.menu === label) ?? []).filter(
    ({ menu }) => (menu !== "Open or close" || hasBody) && (path.length === 0 || (menu !== "Run to here" && menu !== "Group")),
  );
  const step = (event: ReactKeyboardEvent<HTMLDivElement>): void => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    const items = [...event.currentTarget.querySelectorAll("button")];
    items[(items.indexOf(document.activeElement as HTMLButtonElement) + by + items.length) % items.length]?.focus();
  };
  return (
    <Dialog label={`Menu of ${id}`} className="menu-dialog" at={dialog.at} onClose={() => state().open(null)}>
      <div role="menu" aria-label={`Menu of ${id}`} onKeyDown={step}>
        {entries.map((one, index) => (
          <button
            key={one.menu}
            type="button"
            role="menuitem"
            autoFocus={index === 0}
            className={one.menu?.startsWith("Delete") ? "danger" : ""}
            onClick={() => {
              state().open(null);
              void one.run();
            }}
          >
            {one.menu} <kbd>{one.shown}</kbd>
          </button>
        ))}
      </div>
    </Dialog>
  );
}

function pinChosen(): void {
  const [name] = state().selection.nodes;
  if (name !== undefined) togglePin(name);
}

function connect(): void {
  const [name] = state().selection.nodes;
  if (name === undefined) state().say("Choose a node first: with the arrow keys or the mouse.", "error");
  else state().open({ kind: "connect", from: name });
}

function nameOf(event: KeyboardEvent): string {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const mod = event.ctrlKey || event.metaKey ? "Mod+" : "";
  const isLetter = /^[a-z]$/.test(key);
  const alt = event.altKey && !isLetter && key.length > 1 ? "Alt+" : "";
  const shift = event.shiftKey && (isLetter || event.key.length > 1) ? "Shift+" : "";
  return `${mod}${alt}${shift}${key}`;
}

const BY_KEY = new Map(SHORTCUTS.flatMap((one) => one.keys.map((key) => [key, one] as const)));
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
      if (event.altKey && !name.startsWith("Alt+")) return;
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
      <div className="dialog-head">
        <h2>Keys</h2>
        <button type="button" className="icon" aria-label="Close" onClick={() => state().open(null)}>
          <X size={16} aria-hidden="true" />
        </button>
      </div>
      <div className="sheet-groups">
        {[...Map.groupBy(SHORTCUTS, (one) => one.group)].map(([group, several]) => (
          <section key={group}>
            <h3>{group}</h3>
            <dl>
              {several.filter((one) => one.shown !== "").map((one) => (
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
    </Dialog>
  );
}
