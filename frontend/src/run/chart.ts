// Keeps the timeline, the head and the values of the run page in step with the run and with the seq that is looked at. The
// server draws them; here is only decided when it is asked, so that a fast run costs a few pictures a second and no more.

import { say } from "./dom";
import type { Source } from "./source";
import { grow } from "./tree";

interface Htmx {
  ajax(method: string, url: string, options: { target: string | Element; swap: string }): Promise<void>;
}
declare const htmx: Htmx;

const LEAST_MS = 600;
const UNSEEN_MS = 4_000;
const GROW_MS = 5_000;
/** The server gets at least so many times the rest that its last answer took. */
const REST = 2;

const plain = (path: string): string => path.replaceAll(/\[\d+\]/g, "");

export function chart(run: string, source: Source): void {
  const section = document.getElementById("timeline")!;
  const part = document.getElementById("timeline-part")!;
  const filter = document.getElementById("chart-filter") as HTMLFormElement;
  let asked = 0;
  let tookMs = 0;
  let timer = 0;
  let isBusy = false;
  let isStale = false;
  let isSeen = true;
  const query = new URLSearchParams(location.search);
  const state = (): DOMStringMap => document.getElementById("chart")!.dataset;
  const isLive = (): boolean => state()["live"] === "1";
  const isPast = (): boolean => query.has("at");

  const refresh = async (): Promise<void> => {
    if (isBusy) {
      isStale = true;
      return;
    }
    isBusy = true;
    isStale = false;
    asked = performance.now();
    const before = state()["status"];
    const wanted = new URLSearchParams(query);
    wanted.delete("node");
    try {
      await htmx.ajax("GET", `/runs/${run}/timeline/?${wanted}`, { target: "#timeline-part", swap: "innerMorph" });
    } catch {
      isStale = isLive();
    }
    isBusy = false;
    tookMs = performance.now() - asked;
    document.dispatchEvent(new CustomEvent("aob-running", { detail: JSON.parse(state()["running"] ?? "{}") }));
    if (!isPast() && before !== state()["status"] && !isLive()) void values();
    if (isStale) soon();
  };
  const soon = (): void => {
    if (timer !== 0 || isPast()) return;
    const rest = Math.max(isSeen ? LEAST_MS : UNSEEN_MS, REST * tookMs) - (performance.now() - asked);
    timer = window.setTimeout(() => {
      timer = 0;
      if (document.hidden) isStale = true;
      else void refresh();
    }, Math.max(rest, 50));
  };
  const values = async (): Promise<void> => {
    const at = query.get("at");
    const answer = await fetch(`/runs/${run}/values/${at ? `?at=${at}` : ""}`, { headers: { "HX-Request": "true" } });
    if (!answer.ok || query.get("at") !== at) return;
    const parsed = new DOMParser().parseFromString(await answer.text(), "text/html");
    const place = document.getElementById("values-part")!;
    place.replaceChildren(...parsed.body.childNodes);
    grow(place);
  };
  const remember = (): void => {
    const text = query.toString();
    history.replaceState(null, "", text === "" ? location.pathname : `?${text}`);
  };
  const show = async (path: string, options: { scroll: boolean; below?: Element }): Promise<void> => {
    const at = query.get("at");
    const answer = await fetch(`/runs/${run}/node/?path=${encodeURIComponent(path)}${at ? `&at=${at}` : ""}`, { headers: { "HX-Request": "true" } });
    if (!answer.ok) {
      if (options.scroll) say(at ? "This node had not begun then" : "This node has not begun yet");
      if (answer.status === 404 && !options.scroll) document.getElementById("node-part")!.replaceChildren();
      return;
    }
    const parsed = new DOMParser().parseFromString(await answer.text(), "text/html");
    const place = document.getElementById("node-part")!;
    place.replaceChildren(...parsed.body.childNodes);
    // It stands below what was asked for it, so that this stays in sight.
    if (options.below !== undefined && place.previousElementSibling !== options.below) options.below.after(place);
    grow(place);
    query.set("node", path);
    remember();
    for (const row of part.querySelectorAll(".row.chosen")) row.classList.remove("chosen");
    document.getElementById(`row-${path}`)?.classList.add("chosen");
    if (options.scroll) {
      (place.querySelector(".card-head") ?? place).scrollIntoView({ block: "nearest", behavior: "instant" });
      document.getElementById("node-title")?.focus({ preventScroll: true });
    }
  };
  const go = (search: string): void => {
    const node = query.get("node");
    for (const key of [...query.keys()]) query.delete(key);
    for (const [key, value] of new URLSearchParams(search)) query.append(key, value);
    if (node !== null && !query.has("node")) query.set("node", node);
    remember();
    void refresh();
  };

  document.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    const target = event.target as Element;
    const link = target.closest<HTMLAnchorElement>("a[data-chart], a[data-node]");
    if (link !== null) {
      event.preventDefault();
      if (link.dataset["node"] !== undefined) void show(link.dataset["node"], { scroll: true, below: part });
      else go(link.search);
      return;
    }
    if (target.closest("[data-close-node]") !== null) closeNode();
  });
  const closeNode = (): void => {
    document.getElementById("node-part")!.replaceChildren();
    const path = query.get("node");
    query.delete("node");
    remember();
    for (const row of part.querySelectorAll(".row.chosen")) row.classList.remove("chosen");
    if (path !== null) document.getElementById(`row-${path}`)?.querySelector<HTMLElement>(".label")?.focus();
  };
  filter.addEventListener("submit", (event) => {
    event.preventDefault();
    filterNow();
  });
  filter.querySelector("select")!.addEventListener("change", () => filterNow());
  const filterNow = (): void => {
    const data = new FormData(filter);
    const wanted = new URLSearchParams(query);
    wanted.delete("page");
    for (const name of ["state", "q"]) {
      const text = String(data.get(name) ?? "").trim();
      if (text === "") wanted.delete(name);
      else wanted.set(name, text);
    }
    go(`?${wanted}`);
  };

  // Rows by the arrow keys, bodies by right and left.
  part.addEventListener("keydown", (event) => {
    const row = (event.target as Element).closest<HTMLElement>(".row");
    if (row === null || event.ctrlKey || event.metaKey || event.altKey) return;
    const rows = [...part.querySelectorAll<HTMLElement>(".row")];
    const to = { ArrowDown: rows.indexOf(row) + 1, ArrowUp: rows.indexOf(row) - 1 }[event.key];
    if (to !== undefined) {
      const next = rows[to]?.querySelector<HTMLElement>("a.label") ?? rows[to]?.querySelector<HTMLElement>("a");
      if (!next) return;
      event.preventDefault();
      next.focus();
    }
    const toggle = row.querySelector<HTMLAnchorElement>("a.toggle");
    if (toggle !== null && event.key === (toggle.getAttribute("aria-expanded") === "true" ? "ArrowLeft" : "ArrowRight")) {
      event.preventDefault();
      toggle.click();
    }
  });
  // A role of its own makes a link a button, which the space bar presses.
  part.addEventListener("keydown", (event) => {
    const toggle = (event.target as Element).closest<HTMLAnchorElement>("a.toggle");
    if (toggle === null || event.key !== " ") return;
    event.preventDefault();
    toggle.click();
  });
  dragging(part, state, (begin, end) => {
    const wanted = new URLSearchParams(query);
    wanted.set("begin", begin.toFixed(3));
    wanted.set("end", end.toFixed(3));
    go(`?${wanted}`);
  });

  let travelTimer = 0;
  document.addEventListener("aob-travel", (event) => {
    const seq = (event as CustomEvent<number | null>).detail;
    if (seq === null) query.delete("at");
    else query.set("at", String(seq));
    clearTimeout(travelTimer);
    travelTimer = window.setTimeout(() => {
      remember();
      void refresh();
      void values();
      const node = query.get("node");
      if (node !== null) void show(node, { scroll: false });
    }, 200);
  });
  /** The graph names a node without indexes: of its activations the one that failed, or the newest, is shown. */
  document.addEventListener("aob-node", (event) => {
    const name = (event as CustomEvent<string>).detail;
    const at = Number(query.get("at") ?? Infinity);
    const own = source.events.filter((one) => one.seq <= at && one.node !== null && !one.node.endsWith("]") && plain(one.node) === name);
    const chosen = own.findLast((one) => one.type === "NodeFailed") ?? own.at(-1);
    const graph = document.querySelector(".panel-graph");
    if (chosen?.node) void show(chosen.node, { scroll: true, ...(graph && { below: graph }) });
    else say(`${name} has not begun`);
  });

  source.listen(() => {
    if (source.connection !== "loading" || isLive()) soon();
  });
  source.watch((connection) => {
    if (connection === "ended" && isLive()) soon();
  });
  new IntersectionObserver((entries) => {
    isSeen = entries.some((entry) => entry.isIntersecting);
    if (isSeen && isStale) soon();
  }).observe(section);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && (isStale || isLive())) soon();
  });
  setInterval(() => {
    if (isLive() && isSeen && !document.hidden && !isPast()) soon();
  }, GROW_MS);
  document.addEventListener("aob-refresh", () => void refresh());
  document.addEventListener("aob-close-node", closeNode);
  grow(document);
  if (query.has("node")) document.getElementById(`row-${query.get("node")}`)?.classList.add("chosen");
}

