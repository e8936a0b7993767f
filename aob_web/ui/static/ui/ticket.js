// Keys of a ticket. A key only goes to its button: an answer that was given by mistake cannot be taken back.
"use strict";
const go = (element) => {
  element?.focus();
  element?.scrollIntoView({ block: "nearest" });
};

const ticketKeys = {
  a: () => go(document.querySelector("[data-key=a]")),
  r: () => go(document.querySelector("[data-key=r]")),
  e: () => go(document.querySelector("[name=reason]")),
  c: () => go(document.querySelector("[data-key=c]")),
  d: () => document.querySelector("[data-key=d]")?.click(),
  u: () => document.querySelector("[data-back]").click(),
  "?": () => document.getElementById("keys").showModal(),
};

document.addEventListener("keydown", (event) => {
  const field = event.target.closest("input:not([type=checkbox], [type=radio]), textarea, select, [role=tree]");
  if (field && event.key === "Escape") {
    field.blur();
  }
  if (field || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) {
    return;
  }
  if (Object.hasOwn(ticketKeys, event.key)) {
    event.preventDefault();
    ticketKeys[event.key]();
  }
});
