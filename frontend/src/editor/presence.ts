// Who else is in this workflow, and where; told over a WebSocket that comes back by itself.

import { useEffect } from "react";

import { useEditor } from "./store";

const AGAIN_MS = 3_000;

export function usePresence(name: string): void {
  useEffect(() => {
    let socket: WebSocket | null = null;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let closed = false;
    const tell = (): void => {
      if (socket?.readyState === WebSocket.OPEN) {
        socket.send(JSON.stringify({ node: useEditor.getState().selection.nodes[0] ?? null }));
      }
    };
    const open = (): void => {
      const scheme = location.protocol === "https:" ? "wss" : "ws";
      socket = new WebSocket(`${scheme}://${location.host}/ws/workflows/${encodeURIComponent(name)}/`);
      socket.onopen = tell;
      socket.onmessage = (event) => {
        const { others } = JSON.parse(String(event.data)) as { others: { user: string; node: string | null }[] };
        useEditor.getState().set({ others });
      };
      socket.onclose = () => {
        useEditor.getState().set({ others: [] });
        if (!closed) timer = setTimeout(open, AGAIN_MS);
      };
    };
    open();
    const stop = useEditor.subscribe((now, before) => {
      if (now.selection.nodes[0] !== before.selection.nodes[0]) tell();
    });
    return () => {
      closed = true;
      clearTimeout(timer);
      stop();
      socket?.close();
    };
  }, [name]);
}
