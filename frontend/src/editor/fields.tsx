// Forms from JSON Schema. Every value may hold {{ expressions }}; what no simple field can show is edited as JSON.

import { createContext, type ReactElement, useContext, useId, useRef, useState } from "react";

import { type Json, type JsonObject, omit } from "../model/document";
import type { Scope } from "../model/scope";
import type { Part, Schema } from "../model/types";
import { readWritten, says, structureIn, written } from "../model/written";
import type { Problem } from "../shared/api";
import { Plus, X } from "../shared/icons";
import { Prose } from "../shared/Prose";
import { Code, Preview } from "./Code";
import { UNREAD, useEditor } from "./store";

/** What stands before the pointers of a form's fields where it is no form of the document: they are kept apart then. */
export const FormOf = createContext("");

export interface FieldProps {
  name: string;
  schema: Schema;
  value: Json | undefined;
  part?: Part | undefined;
  required?: boolean;
  scope: Scope;
  /** JSON Pointer of this value, for the problems that belong to it. */
  pointer: string;
  problems: readonly Problem[];
  onChange: (value: Json | undefined) => void;
}

function titleOf(name: string, schema: Schema): string {
  const words = name.replaceAll("_", " ");
  return String(schema["title"] ?? words.charAt(0).toUpperCase() + words.slice(1));
}

type Kind = "expression" | "cases" | "choice" | "switch" | "number" | "text" | "record" | "object" | "json";

function kindOf(schema: Schema, part: Part | undefined, value: Json | undefined): Kind {
  if (part === "expression" || part === "cases") return part;
  const types = Array.isArray(schema["type"]) ? (schema["type"] as string[]) : [schema["type"] as string | undefined];
  if (Array.isArray(schema["enum"])) return "choice";
  if (types.length === 1 && types[0] === "boolean") return "switch";
  if (types.length === 1 && (types[0] === "integer" || types[0] === "number")) return "number";
  if (types.includes("object") && (value === undefined || isRecord(value) || value === "")) {
    return schema["properties"] === undefined ? "record" : "object";
  }
  if (types.includes("string") || types.includes("integer")) return typeof value === "object" && value !== null ? "json" : "text";
  return typeof value === "string" ? "text" : "json";
}

