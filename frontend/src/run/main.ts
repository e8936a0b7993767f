// The run page. What can be read is there already; this keeps it in step, and brings the graph after it.

import { agents } from "./agents";
import { chart } from "./chart";
import { el } from "./dom";
import { logView } from "./log";
import { server, Source } from "./source";
import { keys, steering } from "./steer";
import { grow } from "./tree";

const page = document.getElementById("run");
if (page === null) {
  grow(document);
  const patch = document.getElementById("patch-graph");
  if (patch !== null) void import("./patch").then(({ mount }) => mount(patch));
} else {
  const run = page.dataset["run"]!;
  const source = new Source(server(run));
  const mark = el("p", { id: "connection", role: "status" });
  page.prepend(mark);
  source.watch((connection) => {
    mark.className = connection;
    mark.textContent = { reconnecting: "Reconnecting …", refused: "You are no longer signed in, or this run is gone. Reload the page." }[connection as string] ?? "";
  });
  addEventListener("offline", () => source.drop());
  chart(run, source);
  agents(run, source);
  const part = (id: string): HTMLElement => document.getElementById(id)!;
  logView(part("log-view"), part("log-filter") as HTMLFormElement, part("log-tools"), source);
  steering();
  keys();
  source.begin();
  void import("./graph").then(({ mount }) => mount(part("run-graph"), run, source));
}
