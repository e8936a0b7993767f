// A list that is searched while one types: arrows move, Enter chooses.

import { type ReactElement, type ReactNode, useEffect, useId, useRef, useState } from "react";

import { Prose } from "./Prose";

export interface Choice {
  key: string;
  text: string;
  detail?: string;
  group?: string;
  icon?: ReactNode;
}

export function Chooser({ label, choices, empty, note, onChoose }: { label: string; choices: readonly Choice[]; empty: string; note?: string | undefined; onChoose: (key: string) => void }): ReactElement {
  const [search, setSearch] = useState("");
  const [at, setAt] = useState(0);
  const list = useRef<HTMLUListElement>(null);
  const id = useId();
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const found = choices.filter((one) => words.every((word) => `${one.text} ${one.key} ${one.group ?? ""} ${one.detail ?? ""}`.toLowerCase().includes(word)));
  found.sort((a, b) => rank(a) - rank(b));
  const here = Math.min(at, found.length - 1);
  useEffect(() => {
    list.current?.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest" });
  }, [here]);

  function rank(one: Choice): number {
    const word = words[0];
    if (word === undefined) return 0;
    return one.text.toLowerCase().startsWith(word) || one.key.toLowerCase().startsWith(word) ? 0 : 1;
  }

  return (
    <div className="chooser">
      <input
        autoFocus
        role="combobox"
        aria-label={label}
        aria-expanded="true"
        aria-controls={id}
        aria-activedescendant={found[here] ? `${id}-${here}` : undefined}
        placeholder={label}
        value={search}
        onChange={(event) => {
          setSearch(event.target.value);
          setAt(0);
        }}
        onKeyDown={(event) => {
          if (event.key === "ArrowDown") setAt(Math.min(here + 1, found.length - 1));
          else if (event.key === "ArrowUp") setAt(Math.max(here - 1, 0));
          else if (event.key === "Enter" && found[here]) onChoose(found[here].key);
          else return;
          event.preventDefault();
        }}
      />
      <ul role="listbox" id={id} ref={list} aria-label={label}>
        {found.map((one, index) => (
          <li
            key={one.key}
            id={`${id}-${index}`}
            role="option"
            aria-selected={index === here}
            onClick={() => onChoose(one.key)}
            onMouseEnter={() => setAt(index)}
          >
            {one.icon}
            <span>
              <strong>{one.text}</strong>
              {one.detail && (
                <small>
                  <Prose text={one.detail} />
                </small>
              )}
            </span>
            {one.group && <span className="hint">{one.group}</span>}
          </li>
        ))}
        {found.length === 0 && <li className="hint">{empty}</li>}
      </ul>
      {note !== undefined && <p className="hint note-below">{note}</p>}
    </div>
  );
}
