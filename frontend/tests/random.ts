// Documents made by random edits.

import fc from "fast-check";

import { clip, paste } from "../src/model/clipboard";
import { graphs, type WorkflowDoc } from "../src/model/document";
import * as edits from "../src/model/edits";
import type { NodeType } from "../src/model/types";

const type = (name: string, parts: NodeType["parts"] = {}, ports = ["out", "error"]): NodeType => ({
  name,
  kind: "pure",
  title: name,
  help: "",
  icon: "",
  category: "",
  ports,
  parts,
  config_schema: {},
  output_schema: {},
  node_schema: {},
  retry: "none",
  timeout: null,
  example: {},
});

export const registry = new Map(
  [type("transform"), type("map", { items: "expression" }), type("switch", { cases: "cases" })].map((one) => [one.name, one]),
);

export const empty: WorkflowDoc = { name: "w", nodes: {}, edges: {} };

/** One random edit; what does not fit the document at hand changes nothing. */
export const change = fc.record({ what: fc.nat(14), a: fc.nat(), b: fc.nat(), text: fc.string({ maxLength: 8 }) });
export type Change = typeof change extends fc.Arbitrary<infer T> ? T : never;

export function applied(doc: WorkflowDoc, { what, a, b, text }: Change): WorkflowDoc {
  const all = [...graphs(doc)];
  const [path, graph] = all[a % all.length]!;
  const ids = Object.keys(graph.nodes);
  const [one, other] = [ids[a % ids.length], ids[b % ids.length]];
  const name = one === undefined ? undefined : [...path, one].join("/");
  const edgeIds = Object.keys(graph.edges ?? {});
  const noteIds = Object.keys(doc.notes ?? {});
  switch (what) {
    case 0:
      return edits.addNode(doc, path, { type: "transform", config: { output: text } }, { x: a % 900, y: b % 900 }).doc;
    case 1:
      return edits.addNode(doc, path, edits.blankNode(registry.get("map")!), { x: a % 900, y: b % 900 }).doc;
    case 2:
      return one && other && edits.refusal(doc, path, one, other) === null
        ? edits.addEdge(doc, path, { from: one, to: other }).doc
        : doc;
    case 3:
      return name ? edits.removeNodes(doc, [name]) : doc;
    case 4:
      return name ? edits.renameNode(doc, name, `id_${b % 50}`, registry) : doc;
    case 5:
      return name ? edits.setConfig(doc, name, "output", `{{ nodes.${other} }} ${text}`) : doc;
    case 6:
      return name ? edits.movePlaces(doc, { [name]: { x: a % 500, y: b % 500 } }) : doc;
    case 7:
      return edits.addNote(doc, { text, x: a % 500, y: b % 500, w: 200, h: 100 }).doc;
    case 8:
      return noteIds.length > 0 ? edits.removeNotes(doc, [noteIds[a % noteIds.length]!]) : doc;
    case 9: {
      const copied = name ? clip(doc, [name]) : null;
      return copied ? paste(doc, path, copied, { x: b % 500, y: 0 }, registry).doc : doc;
    }
    case 10:
      return edgeIds.length > 0 ? edits.removeEdges(doc, path, [edgeIds[b % edgeIds.length]!]) : doc;
    case 11: {
      const [to] = all[b % all.length]!;
      return name ? edits.moveNodes(doc, [name], to, { [name]: { x: a % 500, y: b % 500 } }).doc : doc;
    }
    case 12:
      return edits.addNote(doc, { kind: "group", text, x: a % 500, y: b % 500, w: 400, h: 300, nodes: name && path.length === 0 ? [name] : [] }).doc;
    case 13:
      return name ? edits.regroup(doc, { [name]: { x: a % 900, y: b % 900 } }) : doc;
    default:
      return name ? edits.removeKeepingFlow(doc, [name]) : doc;
  }
}
