// What the editor can do, each with a name, its keys and its help: the toolbar, the keyboard and the shortcuts sheet use these.

import { clip, paste, readClip } from "../model/clipboard";
import { at as under, BODY_TYPES, graphAt, isGraph, joinPath, nodeAt, splitPath, type WorkflowDoc } from "../model/document";
import * as edits from "../model/edits";
import { BODY_MARGIN, BODY_TOP, laidOut, NODE_HEIGHT, NODE_WIDTH, placesOf } from "../model/layout";
import { portsOf } from "../model/types";
import { closedSize, nodeSize } from "./flow";
import { currentPath, type EditorState, splitEdge, useEditor } from "./store";

const state = (): EditorState => useEditor.getState();

export interface AddOptions {
  path: readonly string[];
  at?: edits.Point;
  from?: { name: string; port: string };
  /** The node that it leads to. */
  to?: string;
  edge?: { path: readonly string[]; id: string };
}

/** Adds a node of this type where the options say, connects it, chooses it and opens its form. */
export function addFromPalette(typeName: string, options: AddOptions): void {
  const { registry, edit, select, show, history } = state();
  const type = registry.get(typeName);
  if (type === undefined) return;
  const at = options.at ?? freePlace(history.present, options);
  let added = "";
  edit(`Add ${type.title}`, (doc) => {
    const made = edits.addNode(doc, options.path, edits.blankNode(type), at, typeName.split(".").pop());
    added = joinPath(options.path, made.id);
    let next = made.doc;
    if (options.edge !== undefined) next = edits.splice(next, options.path, options.edge.id, made.id);
    if (options.from !== undefined) {
      const { id } = splitPath(options.from.name);
      next = edits.addEdge(next, options.path, { from: id, to: made.id, port: options.from.port }).doc;
    }
    if (options.to !== undefined) {
      const [port] = portsOf(edits.blankNode(type), registry);
      next = edits.addEdge(next, options.path, { from: made.id, to: splitPath(options.to).id, port: port ?? "out" }).doc;
    }
    return next;
  });
  if (added !== "") {
    select({ nodes: [added] });
    show("inspector");
  }
}

/** Right of what it follows, or right of everything; never upon another node. */
function freePlace(doc: WorkflowDoc, options: AddOptions): edits.Point {
  const places = placesOf(doc);
  const prefix = options.path.length > 0 ? `${options.path.join("/")}/` : "";
  const inside = options.path.length > 0;
  const siblings = Object.entries(places).filter(
    ([name]) => name.startsWith(prefix) && !name.slice(prefix.length).includes("/") && name !== prefix,
  );
  const start = inside ? { x: BODY_MARGIN, y: BODY_TOP } : { x: 0, y: 0 };
  let at = siblings.length === 0 ? start : { x: Math.max(...siblings.map(([, p]) => p.x)) + NODE_WIDTH + 72, y: start.y };
  const from = options.from?.name ?? (options.edge ? joinPath(options.path, under(graphAt(doc, options.path)?.edges, options.edge.id)?.from ?? "") : undefined);
  const before = from === undefined ? undefined : under(places, from);
  if (before !== undefined) at = { x: before.x + (before.w ?? NODE_WIDTH) + 72, y: before.y };
  while (siblings.some(([, p]) => Math.abs(p.x - at.x) < NODE_WIDTH && Math.abs(p.y - at.y) < NODE_HEIGHT + 24)) {
    at = { x: at.x, y: at.y + NODE_HEIGHT + 40 };
  }
  return at;
}

export function remove(keepFlow = false): void {
  const { selection, edit, select, history } = state();
  const count = selection.nodes.length + selection.edges.length + selection.notes.length;
  if (count === 0) return;
  edit(count === 1 ? "Delete" : `Delete ${count} things`, (doc) => {
    let next = doc;
    for (const name of selection.edges) {
      const { path, id } = splitEdge(name);
      next = edits.removeEdges(next, path, [id]);
    }
    next = keepFlow ? edits.removeKeepingFlow(next, selection.nodes) : edits.removeNodes(next, selection.nodes);
    return selection.notes.length > 0 ? edits.removeNotes(next, selection.notes) : next;
  });
  // In a run's graph what has begun stays, and stays chosen.
  if (state().history.present !== history.present) select({});
}

