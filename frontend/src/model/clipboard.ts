// Copies of nodes as JSON text, so that they can go to another workflow, a chat or a file, and come back.

import {
  allIds,
  at as under,
  type EdgeDoc,
  freeId,
  type GraphDoc,
  type GraphPath,
  graphAt,
  isGraph,
  joinPath,
  type NoteDoc,
  type Place,
  record,
  splitPath,
  withGraph,
  type WorkflowDoc,
} from "./document";
import { type Point, renameIn } from "./edits";
import type { Registry } from "./types";

const FORMAT = "aob-nodes-1";

export interface Clip {
  format: typeof FORMAT;
  graph: GraphDoc;
  layout: Record<string, Place>;
  notes: Record<string, NoteDoc>;
}

/** The chosen nodes of one graph with the edges between them, their places and notes; null when nothing is chosen. */
export function clip(doc: WorkflowDoc, names: readonly string[], noteIds: readonly string[] = []): Clip | null {
  const path = names.length > 0 ? splitPath(names[0]!).path : [];
  const source = graphAt(doc, path);
  const ids = names.map((name) => splitPath(name).id).filter((id) => under(source?.nodes, id) !== undefined);
  if (source === undefined || (ids.length === 0 && noteIds.length === 0)) return null;
  const chosen = new Set(ids);
  const prefix = path.length > 0 ? `${path.join("/")}/` : "";
  const layout = record<Place>();
  for (const [key, place] of Object.entries(doc.layout ?? {})) {
    const local = key.startsWith(prefix) ? key.slice(prefix.length) : "";
    if (chosen.has(local.split("/")[0] ?? "")) layout[local] = place;
  }
  return {
    format: FORMAT,
    graph: {
      nodes: Object.fromEntries(ids.map((id) => [id, source.nodes[id]!])),
      edges: Object.fromEntries(
        Object.entries(source.edges ?? {}).filter(([, edge]) => chosen.has(edge.from) && chosen.has(edge.to)),
      ),
    },
    layout,
    notes: Object.fromEntries(noteIds.flatMap((id) => (under(doc.notes, id) ? [[id, doc.notes![id]!]] : []))),
  };
}

/** Reads text from a clipboard or a file: our own format, or a whole workflow document. Null when it is neither. */
export function readClip(text: string): Clip | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null) return null;
  const found = value as Partial<Clip> & Partial<WorkflowDoc>;
  if (found.format === FORMAT && isGraph(found.graph)) {
    return { format: FORMAT, graph: found.graph, layout: found.layout ?? {}, notes: found.notes ?? {} };
  }
  if (isGraph(value)) {
    const graph = { nodes: value.nodes, edges: value.edges ?? {} };
    return { format: FORMAT, graph, layout: found.layout ?? {}, notes: found.notes ?? {} };
  }
  return null;
}

/** Puts a copy into a graph, its upper left corner at `at`; ids that are taken get numbers, references follow them. */
export function paste(
  doc: WorkflowDoc,
  path: GraphPath,
  copied: Clip,
  at: Point,
  registry: Registry,
): { doc: WorkflowDoc; names: string[] } {
  const taken = allIds(doc);
  const renames = new Map<string, string>();
  const claim = (graph: GraphDoc): void => {
    for (const [id, node] of Object.entries(graph.nodes)) {
      const to = freeId(id, taken);
      taken.add(to);
      if (to !== id) renames.set(id, to);
      const body: unknown = node.config?.["body"];
      if (isGraph(body)) claim(body);
    }
  };
  claim(copied.graph);
  const graph = renamedThroughout(copied.graph, renames, registry);
  const edges = Object.assign(record<EdgeDoc>(), graphAt(doc, path)?.edges);
  for (const edge of Object.values(graph.edges ?? {})) {
    let id = `${edge.from}-${edge.to}`;
    for (let number = 2; edges[id] !== undefined; number++) id = `${edge.from}-${edge.to}-${number}`;
    edges[id] = edge;
  }
  const grown = withGraph(doc, path, (target) => ({ ...target, nodes: { ...target.nodes, ...graph.nodes }, edges }));
  return { doc: placed(grown), names: Object.keys(graph.nodes).map((id) => joinPath(path, id)) };

  function placed(result: WorkflowDoc): WorkflowDoc {
    const tops = Object.entries(copied.layout).filter(([key]) => !key.includes("/"));
    const all = [...tops.map(([, place]) => place), ...Object.values(copied.notes)];
    const left = Math.min(...all.map((one) => one.x));
    const top = Math.min(...all.map((one) => one.y));
    const shift = (one: Point): Point => ({ x: Math.round(one.x - left + at.x), y: Math.round(one.y - top + at.y) });
    const layout = Object.assign(record<Place>(), result.layout);
    for (const [key, place] of Object.entries(copied.layout)) {
      const parts = key.split("/").map((id) => renames.get(id) ?? id);
      layout[[...path, ...parts].join("/")] = parts.length > 1 ? place : { ...place, ...shift(place) };
    }
    const notes = Object.assign(record<NoteDoc>(), result.notes);
    for (const [id, note] of Object.entries(copied.notes)) {
      const nodes = note.nodes && { nodes: note.nodes.map((name) => joinPath(path, renames.get(name) ?? name)) };
      notes[freeId(id, new Set(Object.keys(notes)))] = { ...note, ...shift(note), ...nodes };
    }
    return { ...result, layout, ...(Object.keys(notes).length > 0 ? { notes } : {}) };
  }
}

/** Renames nodes of a graph and of all bodies in it, and every reference to them. */
function renamedThroughout(graph: GraphDoc, names: ReadonlyMap<string, string>, registry: Registry): GraphDoc {
  if (names.size === 0) return graph;
  const outer = renameIn(graph, names, registry, true);
  const nodes = Object.fromEntries(
    Object.entries(outer.nodes).map(([id, node]) => {
      const body: unknown = node.config?.["body"];
      if (!isGraph(body)) return [id, node];
      const inner = renamedThroughout(body, names, registry);
      return [id, { ...node, config: { ...node.config, body: inner as never } }];
    }),
  );
  return { ...outer, nodes };
}
