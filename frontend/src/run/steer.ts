// Actions as dialogs: the server says in them what an action will do; without JavaScript the same is a page.

import { el, say } from "./dom";

const FRAGMENT = { headers: { "HX-Request": "true" } };

export function steering(): void {
  const dialog = document.getElementById("steer-dialog") as HTMLDialogElement | null;
  if (dialog === null) return;
  const show = (html: string): void => {
    const parsed = new DOMParser().parseFromString(html, "text/html");
    dialog.replaceChildren(...parsed.body.childNodes);
    if (!dialog.open) dialog.showModal();
    dialog.querySelector<HTMLElement>("[autofocus], input:not([type=hidden]), button")?.focus();
  };
  document.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    const target = event.target as Element;
    const link = target.closest<HTMLAnchorElement>("a[data-dialog]");
    if (link !== null) {
      event.preventDefault();
      void fetch(link.href, FRAGMENT).then(
        async (answer) => (answer.ok ? show(await answer.text()) : say("This cannot be asked now; try again")),
        () => say("The server cannot be reached"),
      );
    } else if (target.closest("[data-close]") !== null && dialog.contains(target)) {
      event.preventDefault();
      dialog.close();
    } else if (target === dialog) {
      dialog.close();
    }
  });
  dialog.addEventListener("submit", (event) => {
    event.preventDefault();
    const form = event.target as HTMLFormElement;
    const buttons = form.querySelectorAll("button");
    for (const button of buttons) button.disabled = true;
    void fetch(form.action, { method: "POST", body: new FormData(form), ...FRAGMENT }).then(
      async (answer) => {
        const where = answer.headers.get("X-Run");
        if (answer.status === 204 && where !== null) {
          if (where !== location.pathname) return location.assign(where);
          dialog.close();
          document.dispatchEvent(new CustomEvent("aob-refresh"));
        } else if (answer.status === 422) show(await answer.text());
        else {
          say("This did not work; try again");
          for (const button of buttons) button.disabled = false;
        }
      },
      () => {
        say("The server cannot be reached");
        for (const button of buttons) button.disabled = false;
      },
    );
  });
}

const KEYS: [string, string][] = [
  ["p", "Pause or resume"],
  ["x", "Cancel"],
  ["r", "Retry what failed"],
  ["a", "Run again"],
  ["c", "Compare with another run"],
  ["e", "Edit the run's graph"],
  ["[ and ]", "One event back or forward"],
  ["n", "Back to now"],
  ["t", "To the timeline; arrows move and open rows"],
  ["l", "To the log; arrows move through its lines"],
  ["f", "Follow the log, or stop following"],
  ["Esc", "Close the open node"],
];
const SETTING = "aob.keys";

/** Single keys, which can be turned off (WCAG 2.1.4); what they do is asked for before it is done. */
export function keys(): void {
  const isOn = (): boolean => localStorage.getItem(SETTING) !== "off";
  document.addEventListener("keydown", (event) => {
    const target = event.target as HTMLElement;
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (target.closest("input:not([type=range]), textarea, select, dialog, [contenteditable]") !== null) return;
    if (event.key === "?") help(isOn());
    else if (event.key === "Escape") document.dispatchEvent(new CustomEvent("aob-close-node"));
    else if (isOn() && !act(event.key)) return;
    else if (!isOn()) return;
    event.preventDefault();
  });
  const act = (key: string): boolean => {
    const link = /^[a-z]$/.test(key) ? document.querySelector<HTMLElement>(`[data-key="${key}"]`) : null;
    if (link !== null) link.click();
    else if (key === "t") document.querySelector<HTMLElement>("#timeline-part a.label")?.focus();
    else if (key === "l") document.querySelector<HTMLElement>(".log-scroll")?.focus();
    else if (key === "f") document.dispatchEvent(new CustomEvent("aob-follow"));
    else if (key === "[" || key === "]" || key === "n") document.dispatchEvent(new CustomEvent("aob-step", { detail: key === "n" ? null : key === "[" ? -1 : 1 }));
    else return false;
    return true;
  };
  const help = (on: boolean): void => {
    const box = el("input", { type: "checkbox", checked: on });
    box.onchange = () => localStorage.setItem(SETTING, box.checked ? "on" : "off");
    const list = el("dl", { class: "keys" });
    for (const [key, words] of KEYS) list.append(el("dt", {}, el("kbd", {}, key)), el("dd", {}, words));
    const close = el("button", { type: "button", class: "main" }, "Close");
    const dialog = el("dialog", { "aria-labelledby": "keys-title" }, el("h2", { id: "keys-title" }, "Keys of this page"), list, el("label", { class: "check" }, box, " Use single keys"), el("div", { class: "actions end" }, close));
    close.onclick = () => dialog.close();
    dialog.onclose = () => dialog.remove();
    document.body.append(dialog);
    dialog.showModal();
  };
}