export async function copy(): Promise<boolean> {
  const { selection, history, say } = state();
  const copied = clip(history.present, selection.nodes, selection.notes);
  if (copied === null) return false;
  await navigator.clipboard.writeText(JSON.stringify(copied, null, 2));
  const count = selection.nodes.length + selection.notes.length;
  say(`Copied ${count === 1 ? "1 node" : `${count} nodes`} as JSON text.`);
  return true;
}

export async function cut(): Promise<void> {
  if (await copy()) remove();
}

export async function pasteClipboard(): Promise<void> {
  pasteText(await navigator.clipboard.readText());
}

export function pasteText(text: string): void {
  const { edit, select, registry, say, selection, history } = state();
  const found = readClip(text);
  if (found === null) {
    say("The clipboard holds no nodes: copy some here, or the JSON of a workflow.", "error");
    return;
  }
  const path = target(state());
  let names: string[] = [];
  edit("Paste", (doc) => {
    const anchor = selection.nodes[0] === undefined ? undefined : under(doc.layout, selection.nodes[0]);
    const at = anchor && path.length === splitPath(selection.nodes[0]!).path.length ? { x: anchor.x + 32, y: anchor.y + 96 } : freePlace(history.present, { path });
    const pasted = paste(doc, path, found, at, registry);
    names = pasted.names;
    return pasted.doc;
  });
  select({ nodes: names });
}

/** Where something new goes: into the chosen body if it is open and empty, else beside the chosen node. */
function target(now: EditorState): string[] {
  const [name] = now.selection.nodes;
  if (name !== undefined && now.selection.nodes.length === 1) {
    const { path, id } = splitPath(name);
    const body = graphAt(now.history.present, [...path, id]);
    if (body !== undefined && Object.keys(body.nodes).length === 0) return [...path, id];
  }
  return currentPath(now);
}

export function duplicate(): void {
  const { selection, history, edit, select, registry } = state();
  const copied = clip(history.present, selection.nodes, selection.notes);
  const [first] = selection.nodes;
  if (copied === null) return;
  const path = first === undefined ? [] : splitPath(first).path;
  let names: string[] = [];
  edit("Duplicate", (doc) => {
    const tops = Object.entries(copied.layout).filter(([key]) => !key.includes("/"));
    const x = Math.min(...tops.map(([, place]) => place.x), ...Object.values(copied.notes).map((note) => note.x));
    const y = Math.max(...tops.map(([, place]) => place.y), ...Object.values(copied.notes).map((note) => note.y));
    const pasted = paste(doc, path, copied, { x: Number.isFinite(x) ? x : 0, y: (Number.isFinite(y) ? y : 0) + 112 }, registry);
    names = pasted.names;
    return pasted.doc;
  });
  select({ nodes: names });
}

export function selectAll(): void {
  const now = state();
  const path = currentPath(now);
  const graph = graphAt(now.history.present, path);
  now.select({
    nodes: Object.keys(graph?.nodes ?? {}).map((id) => joinPath(path, id)),
    notes: path.length === 0 ? Object.keys(now.history.present.notes ?? {}) : [],
  });
}

