// The events of a run for everything on its page: what there is in pages, then live over one connection. A connection that
// drops goes on at the seq where it was; a hole in the seqs is never passed over.

import type { RunEvent } from "../model/progress";

export const LEVELS = ["debug", "info", "warning", "error"] as const;
export type Level = (typeof LEVELS)[number];

/** An event without its values, as the server says it in words. */
export interface BriefEvent extends RunEvent {
  level: Level;
  text: string;
  log?: { level: Level; message: string }[];
}

/** What a model is saying right now: a preview, which the event that ends its step makes needless. */
export interface AgentText {
  node: string;
  step: number;
  text: string;
}

export type Connection = "loading" | "live" | "reconnecting" | "ended" | "refused";

/** What the source needs of the world; tests give their own. */
export interface World {
  page(after: number): Promise<{ items: BriefEvent[]; next: number | null }>;
  connect(after: number, hear: (event: BriefEvent) => void, closed: (code: number) => void, preview: (text: AgentText) => void): () => void;
  /** Calls back soon, at most once for each picture that is drawn. */
  soon(act: () => void): void;
  later(act: () => void, milliseconds: number): void;
}

const AGAIN_MS = 500;
const LONGEST_MS = 10_000;
const ENDED = 1000;
const TERMINAL = ["RunCompleted", "RunFailed", "RunCancelled", "RunTimedOut"];
/** Codes after which trying again is of no use: signed out, forbidden, unknown, ahead of what is stored. */
const REFUSED = [4400, 4401, 4403, 4404, 4409];

export class Source {
  readonly events: BriefEvent[] = [];
  connection: Connection = "loading";
  private after = 0;
  private fresh: BriefEvent[] = [];
  private isDue = false;
  private pause = AGAIN_MS;
  private stopped = false;
  private disconnect: (() => void) | null = null;
  private readonly hearers = new Set<(fresh: readonly BriefEvent[]) => void>();
  private readonly readers = new Set<(text: AgentText) => void>();
  private readonly watchers = new Set<(connection: Connection) => void>();

  constructor(private readonly world: World) {}

  /** Hears what there is and what comes, many events at a time. */
  listen(hear: (fresh: readonly BriefEvent[]) => void): void {
    this.hearers.add(hear);
    if (this.events.length > 0) hear(this.events);
  }

  /** Hears what models say before it is an event; nothing of it comes again. */
  read(hear: (text: AgentText) => void): void {
    this.readers.add(hear);
  }

  watch(see: (connection: Connection) => void): void {
    this.watchers.add(see);
    see(this.connection);
  }

  begin(): void {
    void this.load();
  }

  stop(): void {
    this.stopped = true;
    this.disconnect?.();
  }

  /** Gives up a connection that is thought to be dead. */
  drop(): void {
    const disconnect = this.disconnect;
    if (disconnect === null) return;
    this.disconnect = null;
    disconnect();
    this.again();
  }

  private async load(): Promise<void> {
    try {
      for (let next: number | null = this.after; next !== null && !this.stopped; ) {
        const page: { items: BriefEvent[]; next: number | null } = await this.world.page(next);
        for (const event of page.items) this.take(event);
        this.flush();
        next = page.next;
      }
    } catch {
      this.again();
      return;
    }
    if (!this.stopped) this.open();
  }

  private open(): void {
    if (TERMINAL.includes(this.events[this.events.length - 1]?.type ?? "")) {
      this.tell("ended");
      return;
    }
    let isOpen = true;
    const disconnect = this.world.connect(
      this.after,
      (event) => {
        if (!isOpen) return;
        this.pause = AGAIN_MS;
        this.tell("live");
        if (!this.take(event)) {
          // A hole: what lies in it is asked for again, rather than to show what did not happen so.
          isOpen = false;
          this.drop();
        }
      },
      (code) => {
        if (!isOpen || this.disconnect !== disconnect) return;
        isOpen = false;
        this.disconnect = null;
        this.flush();
        const newest = this.events[this.events.length - 1]?.type ?? "";
        if (code === ENDED || TERMINAL.includes(newest)) this.tell("ended");
        else if (REFUSED.includes(code)) this.tell("refused");
        else this.again();
      },
      (text) => {
        if (isOpen) for (const hear of this.readers) hear(text);
      },
    );
    this.disconnect = disconnect;
    this.tell("live");
  }

  private again(): void {
    if (this.stopped) return;
    this.tell("reconnecting");
    this.world.later(() => !this.stopped && void this.load(), this.pause * (0.5 + Math.random()));
    this.pause = Math.min(this.pause * 2, LONGEST_MS);
  }

  /** False when events are missing before this one. */
  private take(event: BriefEvent): boolean {
    if (event.seq <= this.after) return true;
    if (event.seq !== this.after + 1) return false;
    this.after = event.seq;
    this.fresh.push(event);
    if (!this.isDue) {
      this.isDue = true;
      this.world.soon(() => this.flush());
    }
    return true;
  }

  private flush(): void {
    this.isDue = false;
    const several = this.fresh;
    if (several.length === 0) return;
    this.fresh = [];
    for (const event of several) this.events.push(event);
    for (const hear of this.hearers) hear(several);
  }

  private tell(connection: Connection): void {
    if (connection === this.connection) return;
    this.connection = connection;
    for (const see of this.watchers) see(connection);
  }
}

const PAGE = 1000;
const HIDDEN_MS = 1_000;

/** The server that the page came from. */
export function server(run: string): World {
  return {
    page: async (after) => {
      const answer = await fetch(`/api/v1/runs/${run}/events?view=brief&after=${after}&limit=${PAGE}`);
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      return (await answer.json()) as { items: BriefEvent[]; next: number | null };
    },
    connect: (after, hear, closed, preview) => {
      const scheme = location.protocol === "https:" ? "wss" : "ws";
      const socket = new WebSocket(`${scheme}://${location.host}/ws/runs/${run}/?view=brief&text=1&after=${after}`);
      socket.onmessage = (message) => {
        const said = JSON.parse(String(message.data)) as BriefEvent | AgentText;
        if ("seq" in said) hear(said);
        else preview(said);
      };
      socket.onclose = (event) => closed(event.code);
      return () => socket.close();
    },
    // A page in the background draws nothing, so it would wait for ever for its next picture.
    soon: (act) => void (document.hidden ? setTimeout(act, HIDDEN_MS) : requestAnimationFrame(act)),
    later: (act, milliseconds) => void setTimeout(act, milliseconds),
  };
}
