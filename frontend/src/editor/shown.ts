// Which nodes and edges React Flow is given. All of them while they are few. Of many only what is in sight, and from afar
// only what is chosen or under the pointer: the rest is painted on one canvas (Backdrop), so that a pan costs one picture.

import { useStoreApi, type Viewport } from "@xyflow/react";
import { useEffect, useMemo, useRef, useState } from "react";

import { type Box, encloses, grown, meets } from "../model/geometry";
import type { FlowEdge, FlowNode } from "./flow";

const MANY = 150;
/** Below this zoom nobody reads what stands on a node. */
const FAR = 0.6;
/** So far beyond the edge of the canvas, in pixels of the screen, nodes are live. */
const MARGIN = 200;
/** So many nodes become live in one frame; until it is their turn they are painted. */
const AT_ONCE = 10;
/** So many chosen nodes are live from afar; more are only painted. */
const MAX_LIVE = 100;

interface Window {
  box: Box;
  zoom: number;
  isFar: boolean;
}

export interface Shown {
  nodes: readonly FlowNode[];
  edges: readonly FlowEdge[];
  /** Names of nodes and edges that React Flow draws; null when it draws all. */
  live: ReadonlySet<string> | null;
  isFar: boolean;
}

export function windowOf({ x, y, zoom }: Viewport, size: { width: number; height: number }): Window {
  const [w, h] = [size.width / zoom, size.height / zoom];
  return { box: { x: -x / zoom, y: -y / zoom, w, h }, zoom, isFar: zoom < FAR };
}

export function useShown(
  nodes: readonly FlowNode[],
  edges: readonly FlowEdge[],
  boxes: ReadonlyMap<string, Box>,
  picked: ReadonlySet<string>,
  hovered: string | null,
  first: Window,
): Shown {
  const store = useStoreApi();
  const [window, setWindow] = useState<Window>(() => widened(first));
  const isMany = nodes.length > MANY;
  useEffect(() => {
    if (!isMany) return;
    const look = (): void => {
      const { transform, width, height } = store.getState();
      if (width === 0) return;
      const now = windowOf({ x: transform[0], y: transform[1], zoom: transform[2] }, { width, height });
      setWindow((before) => {
        if (now.isFar) return before.isFar ? before : now;
        const fits = !before.isFar && encloses(before.box, now.box) && before.box.w < 2 * widened(now).box.w;
        return fits ? before : widened(now);
      });
    };
    look();
    return store.subscribe((now, before) => {
      if (now.transform !== before.transform || now.width !== before.width) look();
    });
  }, [isMany, store]);

  const mounted = useRef<ReadonlySet<string>>(new Set());
  const [turn, setTurn] = useState(0);
  const result = useMemo(() => {
    if (!isMany) return { nodes, edges, live: null, isFar: false, rest: 0 };
    const live = new Set<string>();
    const parents = new Map(nodes.map((one) => [one.id, one.parentId]));
    const add = (name: string): void => {
      for (let here: string | undefined = name; here !== undefined && !live.has(here); here = parents.get(here)) live.add(here);
    };
    if (hovered !== null && parents.has(hovered)) add(hovered);
    if (!window.isFar || picked.size <= MAX_LIVE) for (const name of picked) if (parents.has(name)) add(name);
    let rest = 0;
    if (!window.isFar) {
      let fresh = 0;
      for (const [name, box] of boxes) {
        if (!meets(box, window.box)) continue;
        if (mounted.current.has(name) || fresh++ < AT_ONCE) add(name);
        else rest++;
      }
    }
    const own = new Set(live);
    const liveEdges = edges.filter((edge) => own.has(edge.source) || own.has(edge.target));
    for (const edge of liveEdges) {
      add(edge.source);
      add(edge.target);
      live.add(edge.id);
    }
    return { nodes: nodes.filter((one) => live.has(one.id)), edges: liveEdges, live, isFar: window.isFar, rest };
    // A turn changes nothing by itself: it lets the next nodes be added to those that are mounted.
  }, [nodes, edges, boxes, picked, hovered, window, isMany, turn]);
  useEffect(() => {
    mounted.current = result.live ?? new Set();
    if (result.rest === 0) return;
    const asked = requestAnimationFrame(() => setTurn((now) => now + 1));
    return () => cancelAnimationFrame(asked);
  }, [result]);
  return result;
}

function widened(window: Window): Window {
  return { ...window, box: grown(window.box, MARGIN / window.zoom) };
}