/** Lays the nodes out. When a document without places is opened that is no edit: nobody has changed anything. */
export async function arrange(isOpening = false): Promise<void> {
  const { history, edit, say, registry, replace } = state();
  const doc = history.present;
  if (Object.keys(doc.nodes).length === 0) return;
  const layout = await laidOut({ ...doc, layout: { ...placesOf(doc) } }, [], (name) => closedSize(doc, name, registry));
  if (state().history.present !== doc) return;
  if (isOpening && history.past.length === 0) {
    const { selection, select } = state();
    replace({ ...doc, layout: { ...doc.layout, ...layout } });
    select(selection);
    requestAnimationFrame(() => document.dispatchEvent(new Event("aob-fit")));
    return;
  }
  edit("Arrange", (now) => ({ ...now, layout: { ...now.layout, ...layout } }));
  requestAnimationFrame(() => document.dispatchEvent(new Event("aob-fit")));
  say("Arranged.");
}

function chosenBoxes(): { name: string; x: number; y: number; w: number; h: number }[] {
  const { selection, history, registry } = state();
  const doc = history.present;
  const places = placesOf(doc);
  return selection.nodes.flatMap((name) => {
    const place = under(places, name);
    const node = nodeAt(doc, name);
    if (place === undefined || node === undefined) return [];
    const size = nodeSize(portsOf(node, registry).filter((port) => port !== "error").length);
    const isOpen = place.open === true && isGraph(node.config?.["body"]);
    return [{ name, x: place.x, y: place.y, w: (isOpen ? place.w : undefined) ?? size.width, h: (isOpen ? place.h : undefined) ?? size.height }];
  });
}

/** Gives the chosen nodes one left edge (`x`: a column) or one upper edge (`y`: a row). */
export function align(axis: "x" | "y"): void {
  const chosen = chosenBoxes();
  if (chosen.length < 2) {
    state().say("Choose two nodes or more: with Shift and a click, or Shift and the arrow keys.");
    return;
  }
  const to = Math.min(...chosen.map((one) => one[axis]));
  state().edit(axis === "x" ? "Align in a column" : "Align in a row", (doc) =>
    edits.movePlaces(doc, Object.fromEntries(chosen.map((one) => [one.name, { x: one.x, y: one.y, [axis]: to }]))),
  );
}

/** Makes the gaps between the chosen nodes equal; the first and the last stay. */
export function distribute(axis: "x" | "y"): void {
  const size = axis === "x" ? "w" : "h";
  const chosen = chosenBoxes().sort((one, other) => one[axis] - other[axis]);
  if (chosen.length < 3) {
    state().say("Choose three nodes or more.");
    return;
  }
  const [first, last] = [chosen[0]!, chosen.at(-1)!];
  const room = last[axis] - first[axis] - first[size];
  const filled = chosen.slice(1, -1).reduce((sum, one) => sum + one[size], 0);
  const gap = (room - filled) / (chosen.length - 1);
  let next = first[axis];
  const points = chosen.map((one): [string, edits.Point] => {
    const point = { x: one.x, y: one.y, [axis]: next };
    next += one[size] + gap;
    return [one.name, point];
  });
  state().edit("Distribute", (doc) => edits.movePlaces(doc, Object.fromEntries(points)));
}

/** Moves what is chosen by so much; one key after the other is one step of undo. */
export function nudge(dx: number, dy: number): void {
  const { selection, edit } = state();
  if (selection.nodes.length + selection.notes.length === 0) return;
  edit(
    "Move",
    (doc) => {
      const places = placesOf(doc);
      const points = Object.fromEntries(
        selection.nodes.flatMap((name) => {
          const place = under(places, name);
          return place === undefined ? [] : [[name, { x: place.x + dx, y: place.y + dy }]];
        }),
      );
      return selection.notes.reduce((next, id) => {
        const note = under(next.notes, id);
        return note === undefined ? next : edits.setNote(next, id, { x: note.x + dx, y: note.y + dy });
      }, edits.movePlaces(doc, points));
    },
    `nudge:${[...selection.nodes, ...selection.notes].join()}`,
  );
}

