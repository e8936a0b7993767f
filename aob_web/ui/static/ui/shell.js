// What every page has: parts that ask for themselves again, menus that close, dialogs that open by a button.
"use strict";
document.documentElement.classList.add("scripted");

// A part with data-refresh="5000" asks for itself that often (hx-trigger="refresh"), not while the tab is hidden, a dialog
// is open, or somebody is selecting text in it.
function isAtRest(part) {
  const selection = document.getSelection();
  const selects = selection !== null && !selection.isCollapsed && part.contains(selection.anchorNode);
  return document.visibilityState === "visible" && !document.querySelector("dialog[open]") && !selects;
}

const asked = new WeakMap();
setInterval(() => {
  for (const part of document.querySelectorAll("[data-refresh]")) {
    const now = performance.now();
    if (now - (asked.get(part) ?? asked.set(part, now).get(part)) >= Number(part.dataset.refresh) && isAtRest(part)) {
      asked.set(part, now);
      part.dispatchEvent(new CustomEvent("refresh"));
    }
  }
}, 500);
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") {
    document.querySelectorAll("[data-refresh]").forEach((part) => part.dispatchEvent(new CustomEvent("refresh")));
  }
});

document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) {
      menu.open = false;
    }
  }
  const opener = event.target.closest("[data-opens]");
  if (opener) {
    event.preventDefault();
    document.getElementById(opener.dataset.opens).showModal();
  }
  const closer = event.target.closest("[data-closes]");
  if (closer) {
    event.preventDefault();
    closer.closest("dialog").close();
  }
  if (event.target instanceof HTMLDialogElement) {
    event.target.close();
  }
});

document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && document.querySelector("details.menu[open]");
  if (menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

// How many tickets wait for whoever is signed in: live on every page, and told by the browser where that was wished for.
const MOST_TOLD = 1000;
const HANDED = { ticket: "", title: "An older ticket came to you" };
let mine = null;
let newest = "";
let inbox = null;
let pause = 1000;

function showMine(number) {
  for (const badge of document.querySelectorAll("nav [data-mine]")) {
    badge.hidden = number === 0;
    badge.firstElementChild.textContent = number >= MOST_TOLD ? `${MOST_TOLD - 1}+` : number;
  }
}

function tell(ticket) {
  if (localStorage.getItem("aob-notify") !== "on" || !("Notification" in window) || Notification.permission !== "granted") {
    return;
  }
  try {
    // Several pages that are open tell of one ticket once: a notification takes the place of another with its tag.
    const told = new Notification(ticket.title, { body: "A run waits for your decision.", tag: ticket.ticket });
    told.addEventListener("click", () => {
      window.focus();
      location.assign(ticket.ticket ? `/approvals/${ticket.ticket}/` : "/approvals/");
    });
  } catch {
    // Some browsers on phones only let service workers notify; the number in the navigation is there all the same.
  }
}

function listen() {
  inbox = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws/inbox/`);
  inbox.addEventListener("message", (event) => {
    const told = JSON.parse(event.data);
    pause = 1000;
    showMine(told.mine);
    const isNewer = told.newest && told.newest.at > newest;
    // A newer one is news, also when another was decided in the same moment. One more that is not newer is an old one that
    // was handed to this person, or that came to them by an escalation.
    if (mine !== null && (isNewer || told.mine > mine)) {
      tell(isNewer ? told.newest : HANDED);
    }
    mine = told.mine;
    newest = isNewer ? told.newest.at : newest;
  });
  inbox.addEventListener("close", (event) => {
    if (event.code !== 4401 && event.code !== 4403 && inbox === event.target) {
      setTimeout(() => inbox === event.target && listen(), pause);
      pause = Math.min(pause * 2, 60_000);
    }
  });
}

if (document.querySelector("nav [data-mine]")) {
  // A page that is kept for going back holds no connection.
  window.addEventListener("pageshow", () => inbox ?? listen());
  window.addEventListener("pagehide", () => {
    const last = inbox;
    inbox = null;
    last?.close();
  });
}
