// What the editor can do, each with a name, its keys and its help: the toolbar, the keyboard and the shortcuts sheet use these.

import { clip, paste, readClip } from "../model/clipboard";
import { BODY_TYPES, graphAt, joinPath, type NodeDoc, splitPath, type WorkflowDoc } from "../model/document";
import * as edits from "../model/edits";
import { BODY_MARGIN, BODY_TOP, laidOut, NODE_HEIGHT, NODE_WIDTH, roughPlaces } from "../model/layout";
import { portsOf } from "../model/types";
import { nodeSize } from "./flow";
import { currentPath, type EditorState, splitEdge, useEditor } from "./store";

const state = (): EditorState => useEditor.getState();

export interface AddOptions {
  path: readonly string[];
  at?: edits.Point;
  from?: { name: string; port: string };
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
    return next;
  });
  if (added !== "") {
    select({ nodes: [added] });
    show("inspector");
  }
}

/** Right of what it follows, or right of everything; never upon another node. */
function freePlace(doc: WorkflowDoc, options: AddOptions): edits.Point {
  const places = { ...roughPlaces(doc), ...doc.layout };
  const prefix = options.path.length > 0 ? `${options.path.join("/")}/` : "";
  const inside = options.path.length > 0;
  const siblings = Object.entries(places).filter(
    ([name]) => name.startsWith(prefix) && !name.slice(prefix.length).includes("/") && name !== prefix,
  );
  const start = inside ? { x: BODY_MARGIN, y: BODY_TOP } : { x: 0, y: 0 };
  let at = siblings.length === 0 ? start : { x: Math.max(...siblings.map(([, p]) => p.x)) + NODE_WIDTH + 72, y: start.y };
  const from = options.from?.name ?? (options.edge ? joinPath(options.path, graphAt(doc, options.path)?.edges?.[options.edge.id]?.from ?? "") : undefined);
  const before = from === undefined ? undefined : places[from];
  if (before !== undefined) at = { x: before.x + (before.w ?? NODE_WIDTH) + 72, y: before.y };
  while (siblings.some(([, p]) => Math.abs(p.x - at.x) < NODE_WIDTH && Math.abs(p.y - at.y) < NODE_HEIGHT + 24)) {
    at = { x: at.x, y: at.y + NODE_HEIGHT + 40 };
  }
  return at;
}

export function remove(keepFlow = false): void {
  const { selection, edit, select } = state();
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
  select({});
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
    const anchor = selection.nodes[0] === undefined ? undefined : doc.layout?.[selection.nodes[0]];
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
  const layout = await laidOut({ ...doc, layout: { ...roughPlaces(doc), ...doc.layout } }, [], (name) => {
    const { path, id } = splitPath(name);
    const graph = graphAt(doc, path);
    const node = graph?.nodes[id] as NodeDoc;
    const used = Object.values(graph?.edges ?? {}).some((edge) => edge.from === id && edge.port === "error");
    const ports = portsOf(node, registry).filter((port) => port !== "error" || used);
    return nodeSize(ports.length);
  });
  if (state().history.present !== doc) return;
  if (isOpening) {
    replace({ ...doc, layout: { ...doc.layout, ...layout } });
    return;
  }
  edit("Arrange", (now) => ({ ...now, layout: { ...now.layout, ...layout } }));
  say("Arranged.");
}

export function align(axis: "x" | "y"): void {
  const { selection, edit, history } = state();
  const places = { ...roughPlaces(history.present), ...history.present.layout };
  const chosen = selection.nodes.flatMap((name) => (places[name] ? [{ name, ...places[name] }] : []));
  if (chosen.length < 2) return;
  const middle = Math.round(chosen.reduce((sum, one) => sum + one[axis], 0) / chosen.length);
  edit(axis === "x" ? "Align in a column" : "Align in a row", (doc) =>
    edits.movePlaces(doc, Object.fromEntries(chosen.map((one) => [one.name, { x: one.x, y: one.y, [axis]: middle }]))),
  );
}

export function group(): void {
  const { selection, edit, history } = state();
  const places = { ...roughPlaces(history.present), ...history.present.layout };
  const chosen = selection.nodes.filter((name) => !name.includes("/") && places[name] !== undefined);
  if (chosen.length === 0) return;
  const xs = chosen.map((name) => places[name]!.x);
  const ys = chosen.map((name) => places[name]!.y);
  const right = Math.max(...chosen.map((name) => places[name]!.x + (places[name]!.w ?? NODE_WIDTH)));
  const bottom = Math.max(...chosen.map((name) => places[name]!.y + (places[name]!.h ?? NODE_HEIGHT)));
  const [x, y] = [Math.min(...xs) - 24, Math.min(...ys) - 48];
  edit("Group", (doc) =>
    edits.addNote(doc, { kind: "group", text: "Group", x, y, w: right - x + 24, h: bottom - y + 24, color: "blue", nodes: chosen }).doc,
  );
}

export function addNote(at?: edits.Point): void {
  const { edit, select } = state();
  let id = "";
  edit("Add a note", (doc) => {
    const made = edits.addNote(doc, { text: "", ...(at ?? freePlace(doc, { path: [] })), w: 224, h: 120 });
    id = made.id;
    return made.doc;
  });
  if (id !== "") select({ notes: [id] });
}

/** Chooses the next node in a direction: along edges to the left and right, by place up and down. */
export function walk(direction: "left" | "right" | "up" | "down"): void {
  const { selection, history, select } = state();
  const doc = history.present;
  const places = { ...roughPlaces(doc), ...doc.layout };
  const [name] = selection.nodes;
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
    const here = places[name] ?? { x: 0, y: 0 };
    const sign = direction === "right" || direction === "down" ? 1 : -1;
    const along = direction === "left" || direction === "right" ? "x" : "y";
    const across = along === "x" ? "y" : "x";
    next = Object.keys(graph?.nodes ?? {})
      .map((other) => ({ other, place: places[joinPath(path, other)] ?? { x: 0, y: 0 } }))
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
  const { selection, history, edit, select } = state();
  const [name] = selection.nodes;
  if (name === undefined) return;
  const { path, id } = splitPath(name);
  const node = graphAt(history.present, path)?.nodes[id];
  if (node === undefined || !BODY_TYPES.has(node.type)) return;
  if (!history.present.layout?.[name]?.open) edit("Open", (doc) => edits.setPlace(doc, name, { open: true }));
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
  const node = graphAt(history.present, path)?.nodes[id];
  const used = new Set(
    Object.values(graphAt(history.present, path)?.edges ?? {}).filter((one) => one.from === id).map((one) => one.port ?? "out"),
  );
  const ports = node === undefined ? [] : portsOf(node, registry).filter((port) => port !== "error");
  const port = ports.find((one) => !used.has(one)) ?? ports[0] ?? "out";
  open({ kind: "palette", path, from: { name, port } });
}