function isRecord(value: Json | undefined): value is JsonObject {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

export function Field(props: FieldProps): ReactElement {
  const { name, schema, value, part, required = false, pointer, problems, onChange } = props;
  const id = useId();
  const found = kindOf(schema, part, value);
  // Any JSON may stand here: text or JSON is chosen once, and not again with every letter.
  const isAny = schema["type"] === undefined && (found === "text" || found === "json");
  const mayBeText = isAny && part !== "literal";
  const [asJson, setAsJson] = useState(found === "json" || value === "");
  const [isMeantAsText, setMeantAsText] = useState(false);
  const kind = isAny ? (asJson || !mayBeText ? "json" : "text") : found;
  const keeper = useUnread(pointer);
  const change = (): void => {
    if (!asJson) {
      const structure = typeof value === "string" ? structureIn(value) : undefined;
      if (structure !== undefined) onChange(structure);
    } else {
      if (keeper.kept !== undefined) onChange(keeper.kept.text);
      keeper.keep(null);
    }
    setMeantAsText(asJson);
    setAsJson(!asJson);
  };
  const own = problems.filter((one) => one.pointer === pointer || (found !== "object" && one.pointer.startsWith(`${pointer}/`)));
  const title = titleOf(name, schema);
  return (
    <div className={`field ${own.length > 0 ? "has-problem" : ""}`} data-pointer={pointer}>
      <div className="field-head">
        <span className="field-title" id={`${id}-title`}>
          {title}
          {required && <span className="hint"> required</span>}
        </span>
        {mayBeText && (
          <button type="button" className="link" onClick={change}>
            {kind === "json" ? "as text" : "as JSON"}
          </button>
        )}
        {!required && value !== undefined && (
          <button type="button" className="link" onClick={() => onChange(undefined)} aria-label={`Clear ${title}`}>
            clear
          </button>
        )}
      </div>
      <Control {...props} kind={kind} id={id} title={title} invalid={own.some((one) => one.severity === "error")} mayBeText={mayBeText} isMeantAsText={isMeantAsText} />
      {typeof schema["description"] === "string" && (
        <p className="hint">
          <Prose text={schema["description"]} />
        </p>
      )}
      {own.filter((one) => one.code !== UNREAD).map((one) => (
        <p key={`${one.pointer}${one.code}`} className={`problem ${one.severity}`} role="alert">
          <Prose text={`${one.message} ${one.hint ?? ""}`} />
        </p>
      ))}
    </div>
  );
}

interface ControlProps extends FieldProps {
  kind: Kind;
  id: string;
  title: string;
  invalid: boolean;
  /** Whether text may stand here beside JSON, and whether somebody said that it is text. */
  mayBeText: boolean;
  isMeantAsText: boolean;
}

function Control(props: ControlProps): ReactElement {
  const { kind, schema, value, scope, title, invalid, onChange } = props;
  switch (kind) {
    case "expression":
      return (
        <>
          <Code value={String(value ?? "")} kind="expression" scope={scope} label={title} invalid={invalid} lines={1} placeholder="a CEL expression, e.g. nodes.list.body.items" onChange={onChange} />
          {!invalid && <Preview text={String(value ?? "")} kind="expression" scope={scope} />}
        </>
      );
    case "text": {
      const text = value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value);
      const examples = schema["examples"];
      if (Array.isArray(examples) && examples.length > 1) return <Suggested {...props} text={text} examples={examples.map(String)} />;
      return (
        <>
          <Code
            value={text}
            kind="template"
            scope={scope}
            label={title}
            invalid={invalid}
            lines={text.includes("\n") ? Math.min(text.split("\n").length, 12) : 1}
            placeholder={Array.isArray(examples) ? `e.g. ${String(examples[0])}` : undefined}
            // An object that is written where any JSON may stand is meant as one.
            onChange={(next) => onChange((props.mayBeText && !props.isMeantAsText ? structureIn(next) : undefined) ?? next)}
          />
          {props.mayBeText && typeof value === "object" && value !== null && <p className="hint">Kept as JSON, not as text.</p>}
          {!invalid && <Preview text={text} kind="template" scope={scope} />}
        </>
      );
    }
    case "choice":
      return (
        <select
          aria-label={title}
          aria-invalid={invalid}
          value={value === undefined ? "" : String(value)}
          onChange={(event) => onChange(event.target.value === "" ? undefined : event.target.value)}
        >
          <option value="">{schema["default"] === undefined ? "–" : `default: ${String(schema["default"])}`}</option>
          {(schema["enum"] as Json[]).map((one) => (
            <option key={String(one)}>{String(one)}</option>
          ))}
        </select>
      );
    case "switch":
      return (
        <input
          type="checkbox"
          aria-label={title}
          checked={value === undefined ? schema["default"] === true : value === true}
          onChange={(event) => onChange(event.target.checked)}
        />
      );
    case "number":
      return (
        <input
          type="number"
          aria-label={title}
          aria-invalid={invalid}
          value={typeof value === "number" ? value : ""}
          placeholder={schema["default"] === undefined ? "" : String(schema["default"])}
          step={schema["type"] === "integer" ? 1 : "any"}
          onChange={(event) => onChange(event.target.value === "" ? undefined : Number(event.target.value))}
        />
      );
    case "record":
      return <RecordControl {...props} />;
    case "cases":
      return <CasesControl {...props} />;
    case "object":
      return (
        <SchemaForm
          schema={schema}
          value={isRecord(value) ? value : {}}
          parts={{}}
          scope={scope}
          pointer={props.pointer}
          problems={props.problems}
          onChange={(next) => onChange(Object.keys(next).length === 0 && !props.required ? undefined : next)}
        />
      );
    default:
      return <JsonControl {...props} />;
  }
}

/** Text of which most values are known beforehand; an expression may stand there as well. */
function Suggested({ text, examples, id, title, scope, invalid, required = false, onChange }: FieldProps & { text: string; examples: string[]; id: string; title: string; invalid: boolean }): ReactElement {
  return (
    <>
      <input
        list={`${id}-examples`}
        aria-label={title}
        aria-invalid={invalid}
        value={text}
        placeholder={`e.g. ${examples[0]}`}
        onChange={(event) => onChange(event.target.value === "" && !required ? undefined : event.target.value)}
      />
      <datalist id={`${id}-examples`}>
        {examples.map((one) => (
          <option key={one} value={one} />
        ))}
      </datalist>
      {!invalid && <Preview text={text} kind="template" scope={scope} />}
    </>
  );
}

