// Agents while they work: what their models say as it comes, and the conversation that is open, kept in step with the log. All
// of it is text; the server writes the rest of the page.

import type { AgentText, BriefEvent, Source } from "./source";

/** Characters of a preview that are kept; the whole text comes with its event. */
const MOST = 20_000;
const LEAST_MS = 500;
/** The server gets at least so many times the rest that its last answer took. */
const REST = 2;

/** The newest text of each agent, by its node. */
export class Previews {
  private readonly heard = new Map<string, AgentText>();

  hear({ node, step, text }: AgentText): void {
    const before = this.heard.get(node);
    // A step that comes late says nothing about the one that goes on.
    if (before !== undefined && before.step > step) return;
    this.heard.set(node, { node, step, text: ((before?.step === step ? before.text : "") + text).slice(-MOST) });
  }

  /** Forgets what stands in the log now. */
  settle(events: readonly BriefEvent[]): void {
    for (const { type, node, data } of events) {
      const told = node === null ? undefined : this.heard.get(node);
      if (told !== undefined && (type !== "AgentStepEnded" || Number(data["step"]) >= told.step)) {
        if (type === "AgentStepEnded" || type.startsWith("Node") || type.startsWith("Task")) this.heard.delete(node!);
      }
    }
  }

  text(node: string, step: number): string {
    const told = this.heard.get(node);
    return told?.step === step ? told.text : "";
  }
}

export function agents(run: string, source: Source): void {
  const previews = new Previews();
  const isPast = (): boolean => new URLSearchParams(location.search).has("at");
  let isDrawing = false;
  let timer = 0;
  let tookMs = 0;
  const draw = (): void => {
    for (const place of document.querySelectorAll<HTMLElement>("[data-says]")) {
      const { says, step, tail } = place.dataset;
      const text = previews.text(says!, Number(step)).slice(tail === undefined ? 0 : -Number(tail));
      if (place.textContent !== text) place.textContent = text;
    }
  };
  const soon = (): void => {
    if (isDrawing) return;
    isDrawing = true;
    requestAnimationFrame(() => {
      isDrawing = false;
      draw();
    });
  };
  const refresh = async (): Promise<void> => {
    const box = document.getElementById("conversation");
    if (box === null || isPast()) return;
    const asked = performance.now();
    const answer = await fetch(`/runs/${run}/conversation/?path=${encodeURIComponent(box.dataset["agent"]!)}`);
    if (!answer.ok || !box.isConnected) return;
    const parsed = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("conversation");
    tookMs = performance.now() - asked;
    if (parsed === null) return;
    // What somebody opened or closed stays so.
    for (const one of box.querySelectorAll("details")) parsed.querySelector(`#${CSS.escape(one.id)}`)?.toggleAttribute("open", one.open);
    box.replaceWith(parsed);
    draw();
  };
  source.read((text) => {
    previews.hear(text);
    soon();
  });
  source.listen((fresh) => {
    previews.settle(fresh);
    const path = document.getElementById("conversation")?.dataset["agent"];
    if (path === undefined || timer !== 0 || !fresh.some((one) => one.node === path)) return;
    timer = window.setTimeout(() => {
      timer = 0;
      void refresh();
    }, Math.max(LEAST_MS, REST * tookMs));
  });
  // The server has drawn the card anew.
  document.addEventListener("aob-running", soon);
}
