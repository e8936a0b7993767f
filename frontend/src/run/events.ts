// The events of a run: what there is in pages, then live. A dropped connection goes on at the seq where it was.

import type { RunEvent } from "../model/progress";
import { call } from "../shared/api";

const PAGE = 1000;
const AGAIN_MS = 1_000;
const LONGEST_MS = 15_000;

interface Page {
  items: RunEvent[];
  next: number | null;
}

/** Calls `hear` with new events, many at a time, and `ended` once the run has ended. Gives what stops it. */
export function follow(run: string, hear: (events: RunEvent[]) => void, ended: () => void): () => void {
  let after = 0;
  let stopped = false;
  let socket: WebSocket | null = null;
  let pause = AGAIN_MS;
  let waiting: RunEvent[] = [];
  let frame = 0;

  const take = (event: RunEvent): void => {
    if (event.seq <= after) return;
    after = event.seq;
    waiting.push(event);
    // Hundreds of events may come between two pictures; each picture is drawn once.
    if (frame === 0) frame = requestAnimationFrame(flush);
  };
  const flush = (): void => {
    frame = 0;
    const several = waiting;
    waiting = [];
    if (several.length > 0) hear(several);
  };
  const open = (): void => {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    socket = new WebSocket(`${scheme}://${location.host}/ws/runs/${run}/?after=${after}`);
    socket.onmessage = (message) => {
      pause = AGAIN_MS;
      take(JSON.parse(String(message.data)) as RunEvent);
    };
    socket.onclose = (event) => {
      flush();
      if (stopped) return;
      if (event.code === 1000) ended();
      else {
        setTimeout(open, pause * (0.5 + Math.random()));
        pause = Math.min(pause * 2, LONGEST_MS);
      }
    };
  };
  const begin = async (): Promise<void> => {
    for (let next: number | null = 0; next !== null && !stopped; ) {
      const page: Page = await call<Page>("GET", `/runs/${run}/events?after=${next}&limit=${PAGE}`);
      if (page.items.length > 0) {
        after = page.items[page.items.length - 1]!.seq;
        hear(page.items);
      }
      next = page.next;
    }
    if (!stopped) open();
  };
  void begin().catch(() => {
    if (!stopped) setTimeout(() => void begin(), pause);
  });
  return () => {
    stopped = true;
    cancelAnimationFrame(frame);
    socket?.close();
  };
}
