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

// What stands in the form that decides outlives the sending of another form of the page, a comment say.
{
  const decides = document.querySelector("form[data-decides]");
  const draft = `aob-draft ${location.pathname.split("/").slice(0, 3).join("/")}`;
  const fields = [...(decides?.elements ?? [])].filter(
    (one) => one.name && !["hidden", "file", "submit"].includes(one.type),
  );
  const property = (field) => (field.type === "checkbox" ? "checked" : "value");

  document.addEventListener("submit", (event) => {
    if (decides && event.target !== decides) {
      const written = fields.map((one) => [one.name, one[property(one)]]);
      sessionStorage.setItem(draft, JSON.stringify(written));
    }
  });

  const kept = new Map(JSON.parse(sessionStorage.getItem(draft) ?? "[]"));
  sessionStorage.removeItem(draft);
  for (const field of fields) {
    if (kept.has(field.name)) {
      field[property(field)] = kept.get(field.name);
    }
  }
}
