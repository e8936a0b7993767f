// Making elements without any HTML text: what users write can only ever be text.

type Attributes = Record<string, string | number | boolean | undefined>;

export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children);
  return made;
}

/** Tells something to people and to screen readers, for a moment. */
export function say(text: string): void {
  let place = document.getElementById("said");
  if (place === null) {
    place = el("div", { id: "said", role: "status" });
    document.body.append(place);
  }
  place.textContent = text;
  place.classList.add("shown");
  clearTimeout(Number(place.dataset["timer"]));
  place.dataset["timer"] = String(setTimeout(() => place.classList.remove("shown"), 2_500));
}

export async function copy(text: string, what: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    say(`${what} copied`);
  } catch {
    say("The browser does not allow copying here");
  }
}
