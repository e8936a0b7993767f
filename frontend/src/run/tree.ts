// A JSON value as a tree (the ARIA tree pattern): children are made when they are opened, a hundred at a time.

import { copy, el, say } from "./dom";
import { blobOf, Digits, entries, expression, find, isOpenable, parse, type Path, type Value, write } from "./json";

const PAGE = 100;
const MAX_TEXT = 500;

interface Item {
  path: Path;
  value: Value;
  group: HTMLElement | null;
  shown: number;
}

export function tree(value: Value, label: string, blobs: string): HTMLElement {
  const items = new WeakMap<HTMLElement, Item>();
  const root = el("div", { class: "tree", role: "tree", "aria-label": label });
  let current: HTMLElement | null = null;

  const make = (key: string | number | null, one: Value, path: Path, level: number): HTMLElement => {
    const line = el("span", { class: "tree-line" });
    const item = el("div", { role: "treeitem", class: "tree-item", tabindex: "-1", "aria-level": level }, line);
    if (key !== null) line.append(el("span", { class: typeof key === "number" ? "tree-index" : "tree-key" }, String(key)), ": ");
    if (isOpenable(one)) {
      item.setAttribute("aria-expanded", "false");
      const size = Array.isArray(one) ? `${one.length} ${one.length === 1 ? "item" : "items"}` : `${Object.keys(one).length} ${Object.keys(one).length === 1 ? "key" : "keys"}`;
      line.append(el("span", { class: "tree-size" }, Array.isArray(one) ? `[ ${size} ]` : `{ ${size} }`));
      const blob = blobOf(one);
      if (blob !== null) {
        const where = `${blobs}${encodeURIComponent(blob)}/`;
        line.append(" ", el("a", { href: where, tabindex: "-1" }, "Look"), " ", el("a", { href: `${where}download/`, tabindex: "-1" }, "Download"));
      }
    } else {
      line.append(leaf(one));
    }
    items.set(item, { path, value: one, group: null, shown: 0 });
    return item;
  };

  const leaf = (one: Value): HTMLElement => {
    if (one instanceof Digits) return el("span", { class: "tok-number" }, one.text);
    const text = JSON.stringify(one);
    const kind = one === null || typeof one === "boolean" ? "word" : typeof one;
    const made = el("span", { class: `tok-${kind}`, dir: "auto" }, text.slice(0, MAX_TEXT));
    if (text.length > MAX_TEXT) {
      const more = el("button", { type: "button", class: "link", tabindex: "-1" }, `… ${text.length - MAX_TEXT} more characters`);
      more.onclick = (event) => {
        event.stopPropagation();
        made.textContent = text;
      };
      made.append(more);
    }
    return made;
  };

  const fill = (item: HTMLElement, upTo: number): void => {
    const held = items.get(item)!;
    if (!isOpenable(held.value)) return;
    const all = entries(held.value);
    held.group ??= item.appendChild(el("div", { role: "group" }));
    held.group.querySelector(":scope > .tree-more")?.remove();
    const level = Number(item.getAttribute("aria-level")) + 1;
    const end = Math.min(upTo, all.length);
    for (const [key, one] of all.slice(held.shown, end)) held.group.append(make(key, one, [...held.path, key], level));
    held.shown = Math.max(held.shown, end);
    if (held.shown < all.length) {
      const more = el("button", { type: "button", class: "link tree-more" }, `${all.length - held.shown} more`);
      more.onclick = () => fill(item, held.shown + PAGE);
      held.group.append(more);
    }
  };
  const toggle = (item: HTMLElement, open?: boolean): void => {
    const held = items.get(item);
    if (held === undefined || !isOpenable(held.value)) return;
    const wanted = open ?? item.getAttribute("aria-expanded") !== "true";
    item.setAttribute("aria-expanded", String(wanted));
    if (wanted && held.group === null) fill(item, PAGE);
    if (held.group !== null) held.group.hidden = !wanted;
  };
  const focus = (item: HTMLElement | null | undefined): void => {
    if (!item) return;
    current?.setAttribute("tabindex", "-1");
    current = item;
    item.setAttribute("tabindex", "0");
    item.focus({ preventScroll: true });
    item.firstElementChild?.scrollIntoView({ block: "nearest" });
  };
  const visible = (): HTMLElement[] =>
    [...root.querySelectorAll<HTMLElement>(".tree-item")].filter((item) => item.closest("[hidden]") === null);
  const reveal = (path: Path): void => {
    let item = root.firstElementChild as HTMLElement;
    for (const key of path) {
      const held = items.get(item)!;
      toggle(item, true);
      if (!isOpenable(held.value)) return;
      const index = entries(held.value).findIndex(([name]) => name === key);
      if (index >= held.shown) fill(item, index + 1);
      item = held.group!.children[index] as HTMLElement;
    }
    focus(item);
  };

  root.addEventListener("click", (event) => {
    const target = event.target as HTMLElement;
    if (target.closest("a, button") !== null) return;
    const item = target.closest<HTMLElement>(".tree-item");
    if (item === null) return;
    focus(item);
    if (getSelection()?.isCollapsed !== false) toggle(item);
  });
  root.addEventListener("keydown", (event) => {
    const item = (event.target as HTMLElement).closest<HTMLElement>(".tree-item");
    if (item === null || event.target !== item || event.ctrlKey || event.metaKey || event.altKey) return;
    const isOpen = item.getAttribute("aria-expanded");
    const list = visible();
    const place = list.indexOf(item);
    if (event.key === "ArrowDown") focus(list[place + 1]);
    else if (event.key === "ArrowUp") focus(list[place - 1]);
    else if (event.key === "Home") focus(list[0]);
    else if (event.key === "End") focus(list[list.length - 1]);
    else if (event.key === "ArrowRight" && isOpen === "false") toggle(item, true);
    else if (event.key === "ArrowRight" && isOpen === "true") focus(list[place + 1]);
    else if (event.key === "ArrowLeft" && isOpen === "true") toggle(item, false);
    else if (event.key === "ArrowLeft") focus(item.parentElement?.closest<HTMLElement>(".tree-item"));
    else if (event.key === "Enter" || event.key === " ") toggle(item);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  const first = make(null, value, [], 1);
  root.append(first);
  first.setAttribute("tabindex", "0");
  current = first;
  toggle(first, true);

  const chosen = (): Item => items.get(current ?? first)!;
  const path = el("button", { type: "button", class: "small" }, "Copy path");
  path.onclick = () => void copy(expression(chosen().path), "Path");
  const whole = el("button", { type: "button", class: "small" }, "Copy value");
  whole.onclick = () => {
    const { value: one } = chosen();
    void copy(typeof one === "string" ? one : write(one), "Value");
  };
  const search = el("input", { type: "search", placeholder: "Find", "aria-label": `Find in ${label}`, size: "10" });
  const count = el("span", { class: "hint", role: "status" });
  let found: Path[] = [];
  let at = -1;
  let sought = "";
  search.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    if (search.value !== sought) {
      sought = search.value;
      found = find(value, sought);
      at = -1;
    }
    if (found.length === 0) {
      count.textContent = "Not found";
      return;
    }
    at = (at + (event.shiftKey ? found.length - 1 : 1)) % found.length;
    count.textContent = `${at + 1} of ${found.length}${found.length >= 1_000 ? " or more" : ""}`;
    reveal(found[at]!);
    for (const marked of root.querySelectorAll(".found")) marked.classList.remove("found");
    current?.classList.add("found");
    search.focus();
  });
  return el("div", { class: "tree-box" }, el("div", { class: "tree-tools" }, search, count, path, whole), root);
}

/** Makes trees of the values that the server wrote as text; the text stays where it cannot be read. */
export function grow(within: ParentNode): void {
  for (const place of within.querySelectorAll<HTMLElement>(".value[data-tree]:not([data-grown])")) {
    place.dataset["grown"] = "1";
    const pre = place.querySelector("pre");
    if (pre === null) continue;
    const plant = (text: string): void => {
      try {
        const value = parse(text);
        // A plain value needs no tree.
        if (isOpenable(value)) pre.replaceWith(tree(value, place.dataset["label"] ?? "Value", place.dataset["blobs"] ?? ""));
      } catch {
        say("This value cannot be shown as a tree");
      }
    };
    if (place.dataset["whole"] === "1") {
      plant(pre.textContent);
      continue;
    }
    const button = el("button", { type: "button", class: "small" }, "Show all as a tree");
    button.onclick = async () => {
      button.disabled = true;
      const answer = await fetch(place.dataset["tree"]!);
      if (!answer.ok) return say("The value cannot be read now");
      plant(await answer.text());
      button.remove();
    };
    place.querySelector(".value-foot")?.append(" ", button);
  }
}
