// Every node type there is: as a list beside the canvas to drag from, and as a dialog that is searched by typing.

import { type ReactElement } from "react";

import { at, edgeName, graphAt, joinPath, splitPath } from "../model/document";
import * as edits from "../model/edits";
import { type NodeType, portsOf, type Registry } from "../model/types";
import { Chooser } from "../shared/Chooser";
import { Dialog } from "../shared/Dialog";
import { TypeIcon } from "../shared/icons";
import { addFromPalette, graphsToMoveTo, moveTo, openPalette } from "./actions";
import { DRAG_TYPE } from "./Canvas";
import { useDoc, useEditor } from "./store";

export function Palette(): ReactElement {
  const registry = useEditor((state) => state.registry);
  const groups = Map.groupBy([...registry.values()], (type) => type.category);
  return (
    <nav className="palette" aria-label="Node types">
      <button type="button" className="search" onClick={openPalette}>
        Add a node <kbd>/</kbd>
      </button>
      {[...groups].map(([category, types]) => (
        <section key={category}>
          <h3>{category}</h3>
          <ul>
            {types.map((type) => (
              <li key={type.name}>
                <button
                  type="button"
                  draggable
                  title={type.help.replaceAll("`", "")}
                  onDragStart={(event) => {
                    event.dataTransfer.setData(DRAG_TYPE, type.name);
                    event.dataTransfer.effectAllowed = "copy";
                  }}
                  onClick={() => addFromPalette(type.name, { path: [] })}
                >
                  <span className={`node-icon kind-${type.kind}`}>
                    <TypeIcon name={type.icon} />
                  </span>
                  {type.title}
                </button>
              </li>
            ))}
          </ul>
        </section>
      ))}
    </nav>
  );
}

export function PaletteDialog(): ReactElement | null {
  const dialog = useEditor((state) => state.dialog);
  const registry = useEditor((state) => state.registry);
  const { open, pins, outputs } = useEditor.getState();
  if (dialog?.kind !== "palette") return null;
  const { path, from, to, edge, at: place } = dialog;
  const where =
    from !== undefined ? ` after ${splitPath(from.name).id}${from.port === "out" ? "" : ` (${from.port})`}` : to !== undefined ? ` before ${splitPath(to).id}` : edge !== undefined ? " into the edge" : "";
  const all = [...registry.values()];
  const fits = all.filter((type) => edge === undefined ? to === undefined || leadsOn(type, registry).length > 0 : leadsOn(type, registry).includes("out"));
  const given = from === undefined ? undefined : (at(pins, from.name) ?? at(outputs, from.name));
  const isFirst = (type: NodeType): boolean => (from?.port === "error" ? AFTER_ERRORS.has(type.name) : Array.isArray(given) && type.name === "map");
  const first = fits.filter(isFirst);
  const left = all.filter((type) => !fits.includes(type)).map((type) => type.title);
  return (
    <Dialog label="Add a node" className="chooser-dialog" onClose={() => open(null)}>
      <Chooser
        label={`Add a node${where}`}
        empty="No node type has these words."
        note={left.length === 0 ? undefined : `${left.join(", ")} ${left.length === 1 ? "does" : "do"} not fit here: nothing follows ${left.length === 1 ? "it" : "them"} by ${edge === undefined ? "a port" : "the port out"}.`}
        choices={[...first, ...fits.filter((type) => !isFirst(type))].map((type) => ({
          key: type.name,
          text: type.title,
          detail: firstSentence(type.help),
          group: isFirst(type) ? (from?.port === "error" ? "after an error" : "over this list") : type.category,
          icon: <TypeIcon name={type.icon} />,
        }))}
        onChoose={(name) => {
          open(null);
          addFromPalette(name, {
            path,
            ...(place ? { at: place } : {}),
            ...(from ? { from } : {}),
            ...(to ? { to } : {}),
            ...(edge ? { edge } : {}),
          });
        }}
      />
    </Dialog>
  );
}

/** What often follows the port by which a failure is left. */
const AFTER_ERRORS = new Set(["log", "notify", "email", "approval", "fail"]);

/** The ports by which another node may follow one of this type. */
function leadsOn(type: NodeType, registry: Registry): string[] {
  return portsOf(edits.blankNode(type), registry).filter((port) => port !== "error");
}

function firstSentence(text: string): string {
  return text.split(/(?<=\.)\s/)[0] ?? text;
}

