// Lists by keyboard, and choosing rows: what is chosen and where one is outlive a refresh of the list.
"use strict";
const rows = () => [...document.querySelectorAll("[data-row]")];
const picks = () => [...document.querySelectorAll('[data-row] .pick input[type="checkbox"]')];
const chosen = new Set();
let atHand = null;

function show() {
  for (const pick of picks()) {
    pick.checked = chosen.has(pick.value);
  }
  for (const row of rows()) {
    row.classList.toggle("at-hand", row.id === atHand);
  }
  const all = document.querySelector("[data-pick-all]");
  const here = picks().filter((pick) => pick.checked).length;
  if (all) {
    all.checked = here > 0 && here === picks().length;
    all.indeterminate = here > 0 && here < picks().length;
  }
  const bar = document.querySelector("[data-bulk]");
  if (bar) {
    bar.classList.toggle("idle", chosen.size === 0);
    keepElsewhere(bar);
    const words = `${chosen.size} chosen`;
    const count = document.getElementById("chosen-count");
    if (count.textContent !== words) {
      count.textContent = words;
    }
  }
}

// Chosen rows that newer ones have moved to the next page are sent as well.
function keepElsewhere(bar) {
  const here = new Set(picks().map((pick) => pick.value));
  bar.querySelectorAll("[data-elsewhere]").forEach((one) => one.remove());
  for (const value of chosen) {
    if (!here.has(value) && picks().length > 0) {
      const one = document.createElement("input");
      Object.assign(one, { type: "hidden", name: picks()[0].name, value });
      one.dataset.elsewhere = "";
      bar.append(one);
    }
  }
}

function choose(pick, on) {
  chosen[on ? "add" : "delete"](pick.value);
}

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-pick-all]")) {
    picks().forEach((pick) => choose(pick, event.target.checked));
  } else if (picks().includes(event.target)) {
    choose(event.target, event.target.checked);
  } else {
    return;
  }
  show();
});

function go(step) {
  const all = rows();
  const place = all.findIndex((row) => row.id === atHand);
  const row = all[Math.max(0, Math.min(all.length - 1, place < 0 ? 0 : place + step))];
  if (row) {
    atHand = row.id;
    show();
    row.querySelector("[data-open]").focus();
    row.scrollIntoView({ block: "nearest" });
  }
}

const keys = {
  j: () => go(1),
  k: () => go(-1),
  x: () => {
    const pick = document.getElementById(atHand)?.querySelector(".pick input");
    if (pick) {
      choose(pick, !pick.checked);
      show();
    }
  },
  Enter: () => document.getElementById(atHand)?.querySelector("[data-open]").click(),
  o: () => document.getElementById(atHand)?.querySelector("[data-open]").click(),
  "/": () => document.querySelector("[data-search]")?.focus(),
  "?": () => document.getElementById("keys")?.showModal(),
};

document.addEventListener("keydown", (event) => {
  const field = event.target.closest("input:not([type=checkbox], [type=radio]), textarea, select");
  if (field && event.key === "Escape") {
    field.blur();
  }
  const elsewhere = event.key === "Enter" && event.target.closest("a, button, summary, input");
  if (field || elsewhere || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) {
    return;
  }
  if (Object.hasOwn(keys, event.key)) {
    event.preventDefault();
    keys[event.key]();
  }
});

// What stands in a folded part is asked for when it is opened (`toggle` does not bubble).
document.addEventListener("toggle", (event) => {
  event.target.querySelector?.('[hx-trigger="opened once"]')?.dispatchEvent(new CustomEvent("opened"));
}, true);

// The question of a bulk action comes into a dialog; when that closes, the list shows what was done.
const dialog = document.getElementById("bulk");
document.addEventListener("htmx:after:swap", () => {
  if (dialog && !dialog.open && document.getElementById("bulk-body").children.length > 0) {
    dialog.showModal();
  }
  show();
});
dialog?.addEventListener("close", () => {
  const acted = document.querySelector("#bulk-body [role=status]");
  document.getElementById("bulk-body").replaceChildren();
  if (acted) {
    location.reload();
  }
});
window.addEventListener("pageshow", () => {
  picks().filter((pick) => pick.checked).forEach((pick) => choose(pick, true));
  show();
});
