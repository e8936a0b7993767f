// How far a run is at any seq, from its events alone: the state of each node, how many of a map's items are done, which
// edges were taken. Bodies of maps and loops are shown once, with what their activations do added up.

export type NodeState = "queued" | "running" | "waiting" | "retrying" | "done" | "cached" | "failed" | "skipped" | "cancelled";

export interface RunEvent {
  seq: number;
  type: string;
  at: string;
  node: string | null;
  data: { [key: string]: unknown };
}

export interface Progress {
  state: NodeState;
  counts: Partial<Record<NodeState, number>>;
  attempts: number;
  /** Attempts after the first of an activation. */
  retries: number;
  /** Of a map: items ended and all of them. Of a loop: iterations begun. */
  items: { done: number; total: number | null } | null;
  error: string | null;
}

/** A patch that was applied: from `seq` on `version` held, where `before` did. */
export interface Patched {
  patch: string;
  seq: number;
  by: string;
  before: string;
  version: string;
}

/** A patch that waits for review. */
export type Proposed = Pick<Patched, "patch" | "seq" | "by">;

export interface Standing {
  seq: number;
  at: string | null;
  status: string;
  version: string | null;
  patches: readonly Patched[];
  pending: readonly Proposed[];
  nodes: ReadonlyMap<string, Progress>;
  /** Ids of edges that were taken, by the path of their graph: "each#get-keep". */
  edges: ReadonlySet<string>;
}

const STATE_OF: Record<string, NodeState> = {
  TaskScheduled: "queued",
  TaskStarted: "running",
  TaskLost: "retrying",
  RetryScheduled: "retrying",
  NodeWaiting: "waiting",
  ChildStarted: "waiting",
  MapStarted: "running",
  AgentStepStarted: "running",
  NodeCompleted: "done",
  NodeSkipped: "skipped",
};

/** The worst of several activations is what the node is said to be, while some go on these. */
const ORDER: NodeState[] = ["failed", "running", "retrying", "queued", "waiting", "done", "cached", "cancelled", "skipped"];
const LIVE: NodeState[] = ["running", "retrying", "queued", "waiting"];

export const plain = (path: string): string => path.replaceAll(/\[\d+\]/g, "");

/** Folds events one by one; `standing` is a picture of what there is. */
export class Fold {
  seq = 0;
  private at: string | null = null;
  private status = "queued";
  private version: string | null = null;
  private patches: readonly Patched[] = [];
  private pending: readonly Proposed[] = [];
  private readonly activations = new Map<string, NodeState>();
  private readonly nodes = new Map<string, Progress>();
  private readonly edges = new Set<string>();
  /** Events up to this seq were taken from the log of the run that this one replays. */
  private copied = 0;

  apply(event: RunEvent): void {
    this.seq = event.seq;
    this.at = event.at;
    const { type, node, data } = event;
    if (type === "RunStarted") {
      this.version = String(data["version"] ?? this.version);
      this.status = "running";
      this.copied = Number(data["copied"] ?? 0) + 1;
    }
    if (type.startsWith("Patch")) this.patch(event);
    if (type === "PauseRequested") this.status = "paused";
    if (type === "ResumeRequested") this.status = "running";
    const end = { RunCompleted: "completed", RunFailed: "failed", RunCancelled: "cancelled", RunTimedOut: "timed_out" }[type];
    if (end !== undefined) {
      this.status = end;
      this.pending = [];
      for (const [path, state] of this.activations) if (LIVE.includes(state)) this.set(path, "cancelled");
      return;
    }
    if (node === null) return;
    if (node.endsWith("]")) {
      this.frame(type, node);
      return;
    }
    const isCached = type === "NodeCompleted" && event.seq <= this.copied;
    const state = isCached ? "cached" : type === "NodeFailed" ? (data["handled"] === "skip" ? "skipped" : "failed") : STATE_OF[type];
    if (state !== undefined) this.set(node, state);
    const progress = this.nodes.get(plain(node));
    if (progress === undefined) return;
    if (type === "TaskScheduled") {
      progress.attempts += 1;
      if (Number(data["attempt"] ?? 1) > 1) progress.retries += 1;
    }
    if (type === "MapStarted") {
      const before = progress.items;
      progress.items = { done: before?.done ?? 0, total: (before?.total ?? 0) + Number(data["count"] ?? 0) };
    }
    if (type === "NodeFailed" || type === "TaskFailed") {
      const error = data["error"] as { message?: string } | undefined;
      progress.error = error?.message ?? null;
    }
    const taken = data["taken"];
    if (Array.isArray(taken)) {
      const graph = plain(node).split("/").slice(0, -1).join("/");
      for (const id of taken) this.edges.add(`${graph}#${String(id)}`);
    }
  }

  private patch({ type, seq, data }: RunEvent): void {
    const patch = String(data["patch"] ?? "");
    const { kind = "person", name = "" } = (data["by"] ?? {}) as { kind?: string; name?: string };
    const by = kind === "person" ? name : `${kind} ${name}`;
    // A patch that is only tried waits for nobody.
    if (type === "PatchProposed" && data["mode"] === "review") this.pending = [...this.pending, { patch, seq, by }];
    if (type === "PatchApplied" || type === "PatchRejected") this.pending = this.pending.filter((one) => one.patch !== patch);
    if (type !== "PatchApplied") return;
    const version = String(data["version"] ?? this.version);
    this.patches = [...this.patches, { patch, seq, by, before: this.version ?? version, version }];
    this.version = version;
  }

  /** Items and iterations belong to the node that owns them. */
  private frame(type: string, frame: string): void {
    const owner = frame.replace(/\[\d+\]$/, "");
    // A loop says nothing of itself before it ends: it runs from its first iteration on.
    if (type === "IterationStarted" && !this.activations.has(owner)) this.set(owner, "running");
    const progress = this.nodes.get(plain(owner));
    if (progress === undefined) return;
    if (type === "ItemCompleted" || type === "ItemFailed") {
      progress.items = { done: (progress.items?.done ?? 0) + 1, total: progress.items?.total ?? null };
    } else if (type === "IterationStarted") {
      progress.items = { done: (progress.items?.done ?? 0) + 1, total: null };
    }
  }

  private set(path: string, state: NodeState): void {
    const name = plain(path);
    const before = this.activations.get(path);
    this.activations.set(path, state);
    const progress = this.nodes.get(name) ?? { state, counts: {}, attempts: 0, retries: 0, items: null, error: null };
    if (before !== undefined) progress.counts[before] = (progress.counts[before] ?? 1) - 1;
    progress.counts[state] = (progress.counts[state] ?? 0) + 1;
    progress.state = ORDER.find((one) => (progress.counts[one] ?? 0) > 0) ?? state;
    this.nodes.set(name, progress);
  }

  standing(): Standing {
    const nodes = new Map([...this.nodes].map(([name, one]) => [name, { ...one, counts: { ...one.counts } }]));
    const { seq, at, status, version, patches, pending } = this;
    return { seq, at, status, version, patches, pending, nodes, edges: new Set(this.edges) };
  }
}

/** Where a run stood after `seq`. */
export function standingAt(events: readonly RunEvent[], seq: number): Standing {
  const fold = new Fold();
  for (const event of events) {
    if (event.seq > seq) break;
    fold.apply(event);
  }
  return fold.standing();
}
