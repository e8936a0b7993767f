// What React Flow is not given, painted on one canvas below it: nodes as blocks, edges as curves.

import { useStoreApi } from "@xyflow/react";
import { type ReactElement, useEffect, useMemo, useRef } from "react";

import { bends, type Box, type Point } from "../model/geometry";
import { type FlowEdge, type FlowNode, type NodeData, portTop } from "./flow";
import { useEditor } from "./store";

interface Scene {
  blocks: Path2D;
  bodies: Path2D;
  icons: Map<string, Path2D>;
  texts: Path2D;
  wrong: Path2D;
  picked: Path2D;
  edges: Path2D;
}

const ICON = 36;
const COLORS: Record<string, string> = { pure: "--calm", effect: "--busy", wait: "--wait", structure: "--ok", agent: "--bad", note: "--wait-soft" };

export interface BackdropProps {
  nodes: readonly FlowNode[];
  edges: readonly FlowEdge[];
  boxes: ReadonlyMap<string, Box>;
  live: ReadonlySet<string>;
  picked: ReadonlySet<string>;
  /** How far what is chosen is being dragged. */
  shift: Point;
}

export function Backdrop({ nodes, edges, boxes, live, picked, shift }: BackdropProps): ReactElement {
  const canvas = useRef<HTMLCanvasElement>(null);
  const store = useStoreApi();
  const marks = useEditor((state) => state.marks);
  const scene = useMemo(() => sceneOf(nodes, edges, boxes, live, picked, marks), [nodes, edges, boxes, live, picked, marks]);
  useEffect(() => {
    const one = canvas.current!;
    let asked = 0;
    const draw = (): void => {
      asked = 0;
      paint(one, scene, store.getState().transform, shift);
    };
    const ask = (): void => {
      if (asked === 0) asked = requestAnimationFrame(draw);
    };
    draw();
    const stop = store.subscribe((now, before) => {
      if (now.transform !== before.transform) ask();
    });
    const resized = new ResizeObserver(ask);
    resized.observe(one);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    scheme.addEventListener("change", ask);
    return () => {
      stop();
      resized.disconnect();
      scheme.removeEventListener("change", ask);
      cancelAnimationFrame(asked);
    };
  }, [scene, shift, store]);
  return <canvas ref={canvas} className="backdrop" aria-hidden="true" />;
}

function sceneOf(
  nodes: readonly FlowNode[],
  edges: readonly FlowEdge[],
  boxes: ReadonlyMap<string, Box>,
  live: ReadonlySet<string>,
  picked: ReadonlySet<string>,
  marks: ReadonlyMap<string, { severity: string }>,
): Scene {
  const scene: Scene = {
    blocks: new Path2D(),
    bodies: new Path2D(),
    icons: new Map(),
    texts: new Path2D(),
    wrong: new Path2D(),
    picked: new Path2D(),
    edges: new Path2D(),
  };
  const ports = new Map<string, readonly string[]>();
  for (const node of nodes) {
    const isNode = node.type === "node" || node.type === "body";
    if (isNode) ports.set(node.id, (node.data as NodeData).ports);
    if (live.has(node.id)) continue;
    const { x, y, w, h } = boxes.get(node.id)!;
    const kind = isNode ? ((node.data as NodeData).type?.kind ?? "pure") : "note";
    const icons = scene.icons.get(kind) ?? new Path2D();
    scene.icons.set(kind, icons);
    if (node.type === "note") icons.rect(x, y, w, h);
    else if (node.type === "node") {
      scene.blocks.rect(x, y, w, h);
      icons.rect(x + 13, y + 12, ICON, ICON);
      scene.texts.rect(x + 60, y + 16, w - 90, 10);
      scene.texts.rect(x + 60, y + 36, w - 120, 7);
    } else scene.bodies.rect(x, y, w, h);
    if (marks.get(node.id)?.severity === "error") scene.wrong.rect(x, y, w, h);
    if (picked.has(node.id)) scene.picked.rect(x, y, w, h);
  }
  for (const edge of edges) {
    if (live.has(edge.id)) continue;
    const [source, target] = [boxes.get(edge.source), boxes.get(edge.target)];
    if (source === undefined || target === undefined) continue;
    const names = ports.get(edge.source) ?? [];
    const from = { x: source.x + source.w, y: source.y + portTop(names, Math.max(0, names.indexOf(edge.sourceHandle ?? "out"))) };
    const to = { x: target.x, y: target.y + portTop([], 0) };
    const [one, other] = bends(from, to);
    scene.edges.moveTo(from.x, from.y);
    scene.edges.bezierCurveTo(one.x, one.y, other.x, other.y, to.x, to.y);
  }
  return scene;
}

function paint(canvas: HTMLCanvasElement, scene: Scene, [x, y, zoom]: readonly [number, number, number], shift: Point): void {
  const ratio = Math.min(devicePixelRatio, 2);
  const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const to = canvas.getContext("2d");
  if (to === null) return;
  const style = getComputedStyle(canvas);
  const color = (name: string): string => style.getPropertyValue(name);
  to.setTransform(1, 0, 0, 1, 0, 0);
  to.clearRect(0, 0, width, height);
  to.setTransform(zoom * ratio, 0, 0, zoom * ratio, x * ratio, y * ratio);
  to.lineWidth = 1 / zoom;
  to.strokeStyle = color("--faint");
  to.stroke(scene.edges);
  to.fillStyle = color("--surface");
  to.strokeStyle = color("--line");
  to.stroke(scene.bodies);
  to.fill(scene.blocks);
  to.stroke(scene.blocks);
  for (const [kind, path] of scene.icons) {
    to.fillStyle = color(COLORS[kind] ?? "--calm");
    to.fill(path);
  }
  if (zoom > 0.12) {
    to.fillStyle = color("--line");
    to.fill(scene.texts);
  }
  to.strokeStyle = color("--bad");
  to.lineWidth = 2 / zoom;
  to.stroke(scene.wrong);
  to.translate(shift.x, shift.y);
  to.strokeStyle = color("--accent");
  to.stroke(scene.picked);
}
