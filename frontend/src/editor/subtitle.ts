// One line that says what a node does: the address it calls, the expression it maps over, what it waits for.

import { namedIn } from "../model/references";
import type { NodeData } from "./flow";

const models = (data: NodeData): string[] => [data.node.config?.["model"]].flat().filter((one): one is string => typeof one === "string");

/** Whether a script may answer instead of a language model: it is named what it is wherever it shows. */
export const isScripted = (data: NodeData): boolean => data.node.type === "agent" && models(data).some((one) => one.startsWith("scripted:"));

export function subtitleOf(data: NodeData): string {
  const config = data.node.config ?? {};
  if (data.node.type === "agent") return isScripted(data) ? "scripted provider" : models(data).join(", ") || "no model";
  for (const key of ["url", "items", "while", "name", "workflow", "for", "until", "message"]) {
    const value = config[key];
    if (typeof value === "string" && value !== "") return key === "url" ? `${String(config["method"] ?? "GET")} ${value}` : value;
  }
  if (Array.isArray(config["cases"])) return config["cases"].length === 1 ? "1 case" : `${config["cases"].length} cases`;
  const names = [...namedIn(config)];
  return names.length > 0 ? `from ${names.join(", ")}` : (data.type?.title ?? data.node.type);
}