/** Every map and loop into which the chosen nodes may go, and the canvas. */
export function graphsToMoveTo(names: readonly string[]): { path: string[]; title: string }[] {
  const doc = state().history.present;
  const home = splitPath(names[0] ?? "").path.join("/");
  const found: { path: string[]; title: string }[] = [];
  const walk = (path: string[]): void => {
    if (path.join("/") !== home && edits.moveRefusal(doc, names, path) === null) {
      const title = path.length === 0 ? "Out, onto the canvas" : nodeAt(doc, path.join("/"))?.title || path.at(-1)!;
      found.push({ path, title });
    }
    for (const [id, node] of Object.entries(graphAt(doc, path)?.nodes ?? {})) if (isGraph(node.config?.["body"])) walk([...path, id]);
  };
  walk([]);
  return found;
}

export function moveTo(names: readonly string[], path: readonly string[]): void {
  const { edit, select, say, history } = state();
  const start = freePlace(history.present, { path });
  let [after, lost]: [string[], number] = [[], 0];
  edit(path.length > 0 ? `Move into ${path.at(-1)}` : "Move out", (doc) => {
    const points = Object.fromEntries(names.map((name, index) => [name, { x: start.x, y: start.y + index * (NODE_HEIGHT + 32) }]));
    const opened = path.length > 0 ? edits.setPlace(doc, path.join("/"), { open: true }) : doc;
    const result = edits.moveNodes(opened, names, path, points);
    [after, lost] = [result.names, result.lost];
    return result.doc;
  });
  select({ nodes: after });
  const gone = lost === 0 ? "" : ` ${lost === 1 ? "One edge" : `${lost} edges`} across the border went; undo brings them back.`;
  say(`${path.length > 0 ? `Moved into ${path.at(-1)}` : "Moved out"}.${gone}`);
}

export function moveChosen(): void {
  const { selection, say, open } = state();
  if (selection.nodes.length === 0) say("Choose a node first.", "error");
  else if (graphsToMoveTo(selection.nodes).length === 0) say("There is no map or loop into which it could go.");
  else open({ kind: "move", names: selection.nodes });
}

/** Opens or closes the body of a map or loop, or a group. */
export function toggleOpen(): void {
  const { selection, history, edit } = state();
  const doc = history.present;
  for (const id of selection.notes) {
    const note = under(doc.notes, id);
    if (note?.kind !== "group") continue;
    edit(note.collapsed ? "Open a group" : "Close a group", (now) => edits.setNote(now, id, { collapsed: note.collapsed ? (undefined as never) : true }));
    return;
  }
  const [name] = selection.nodes;
  if (name === undefined || !isGraph(nodeAt(doc, name)?.config?.["body"])) return;
  const isOpen = under(placesOf(doc), name)?.open === true;
  edit(isOpen ? "Close" : "Open", (now) => edits.setPlace(now, name, { ...under(placesOf(now), name), open: isOpen ? (undefined as never) : true }));
}

/** Opens whatever hides a node: bodies around it, its group. That is no edit of anybody's, and no step of undo. */
export function reveal(name: string): void {
  const { history, set } = state();
  let doc = history.present;
  const { path } = splitPath(name);
  for (let depth = 1; depth <= path.length; depth++) {
    const owner = path.slice(0, depth).join("/");
    if (!under(placesOf(doc), owner)?.open) doc = edits.setPlace(doc, owner, { ...under(placesOf(doc), owner), open: true });
  }
  const top = name.split("/")[0]!;
  for (const [id, note] of Object.entries(doc.notes ?? {})) {
    if (note.collapsed && note.nodes?.includes(top)) doc = edits.setNote(doc, id, { collapsed: undefined as never });
  }
  if (doc !== history.present) set({ history: { ...history, present: doc } });
}

/** Shows the workflow that a sub-workflow node runs, beside the canvas. */
export function peek(): void {
  const { selection, history, show, say } = state();
  const [name] = selection.nodes;
  if (name !== undefined && nodeAt(history.present, name)?.type === "subworkflow") show("peek");
  else say("Choose a node that runs a sub-workflow.");
}