/** What a field holds that cannot be read: it is kept, also while another node is looked at, until it can be. */
function useUnread(pointer: string): { kept: { text: string; message: string } | undefined; keep: (text: string | null, message?: string) => void } {
  const key = `${useContext(FormOf)}${pointer}`;
  const kept = useEditor((state) => state.unread.get(key));
  return { kept, keep: (text, message = "") => useEditor.getState().keepText(key, text, message) };
}

/** JSON with templates in its strings. What cannot be read yet stays in the field and does not touch the document. */
function JsonControl({ schema, part, value, scope, title, invalid, pointer, mayBeText, onChange }: ControlProps): ReactElement {
  const { kept, keep } = useUnread(pointer);
  const [typed, setTyped] = useState<string | null>(null);
  const text = kept?.text ?? (typed !== null && says(typed, value, mayBeText) ? typed : written(value));
  const change = (next: string): void => {
    setTyped(next);
    if (next.trim() === "") {
      keep(null);
      onChange(undefined);
      return;
    }
    const read = readWritten(next, mayBeText);
    if (read.ok) {
      keep(null);
      onChange(read.value);
    } else keep(next, `Not JSON yet: ${read.error}.`);
  };
  return (
    <>
      <Code
        value={text}
        kind="json"
        scope={scope}
        label={title}
        invalid={invalid || kept !== undefined}
        lines={Math.min(Math.max(text.split("\n").length, 3), 16)}
        placeholder={exampleOf(schema, part)}
        onChange={change}
      />
      {kept !== undefined && (
        <p className="problem error" role="alert">
          {kept.message} The last readable value counts until it is.{" "}
          <button type="button" className="link" onClick={() => keep(null)}>
            Back to that
          </button>
        </p>
      )}
      {kept === undefined && !invalid && text.includes("{{") && <JsonPreview value={value} scope={scope} />}
    </>
  );
}

function exampleOf(schema: Schema, part: Part | undefined): string | undefined {
  const examples = schema["examples"];
  if (Array.isArray(examples)) return typeof examples[0] === "string" ? `e.g. ${examples[0]}` : JSON.stringify(examples[0]);
  return schema["type"] === undefined && part !== "literal" ? '{"total": "{{ nodes.list.body.total }}"}' : undefined;
}

function JsonPreview({ value, scope }: { value: Json | undefined; scope: Scope }): ReactElement {
  return <Preview text={value ?? null} kind="template" scope={scope} />;
}

/** Names and values in rows: headers, query, form. */
function RecordControl({ value, scope, title, invalid, onChange }: FieldProps & { title: string; invalid: boolean }): ReactElement {
  const record = isRecord(value) ? value : {};
  const [fresh, setFresh] = useState("");
  const rows = Object.entries(record);
  const box = useRef<HTMLDivElement>(null);
  const add = (): void => {
    const name = fresh.trim();
    if (name === "" || Object.hasOwn(record, name)) return;
    onChange({ ...record, [name]: "" });
    setFresh("");
    // On to the value: that is what one writes next.
    requestAnimationFrame(() => requestAnimationFrame(() => [...(box.current?.querySelectorAll<HTMLElement>(".row:not(.fresh) .cm-content, .row:not(.fresh) textarea") ?? [])].at(-1)?.focus()));
  };
  return (
    <div className="rows" ref={box}>
      {rows.map(([key, one], index) => (
        <div className="row" key={index}>
          <input
            aria-label={`Name of entry ${index + 1} of ${title}`}
            defaultValue={key}
            onBlur={(event) => {
              const to = event.target.value.trim();
              if (to !== "" && to !== key && !Object.hasOwn(record, to)) {
                onChange(Object.fromEntries(rows.map(([name, v]) => [name === key ? to : name, v])));
              } else event.target.value = key;
            }}
          />
          <Code
            value={typeof one === "string" ? one : JSON.stringify(one)}
            kind="template"
            scope={scope}
            label={`${title}: ${key}`}
            invalid={invalid}
            onChange={(text) => onChange({ ...record, [key]: text })}
          />
          <button type="button" className="icon" aria-label={`Remove ${key}`} onClick={() => onChange(nonEmpty(omit(record, [key])))}>
            <X size={16} aria-hidden="true" />
          </button>
        </div>
      ))}
      <div className="row fresh">
        <input
          aria-label={`New entry of ${title}`}
          placeholder="name"
          value={fresh}
          onChange={(event) => setFresh(event.target.value)}
          onKeyDown={(event) => {
            if (event.key !== "Enter") return;
            event.preventDefault();
            add();
          }}
        />
        <button type="button" className="icon" aria-label={`Add an entry to ${title}`} title="Add" onClick={add}>
          <Plus size={16} aria-hidden="true" />
        </button>
      </div>
    </div>
  );
}

