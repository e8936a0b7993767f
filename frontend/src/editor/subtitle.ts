// One line that says what a node does: the address it calls, the expression it maps over, what it waits for.

import { namedIn } from "../model/references";
import type { NodeData } from "./flow";

export function subtitleOf(data: NodeData): string {
  const config = data.node.config ?? {};
  for (const key of ["url", "items", "while", "name", "workflow", "for", "until", "message"]) {
    const value = config[key];
    if (typeof value === "string" && value !== "") return key === "url" ? `${String(config["method"] ?? "GET")} ${value}` : value;
  }
  if (Array.isArray(config["cases"])) return `${config["cases"].length} cases`;
  const names = [...namedIn(config)];
  return names.length > 0 ? `from ${names.join(", ")}` : (data.type?.title ?? data.node.type);
}