/** Connects by keyboard: the port first when there are several, then the node. */
export function ConnectDialog(): ReactElement | null {
  const doc = useDoc();
  const dialog = useEditor((state) => state.dialog);
  const registry = useEditor((state) => state.registry);
  const { open, edit, say } = useEditor.getState();
  if (dialog?.kind !== "connect") return null;
  const { path, id } = splitPath(dialog.from);
  const graph = graphAt(doc, path);
  const node = at(graph?.nodes, id);
  if (graph === undefined || node === undefined) return null;
  const ports = portsOf(node, registry);
  const choices = ports.flatMap((port) =>
    Object.entries(graph.nodes)
      .filter(([to]) => edits.refusal(doc, path, id, to, port) === null)
      .map(([to, one]) => ({
        key: `${port}\n${to}`,
        text: one.title || to,
        detail: one.title ? to : "",
        group: port === "out" ? "" : `by ${port}`,
        icon: <TypeIcon name={registry.get(one.type)?.icon} />,
      })),
  );
  return (
    <Dialog label={`Connect ${id}`} className="chooser-dialog" onClose={() => open(null)}>
      <Chooser
        label={`Connect ${id} to …`}
        empty="No other node may follow this one."
        choices={choices}
        onChoose={(key) => {
          const [port, to] = key.split("\n") as [string, string];
          open(null);
          edit("Connect", (now) => edits.addEdge(now, path, { from: id, to, port }).doc);
          say(`Connected ${id} to ${to}.`);
        }}
      />
    </Dialog>
  );
}

export function FindDialog({ onFound }: { onFound: (name: string) => void }): ReactElement | null {
  const doc = useDoc();
  const dialog = useEditor((state) => state.dialog);
  const registry = useEditor((state) => state.registry);
  const { open } = useEditor.getState();
  if (dialog?.kind !== "find") return null;
  const choices: { key: string; text: string; detail: string; icon: ReactElement }[] = [];
  const walk = (path: string[]): void => {
    for (const [id, node] of Object.entries(graphAt(doc, path)?.nodes ?? {})) {
      const name = joinPath(path, id);
      const config = JSON.stringify(node.config ?? {});
      choices.push({ key: name, text: node.title || id, detail: `${name} · ${config.slice(0, 200)}`, icon: <TypeIcon name={registry.get(node.type)?.icon} /> });
      walk([...path, id]);
    }
  };
  walk([]);
  return (
    <Dialog label="Find a node" className="chooser-dialog" onClose={() => open(null)}>
      <Chooser
        label="Find a node by id, title or settings"
        empty="No node has these words."
        choices={choices}
        onChoose={(name) => {
          open(null);
          onFound(name);
        }}
      />
    </Dialog>
  );
}

/** Takes the chosen nodes into a map or loop, or out of one. */
export function MoveDialog(): ReactElement | null {
  const dialog = useEditor((state) => state.dialog);
  const { open } = useEditor.getState();
  if (dialog?.kind !== "move") return null;
  const places = graphsToMoveTo(dialog.names);
  return (
    <Dialog label="Move to" className="chooser-dialog" onClose={() => open(null)}>
      <Chooser
        label={dialog.names.length === 1 ? `Move ${splitPath(dialog.names[0]!).id} to …` : `Move ${dialog.names.length} nodes to …`}
        empty="There is no such map or loop."
        choices={places.map((one) => ({ key: one.path.join("/"), text: one.title, detail: one.path.join("/") }))}
        onChoose={(key) => {
          open(null);
          moveTo(dialog.names, key === "" ? [] : key.split("/"));
        }}
      />
    </Dialog>
  );
}

/** The edges of a node, to choose one without a mouse. */
export function EdgesDialog(): ReactElement | null {
  const doc = useDoc();
  const dialog = useEditor((state) => state.dialog);
  const { open, select, show } = useEditor.getState();
  if (dialog?.kind !== "edges") return null;
  const { path, id } = splitPath(dialog.of);
  const edges = Object.entries(graphAt(doc, path)?.edges ?? {}).filter(([, edge]) => edge.from === id || edge.to === id);
  return (
    <Dialog label={`Edges of ${id}`} className="chooser-dialog" onClose={() => open(null)}>
      <Chooser
        label={`Edges of ${id}`}
        empty="It has no edges yet; C connects it."
        choices={edges.map(([key, edge]) => ({
          key,
          text: `${edge.from} → ${edge.to}`,
          detail: edge.when ?? "",
          group: edge.port === undefined ? "" : `by ${edge.port}`,
        }))}
        onChoose={(key) => {
          open(null);
          select({ edges: [edgeName(path, key)] });
          show("inspector");
        }}
      />
    </Dialog>
  );
}
