// Keeps the run page in step: the event stream only says that something changed, the server renders it.
"use strict";
const part = document.getElementById("timeline-part");
const QUIET_MS = 250;
let pending = null;

function changed() {
  if (pending === null) {
    pending = setTimeout(() => {
      pending = null;
      document.body.dispatchEvent(new CustomEvent("run-changed"));
    }, QUIET_MS);
  }
}

if (part && document.getElementById("run-live").dataset.live === "1") {
  const source = new EventSource(`/api/v1/runs/${part.dataset.run}/events?after=${part.dataset.after}`);
  source.onmessage = changed;
  for (const type of [
    "TaskScheduled", "TaskStarted", "TaskCompleted", "TaskFailed", "TaskLost", "RetryScheduled", "NodeCompleted", "NodeFailed",
    "NodeSkipped", "NodeWaiting", "NodeRouted", "MapStarted", "ItemCompleted", "ItemFailed", "IterationStarted",
    "IterationCompleted", "ChildStarted", "ChildEnded", "TimerFired", "SignalReceived", "PauseRequested",
    "ResumeRequested", "CancelRequested", "RetryOverridden", "PatchApplied",
  ]) {
    source.addEventListener(type, changed);
  }
  source.addEventListener("end", () => {
    source.close();
    location.reload();
  });
}

// The graph comes after the page: what can be read without it is there at once.
const graph = document.getElementById("run-graph");
if (graph) {
  import(graph.dataset.island);
  document.addEventListener("aob-node", (event) => {
    const named = [...document.querySelectorAll(".activation .name")];
    const found = named.find((one) => one.title.replace(/\[\d+\]/g, "") === event.detail);
    if (found) {
      found.click();
      found.scrollIntoView({ block: "center" });
    }
  });
}

const log = document.getElementById("log");
if (log) {
  log.addEventListener("toggle", () => document.body.dispatchEvent(new CustomEvent("log-opened")), { once: true });
}
