// Texts of the server, in which names of fields and values stand between backticks.

import type { ReactElement } from "react";

export function Prose({ text }: { text: string }): ReactElement {
  return <bdi>{text.split(/`([^`]+)`/).map((part, index) => (index % 2 === 1 ? <code key={index}>{part}</code> : part))}</bdi>;
}