function nonEmpty(record: Record<string, Json>): Json | undefined {
  return Object.keys(record).length === 0 ? undefined : record;
}

/** The cases of a switch: the first whose condition is true gives the port. */
function CasesControl({ value, scope, title, problems, pointer, onChange }: FieldProps & { title: string }): ReactElement {
  const cases = (Array.isArray(value) ? value : []).filter(isRecord);
  const put = (index: number, change: JsonObject): void =>
    onChange(cases.map((one, i) => (i === index ? { ...one, ...change } : one)));
  return (
    <div className="rows">
      {cases.map((one, index) => (
        <div className="row case" key={index}>
          <input
            aria-label={`Name of case ${index + 1}`}
            value={String(one["name"] ?? "")}
            onChange={(event) => put(index, { name: event.target.value })}
          />
          <Code
            value={String(one["when"] ?? "")}
            kind="expression"
            scope={scope}
            label={`Condition of case ${String(one["name"] ?? index + 1)}`}
            invalid={problems.some((problem) => problem.pointer.startsWith(`${pointer}/${index}/`))}
            onChange={(text) => put(index, { when: text })}
          />
          <button type="button" className="icon" aria-label={`Remove case ${index + 1}`} onClick={() => onChange(cases.filter((_, i) => i !== index))}>
            <X size={16} aria-hidden="true" />
          </button>
        </div>
      ))}
      <button type="button" onClick={() => onChange([...cases, { name: `case${cases.length + 1}`, when: "" }])}>
        Add a case to {title.toLowerCase()}
      </button>
    </div>
  );
}

/** A part of a form that is made when it is opened. */
export function Folded({ title, hint, isOpen, className = "", children }: { title: string; hint?: string; isOpen: boolean; className?: string; children: () => ReactElement }): ReactElement {
  const [open, setOpen] = useState(isOpen);
  return (
    <details className={className} open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        {title} {hint && <span className="hint">{hint}</span>}
      </summary>
      {open && children()}
    </details>
  );
}

export interface SchemaFormProps {
  schema: Schema;
  value: JsonObject;
  parts: Readonly<Record<string, Part>>;
  scope: Scope;
  pointer: string;
  problems: readonly Problem[];
  hidden?: ReadonlySet<string>;
  onChange: (value: JsonObject) => void;
}

/** A field for each property; those that were neither required nor set when the form was opened stand below "More". */
export function SchemaForm({ schema, value, parts, scope, pointer, problems, hidden, onChange }: SchemaFormProps): ReactElement {
  const properties = Object.entries((schema["properties"] ?? {}) as Record<string, Schema>).filter(([key]) => !hidden?.has(key));
  const required = new Set((schema["required"] ?? []) as string[]);
  // A field keeps its place while the form is open: it does not jump away from under the hands when it gets a value.
  const [set] = useState(() => new Set(Object.keys(value)));
  const isPicked = ([key]: [string, Schema]): boolean => required.has(key) || set.has(key);
  const areAll = properties.length <= 3 || !properties.some(isPicked);
  const isFirst = (one: [string, Schema]): boolean => areAll || isPicked(one);
  const field = ([key, part]: [string, Schema]): ReactElement => (
    <Field
      key={key}
      name={key}
      schema={part}
      value={value[key]}
      part={parts[key]}
      required={required.has(key)}
      scope={scope}
      pointer={`${pointer}/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`}
      problems={problems}
      onChange={(next) => onChange(next === undefined ? omit(value, [key]) : { ...value, [key]: next })}
    />
  );
  const more = properties.filter((one) => !isFirst(one));
  return (
    <div className="fields">
      {properties.filter(isFirst).map(field)}
      {more.length > 0 && (
        <Folded
          title="More"
          hint={more.map(([key, part]) => titleOf(key, part)).join(", ")}
          isOpen={more.some(([key]) => problems.some((one) => one.pointer.startsWith(`${pointer}/${key}`)))}
        >
          {() => <div className="fields">{more.map(field)}</div>}
        </Folded>
      )}
    </div>
  );
}
