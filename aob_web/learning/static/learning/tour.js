// The tour's card: shows the step that fits what is open, stays beside what it points at, and notes how far one is.
const card = document.getElementById("tour");
const home = card.parentNode;
const panels = [...card.querySelectorAll("[data-step]")];
const go = document.getElementById("tour-go");
const end = document.getElementById("tour-end");
const status = card.querySelector("[role=status]");
const CORNERS = ["bottom right", "top right", "bottom left", "top left"];
let shown = null;
let target = null;
let ended = false;

function tell(values) {
  const body = new URLSearchParams({ ...values, place: location.pathname, csrfmiddlewaretoken: card.dataset.csrf });
  return fetch(card.dataset.url, { method: "POST", body }).catch(() => undefined);
}

function find(panel) {
  const within = panel.dataset.dialog ? document.querySelector(panel.dataset.dialog) : document;
  for (const selector of panel.dataset.target.split("|")) {
    const found = within && [...within.querySelectorAll(selector)].find((one) => !card.contains(one));
    if (found) return found;
  }
  return null;
}

/** The panel of what is open now: that of an open dialog before that of the page. */
function current() {
  const open = panels.find((one) => one.dataset.dialog && document.querySelector(one.dataset.dialog));
  return open ?? panels.find((one) => !one.dataset.dialog && "ended" in one.dataset === ended) ?? panels[0];
}

function update() {
  const panel = current();
  const dialog = panel.dataset.dialog && document.querySelector(panel.dataset.dialog);
  // What is behind a modal dialog cannot be reached, so the card goes into it, and back when it is closed.
  if (dialog && card.parentNode !== dialog) dialog.prepend(card);
  if (!dialog && card.parentNode !== home) home.prepend(card);
  const found = find(panel);
  if (found !== target) {
    target?.removeAttribute("data-tour-target");
    target = found;
    target?.setAttribute("data-tour-target", "");
    go.hidden = target === null;
  }
  if (panel !== shown) show(panel);
  place();
}

function show(panel) {
  shown = panel;
  for (const one of panels) one.hidden = one !== panel;
  const count = `Step ${panel.dataset.step} of ${card.dataset.steps}`;
  card.querySelector(".tour-count").textContent = count;
  document.getElementById("tour-title").textContent = panel.dataset.title;
  setTimeout(() => (status.textContent = `Tour. ${count}: ${panel.dataset.title}. ${panel.textContent.trim()}`), 200);
  if (ended) {
    end.textContent = "Close";
    end.value = "close";
    void tell({ action: "finish" });
  } else void tell({ action: "reach", step: panel.dataset.step });
}

/** Into the first corner where it covers nothing of what it points at. */
function place() {
  const spot = target?.getBoundingClientRect();
  for (const corner of CORNERS) {
    card.dataset.corner = corner;
    const own = card.getBoundingClientRect();
    if (!spot || spot.right < own.left || spot.left > own.right || spot.bottom < own.top || spot.top > own.bottom) return;
  }
  card.dataset.corner = CORNERS[0];
}

go.addEventListener("click", () => {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  target.scrollIntoView({ block: "center", behavior: still ? "auto" : "smooth" });
  if (target.tabIndex < 0) target.tabIndex = -1;
  target.focus({ preventScroll: true });
});

let due = false;
function later() {
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    update();
  });
}

async function watchRun() {
  for (;;) {
    const answer = await fetch(`/api/v1/runs/${card.dataset.run}`).catch(() => null);
    if (answer?.ok && (await answer.json()).ended_at) break;
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
  ended = true;
  update();
}

card.classList.add("floating");
new MutationObserver(later).observe(document.body, { childList: true, subtree: true });
addEventListener("scroll", later, { passive: true, capture: true });
addEventListener("resize", later);
update();
if (card.dataset.run) void watchRun();