/** Writes in the chosen note; gives the chosen node the keyboard's attention otherwise. */
export function openForm(field?: string): void {
  const { selection, show, set } = state();
  const [note] = selection.notes;
  if (note !== undefined && selection.nodes.length === 0) {
    set({ writing: note });
    return;
  }
  show("inspector");
  requestAnimationFrame(() => {
    const wanted = field ?? ".side input, .side .cm-content, .side select, .side textarea";
    const found = document.querySelector<HTMLElement>(wanted);
    found?.focus();
    if (field !== undefined && found instanceof HTMLInputElement) found.select();
  });
}

/** Adds everything before or after the chosen nodes to what is chosen, or the neighbours above and below. */
export function extend(direction: "left" | "right" | "up" | "down"): void {
  const { selection, history, select } = state();
  const [name] = selection.nodes;
  if (name === undefined) {
    walk(direction);
    return;
  }
  const { path } = splitPath(name);
  const graph = graphAt(history.present, path);
  const edges = Object.values(graph?.edges ?? {});
  const found = new Set(selection.nodes.map((one) => splitPath(one).id));
  if (direction === "up" || direction === "down") {
    walk(direction, selection.nodes.at(-1));
    const [next] = state().selection.nodes;
    select({ ...selection, nodes: [...new Set([...selection.nodes, ...(next === undefined ? [] : [next])])] });
    return;
  }
  const open = [...found];
  while (open.length > 0) {
    const here = open.pop()!;
    for (const edge of edges) {
      const [from, to] = direction === "right" ? [edge.from, edge.to] : [edge.to, edge.from];
      if (from === here && !found.has(to)) {
        found.add(to);
        open.push(to);
      }
    }
  }
  select({ ...selection, nodes: [...found].map((id) => joinPath(path, id)) });
}

/** Lists the edges at the chosen node, to choose one with the keyboard. */
export function chooseEdge(): void {
  const { selection, say, open } = state();
  const [name] = selection.nodes;
  if (name === undefined) say("Choose a node first; this lists its edges.", "error");
  else open({ kind: "edges", of: name });
}

export function group(): void {
  const { selection, edit, history, select, say } = state();
  const places = placesOf(history.present);
  const chosen = selection.nodes.filter((name) => !name.includes("/") && places[name] !== undefined);
  if (chosen.length === 0) {
    say("Choose the nodes of the group first; they stand on the canvas, not in a map or loop.");
    return;
  }
  const xs = chosen.map((name) => places[name]!.x);
  const ys = chosen.map((name) => places[name]!.y);
  const right = Math.max(...chosen.map((name) => places[name]!.x + (places[name]!.w ?? NODE_WIDTH)));
  const bottom = Math.max(...chosen.map((name) => places[name]!.y + (places[name]!.h ?? NODE_HEIGHT)));
  const [x, y] = [Math.min(...xs) - 24, Math.min(...ys) - 48];
  let id = "";
  edit("Group", (doc) => {
    // A node is in one group at a time.
    const freed = Object.entries(doc.notes ?? {}).reduce(
      (next, [key, note]) => (note.nodes?.some((one) => chosen.includes(one)) ? edits.setNote(next, key, { nodes: note.nodes.filter((one) => !chosen.includes(one)) }) : next),
      doc,
    );
    const made = edits.addNote(freed, { kind: "group", text: "Group", x, y, w: right - x + 24, h: bottom - y + 24, color: "blue", nodes: chosen });
    id = made.id;
    return made.doc;
  });
  select({ notes: [id] });
}

export function addNote(at?: edits.Point): void {
  const { edit, select } = state();
  let id = "";
  edit("Add a note", (doc) => {
    const made = edits.addNote(doc, { text: "", ...(at ?? freePlace(doc, { path: [] })), w: 224, h: 120 });
    id = made.id;
    return made.doc;
  });
  if (id !== "") {
    select({ notes: [id] });
    state().set({ writing: id });
  }
}

