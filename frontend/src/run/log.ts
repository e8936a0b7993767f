// The log on the run page: every line there is, of which only those are elements that can be seen. Whatever comes in a
// second, a picture costs some thirty rows.

import { copy, el, say } from "./dom";
import { ALL, asText, Lines } from "./lines";
import { type Level, type Source } from "./source";

const ROW = 26;
const SPARE = 6;
const DRAW_MS = 100;
const MAX_COPIED = 5_000;
const MAX_NODES = 300;

export function logView(view: HTMLElement, form: HTMLFormElement, tools: HTMLElement, source: Source): void {
  const lines = new Lines();
  const nodes = new Set<string>();
  let follows = true;
  let past: number | null = null;
  let isDue = false;
  let opened: number | null = null;

  const count = el("span", { class: "hint" });
  const follow = el("button", { type: "button", class: "small", "aria-pressed": "true", title: "Stay at the newest line (f)" }, "Follow");
  const copies = el("button", { type: "button", class: "small" }, "Copy");
  tools.append(follow, " ", copies, " ", count);

  const body = el("div", { class: "log-body", role: "list", "aria-label": "Lines of the log" });
  const space = el("div", { class: "log-space" }, body);
  const scroller = el("div", { class: "log-scroll", tabindex: "0", role: "region", "aria-label": "Log", "data-follow": "1" }, space);
  const detail = el("div", { class: "log-detail", hidden: true });
  view.replaceChildren(scroller, detail);

  const draw = (): void => {
    isDue = false;
    const total = lines.upTo(past);
    space.style.height = `${Math.max(total, 1) * ROW}px`;
    if (follows) scroller.scrollTop = total * ROW;
    const first = Math.max(Math.floor(scroller.scrollTop / ROW) - SPARE, 0);
    const last = Math.min(first + Math.ceil(scroller.clientHeight / ROW) + 2 * SPARE, total);
    body.style.transform = `translateY(${first * ROW}px)`;
    while (body.childElementCount > Math.max(last - first, 0)) body.lastElementChild!.remove();
    while (body.childElementCount < last - first) body.append(row());
    for (let index = first; index < last; index += 1) fill(body.children[index - first] as HTMLElement, index);
    count.textContent =
      total === 0
        ? lines.all.length === 0
          ? "No lines yet."
          : "No line fits the filter."
        : `${total.toLocaleString("en")} ${lines.filter === ALL ? "lines" : `of ${lines.all.length.toLocaleString("en")} lines`}`;
  };
  const row = (): HTMLElement =>
    el("div", { role: "listitem", class: "log-row" }, el("span", { class: "seq" }), el("time"), el("span", { class: "level" }), el("code"), el("span", { class: "text" }));
  const fill = (place: HTMLElement, index: number): void => {
    const line = lines.fitting[index]!;
    const [seq, time, level, node, text] = place.children as unknown as HTMLElement[];
    place.dataset["index"] = String(index);
    place.className = `log-row ${line.level}${line.type === "log" ? " own" : ""}${index === opened ? " opened" : ""}`;
    // Only what changed is written: most rows of two pictures are the same.
    set(seq!, String(line.seq));
    set(time!, line.at.slice(11, 23));
    set(level!, line.level);
    set(node!, line.node ?? "");
    set(text!, line.text);
  };
  const set = (place: HTMLElement, text: string): void => {
    if (place.textContent !== text) place.textContent = text;
  };
  const soon = (): void => {
    if (isDue) return;
    isDue = true;
    setTimeout(() => requestAnimationFrame(draw), DRAW_MS);
  };
  const setFollow = (on: boolean): void => {
    follows = on;
    follow.setAttribute("aria-pressed", String(on));
    if (on) draw();
  };
  const choose = (): void => {
    const data = new FormData(form);
    const filter = { node: String(data.get("node") ?? "").trim(), level: String(data.get("level")) as Level, text: String(data.get("q") ?? "") };
    lines.choose(filter.node === "" && filter.level === "debug" && filter.text === "" ? ALL : filter);
    opened = null;
    detail.hidden = true;
    const query = new URLSearchParams({ ...(filter.node ? { node: filter.node } : {}), level: filter.level, q: filter.text });
    for (const link of document.querySelectorAll<HTMLAnchorElement>("a[data-log]")) {
      query.set("format", link.dataset["log"]!);
      link.search = query.toString();
    }
    draw();
  };
  const open = (index: number): void => {
    const line = lines.fitting[index];
    if (line === undefined) return;
    opened = index;
    const button = el("button", { type: "button", class: "small" }, "Copy the line");
    button.onclick = () => void copy(asText(line), "The line");
    const close = el("button", { type: "button", class: "small quiet" }, "Close");
    close.onclick = () => {
      opened = null;
      detail.hidden = true;
      draw();
      scroller.focus();
    };
    const actions = el("p", { class: "actions" }, button, close);
    if (line.node !== null && !line.node.endsWith("]")) {
      const go = el("a", { class: "button small", href: `?node=${encodeURIComponent(line.node)}#node-part`, "data-node": line.node }, "Open the node");
      actions.prepend(go);
    }
    detail.replaceChildren(el("p", { class: "hint" }, `Event ${line.seq}, ${line.type}, ${line.at}, ${line.level}${line.node ? `, ${line.node}` : ""}`), el("pre", { tabindex: "0" }, line.text), actions);
    detail.hidden = false;
    draw();
  };

  scroller.addEventListener(
    "scroll",
    () => {
      const atEnd = scroller.scrollTop + scroller.clientHeight >= scroller.scrollHeight - ROW;
      if (!atEnd && follows && isDue === false && scroller.dataset["moved"] === "1") setFollow(false);
      requestAnimationFrame(draw);
    },
    { passive: true },
  );
  // Only a person's own scrolling ends the following, never that of new lines.
  for (const kind of ["wheel", "touchmove", "pointerdown", "keydown"]) {
    scroller.addEventListener(kind, () => (scroller.dataset["moved"] = "1"), { passive: true });
  }
  scroller.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Enter" && opened !== null) open(opened);
    if (step === undefined) return;
    event.preventDefault();
    setFollow(false);
    const from = opened ?? Math.floor(scroller.scrollTop / ROW) - step;
    const to = Math.min(Math.max(from + step, 0), lines.upTo(past) - 1);
    const top = to * ROW;
    if (top < scroller.scrollTop) scroller.scrollTop = top;
    if (top > scroller.scrollTop + scroller.clientHeight - 2 * ROW) scroller.scrollTop = top - scroller.clientHeight + 2 * ROW;
    open(to);
  });
  body.addEventListener("click", (event) => {
    if (getSelection()?.isCollapsed === false) return;
    const place = (event.target as Element).closest<HTMLElement>(".log-row");
    if (place !== null) open(Number(place.dataset["index"]));
  });
  follow.onclick = () => {
    scroller.dataset["moved"] = "0";
    setFollow(!follows);
  };
  copies.onclick = () => {
    const total = lines.upTo(past);
    const chosen = lines.fitting.slice(Math.max(total - MAX_COPIED, 0), total);
    if (chosen.length === 0) return say("There is nothing to copy");
    void copy(chosen.map(asText).join("\n"), total > MAX_COPIED ? `The last ${MAX_COPIED} lines` : `${total} lines`);
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    choose();
  });
  form.addEventListener("input", choose);
  document.addEventListener("aob-travel", (event) => {
    past = (event as CustomEvent<number | null>).detail;
    draw();
  });
  document.addEventListener("aob-follow", () => setFollow(!follows));
  new ResizeObserver(() => requestAnimationFrame(draw)).observe(scroller);

  const list = document.getElementById("log-nodes");
  source.listen((fresh) => {
    lines.add(fresh);
    for (const { node } of fresh) {
      if (node === null || nodes.size >= MAX_NODES || nodes.has(node) || node.includes("[")) continue;
      nodes.add(node);
      list?.append(el("option", { value: node }));
    }
    soon();
  });
  draw();
}
