// The map in the corner: every node, and what of it is in sight. A press or a drag goes there.

import { useReactFlow, useStoreApi } from "@xyflow/react";
import { type PointerEvent, type ReactElement, useEffect, useRef } from "react";

import { around, type Box, grown } from "../model/geometry";
import type { FlowNode, NodeData } from "./flow";

const COLORS: Record<string, string> = { effect: "--busy", wait: "--wait", structure: "--ok", agent: "--bad" };

export function Overview({ nodes, boxes }: { nodes: readonly FlowNode[]; boxes: ReadonlyMap<string, Box> }): ReactElement {
  const canvas = useRef<HTMLCanvasElement>(null);
  const store = useStoreApi();
  const flow = useReactFlow();
  const scale = useRef<{ x: number; y: number; by: number }>({ x: 0, y: 0, by: 1 });
  useEffect(() => {
    let asked = 0;
    const whole = grown(around(boxes.values()) ?? { x: 0, y: 0, w: 1, h: 1 }, 80);
    const draw = (): void => {
      asked = 0;
      const one = canvas.current;
      const to = one?.getContext("2d");
      if (!one || !to) return;
      const ratio = Math.min(devicePixelRatio, 2);
      const [width, height] = [one.clientWidth, one.clientHeight];
      if (one.width !== Math.round(width * ratio)) {
        one.width = Math.round(width * ratio);
        one.height = Math.round(height * ratio);
      }
      const { transform, width: w, height: h } = store.getState();
      const view: Box = { x: -transform[0] / transform[2], y: -transform[1] / transform[2], w: w / transform[2], h: h / transform[2] };
      const all = around([whole, view])!;
      const by = Math.min(width / all.w, height / all.h);
      scale.current = { x: all.x - (width / by - all.w) / 2, y: all.y - (height / by - all.h) / 2, by };
      const style = getComputedStyle(one);
      to.setTransform(ratio * by, 0, 0, ratio * by, -scale.current.x * by * ratio, -scale.current.y * by * ratio);
      to.clearRect(scale.current.x, scale.current.y, width / by, height / by);
      for (const node of nodes) {
        const box = boxes.get(node.id)!;
        const kind = node.type === "node" ? ((node.data as NodeData).type?.kind ?? "pure") : node.type;
        to.fillStyle = style.getPropertyValue(kind === "body" || kind === "group" ? "--sunk" : kind === "note" ? "--wait-soft" : (COLORS[kind] ?? "--calm"));
        if (node.selected && node.type !== "group" && node.type !== "body") to.fillStyle = style.getPropertyValue("--accent");
        to.fillRect(box.x, box.y, box.w, box.h);
      }
      to.lineWidth = 1.5 / by;
      to.strokeStyle = style.getPropertyValue("--accent");
      to.strokeRect(view.x, view.y, view.w, view.h);
    };
    const ask = (): void => {
      if (asked === 0) asked = requestAnimationFrame(draw);
    };
    ask();
    const stop = store.subscribe((now, before) => {
      if (now.transform !== before.transform || now.width !== before.width || now.height !== before.height) ask();
    });
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    scheme.addEventListener("change", ask);
    return () => {
      stop();
      scheme.removeEventListener("change", ask);
      cancelAnimationFrame(asked);
    };
  }, [nodes, boxes, store]);

  const go = (event: PointerEvent<HTMLCanvasElement>): void => {
    if (event.buttons !== 1) return;
    event.currentTarget.setPointerCapture(event.pointerId);
    const at = event.currentTarget.getBoundingClientRect();
    const { x, y, by } = scale.current;
    void flow.setCenter(x + (event.clientX - at.left) / by, y + (event.clientY - at.top) / by, { zoom: flow.getZoom() });
  };
  return <canvas ref={canvas} className="overview" role="img" aria-label="Map of the graph" onPointerDown={go} onPointerMove={go} />;
}