/** A stretch of the axis is chosen by drawing over it. */
function dragging(part: HTMLElement, state: () => DOMStringMap, choose: (begin: number, end: number) => void): void {
  let from: { x: number; box: DOMRect; mark: HTMLElement } | null = null;
  part.addEventListener("pointerdown", (event) => {
    const bars = (event.target as Element).closest<SVGElement>(".axis svg, .bars");
    const gantt = part.querySelector<HTMLElement>(".gantt");
    if (bars === null || gantt === null || event.button !== 0 || event.pointerType === "touch") return;
    event.preventDefault();
    const mark = document.createElement("div");
    mark.className = "stretch";
    gantt.append(mark);
    from = { x: event.clientX, box: bars.getBoundingClientRect(), mark };
    part.setPointerCapture(event.pointerId);
  });
  part.addEventListener("pointermove", (event) => {
    if (from === null) return;
    const gantt = from.mark.parentElement?.getBoundingClientRect();
    if (!gantt) return;
    const clamp = (x: number): number => Math.min(Math.max(x, from!.box.left), from!.box.right);
    const [left, right] = [clamp(Math.min(from.x, event.clientX)), clamp(Math.max(from.x, event.clientX))];
    from.mark.style.left = `${left - gantt.left}px`;
    from.mark.style.width = `${right - left}px`;
  });
  const end = (event: PointerEvent): void => {
    if (from === null) return;
    const { x, box, mark } = from;
    from = null;
    mark.remove();
    if (event.type === "pointercancel" || Math.abs(event.clientX - x) < 8) return;
    const [begin, stop] = [Number(state()["begin"]), Number(state()["end"])];
    const at = (place: number): number => begin + ((Math.min(Math.max(place, box.left), box.right) - box.left) / box.width) * (stop - begin);
    choose(at(Math.min(x, event.clientX)), at(Math.max(x, event.clientX)));
  };
  part.addEventListener("pointerup", end);
  part.addEventListener("pointercancel", end);
}