/** Chooses the next node in a direction: along edges to the left and right, by place up and down. */
export function walk(direction: "left" | "right" | "up" | "down", start?: string): void {
  const { selection, history, select } = state();
  const doc = history.present;
  const places = placesOf(doc);
  const [edge] = selection.edges;
  if (edge !== undefined && selection.nodes.length === 0) {
    const { path, id } = splitEdge(edge);
    const found = under(graphAt(doc, path)?.edges, id);
    if (found !== undefined) select({ nodes: [joinPath(path, direction === "left" || direction === "up" ? found.from : found.to)] });
    return;
  }
  const name = start ?? selection.nodes[0];
  if (name === undefined) {
    const first = Object.keys(doc.nodes).sort((a, b) => (places[a]?.x ?? 0) - (places[b]?.x ?? 0))[0];
    if (first !== undefined) select({ nodes: [first] });
    return;
  }
  const { path, id } = splitPath(name);
  const graph = graphAt(doc, path);
  const edges = Object.values(graph?.edges ?? {});
  let next: string | undefined;
  if (direction === "right") next = edges.find((edge) => edge.from === id)?.to;
  else if (direction === "left") next = edges.find((edge) => edge.to === id)?.from;
  if (next === undefined) {
    const here = under(places, name) ?? { x: 0, y: 0 };
    const sign = direction === "right" || direction === "down" ? 1 : -1;
    const along = direction === "left" || direction === "right" ? "x" : "y";
    const across = along === "x" ? "y" : "x";
    next = Object.keys(graph?.nodes ?? {})
      .map((other) => ({ other, place: under(places, joinPath(path, other)) ?? { x: 0, y: 0 } }))
      .filter(({ other, place }) => other !== id && sign * (place[along] - here[along]) > 0)
      .sort((a, b) => distance(a.place) - distance(b.place))[0]?.other;
    function distance(place: edits.Point): number {
      return Math.abs(place[along] - here[along]) + 3 * Math.abs(place[across] - here[across]);
    }
  }
  if (next !== undefined) select({ nodes: [joinPath(path, next)] });
}

/** Into an open body from its node, and out of it again. */
export function enter(): void {
  const { selection, history, edit, select, show } = state();
  const [name] = selection.nodes;
  if (name === undefined) return;
  const { path, id } = splitPath(name);
  const node = under(graphAt(history.present, path)?.nodes, id);
  if (node?.type === "subworkflow") show("peek");
  if (node === undefined || !BODY_TYPES.has(node.type)) return;
  if (!under(placesOf(history.present), name)?.open) edit("Open", (doc) => edits.setPlace(doc, name, { ...under(placesOf(doc), name), open: true }));
  const [first] = Object.keys(graphAt(history.present, [...path, id])?.nodes ?? {});
  if (first !== undefined) select({ nodes: [joinPath([...path, id], first)] });
  else state().open({ kind: "palette", path: [...path, id] });
}

export function leave(): void {
  const { selection, select } = state();
  const [name] = selection.nodes;
  const path = name === undefined ? [] : splitPath(name).path;
  if (path.length > 0) select({ nodes: [path.join("/")] });
  else select({});
}

export function openPalette(): void {
  const { selection, open, history, registry } = state();
  const [name] = selection.nodes;
  const [edge] = selection.edges;
  if (edge !== undefined && name === undefined) {
    const found = splitEdge(edge);
    open({ kind: "palette", edge: found, path: found.path });
    return;
  }
  if (name === undefined) {
    open({ kind: "palette", path: [] });
    return;
  }
  const { path, id } = splitPath(name);
  const node = under(graphAt(history.present, path)?.nodes, id);
  const used = new Set(
    Object.values(graphAt(history.present, path)?.edges ?? {}).filter((one) => one.from === id).map((one) => one.port ?? "out"),
  );
  const ports = node === undefined ? [] : portsOf(node, registry).filter((port) => port !== "error");
  const port = ports.find((one) => !used.has(one)) ?? ports[0] ?? "out";
  open({ kind: "palette", path, from: { name, port } });
}
