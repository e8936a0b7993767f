// Events as lines of a log, and which of them fit a filter. Kept in two flat lists, so that a million lines cost little.

import { type BriefEvent, type Level, LEVELS } from "./source";

export interface Line {
  seq: number;
  at: string;
  node: string | null;
  type: string;
  level: Level;
  text: string;
}

export interface Filter {
  node: string;
  level: Level;
  text: string;
}

export const ALL: Filter = { node: "", level: "debug", text: "" };

/** What the event's node wrote, then the event itself; as `runs/logs.py` has it. */
export function linesOf(event: BriefEvent): Line[] {
  const { seq, at, node } = event;
  const own = (event.log ?? []).map((one): Line => ({ seq, at, node, type: "log", level: one.level, text: one.message }));
  return [...own, { seq, at, node, type: event.type, level: event.level, text: event.text }];
}

export function fits(line: Line, filter: Filter): boolean {
  if (LEVELS.indexOf(line.level) < LEVELS.indexOf(filter.level)) return false;
  if (filter.node !== "") {
    const { node } = line;
    if (node === null || !node.startsWith(filter.node)) return false;
    const next = node[filter.node.length];
    if (next !== undefined && next !== "[" && next !== "/") return false;
  }
  const wanted = filter.text.toLowerCase();
  return wanted === "" || `${line.text} ${line.node ?? ""} ${line.type}`.toLowerCase().includes(wanted);
}

/** Lines and those among them that fit; new ones are looked at once. */
export class Lines {
  readonly all: Line[] = [];
  fitting: Line[] = [];
  filter: Filter = ALL;

  add(events: readonly BriefEvent[]): void {
    for (const event of events) {
      for (const line of linesOf(event)) {
        this.all.push(line);
        if (fits(line, this.filter)) this.fitting.push(line);
      }
    }
  }

  choose(filter: Filter): void {
    this.filter = filter;
    this.fitting = this.all.filter((line) => fits(line, filter));
  }

  /** How many of the fitting lines are not younger than a seq. */
  upTo(seq: number | null): number {
    if (seq === null) return this.fitting.length;
    let low = 0;
    let high = this.fitting.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.fitting[middle]!.seq <= seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

export const asText = (line: Line): string =>
  `${line.at} ${String(line.seq).padStart(6)} ${line.level.padEnd(7)} ${line.node ?? "-"} ${line.text.replaceAll("\r", "\\r").replaceAll("\n", "\\n")}`;
