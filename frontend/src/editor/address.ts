// What the address opens: `#versions` the versions, `#versions=3..draft` what differs between two of them.

import { useEffect, useRef } from "react";

import { useEditor } from "./store";

interface Pair {
  from: string;
  to: string;
}

export function pairIn(hash: string): Pair | null {
  const [, from, to] = /^#versions=(.+?)\.\.(.+)$/.exec(hash) ?? [];
  if (from === undefined || to === undefined) return null;
  try {
    return { from: decodeURIComponent(from), to: decodeURIComponent(to) };
  } catch {
    return null;
  }
}

export function hashOf({ from, to }: Pair): string {
  return `#versions=${encodeURIComponent(from)}..${encodeURIComponent(to)}`;
}

/** Follows the address, and writes into it what is compared, so that it can be sent to somebody. */
export function useAddress(): void {
  const hash = useEditor(({ dialog }) => (dialog?.kind === "compare" ? hashOf(dialog) : null));
  const written = useRef<string | null>(null);
  useEffect(() => {
    const read = (): void => {
      const { show, open } = useEditor.getState();
      const pair = pairIn(location.hash);
      if (pair !== null || location.hash === "#versions") show("versions");
      if (pair !== null) open({ kind: "compare", ...pair });
    };
    read();
    addEventListener("hashchange", read);
    return () => removeEventListener("hashchange", read);
  }, []);
  useEffect(() => {
    if (hash !== written.current) history.replaceState(history.state, "", hash ?? location.pathname + location.search);
    written.current = hash;
  }, [hash]);
}
