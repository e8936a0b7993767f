"""What a JSON Schema fault is in the words of a person who fills in a form (pure).

The codes of the faults come from the keywords (`schemas`); here are only message and hint.
"""

from __future__ import annotations

from typing import Any

from workflows.core.strictjson import encode

MAX_VALUE = 80
_KINDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
}


def worded(keyword: str, kind: Any, instance: Any, message: str, name: str = "") -> tuple[str, str | None]:
    """Message and hint of a fault; `message` is the validator's own, for keywords without better words.

    `name` is what the value is called where it stands.
    """
    match keyword:
        case "required":
            return f"`{kind.property}` is missing.", "Give it a value."
        case "additionalProperties" | "unevaluatedProperties":
            names = ", ".join(f"`{name}`" for name in kind.unexpected[:5])
            return f"{names} {'is' if len(kind.unexpected) == 1 else 'are'} not known here.", "Is it misspelt?"
        case "type":
            return f"{_shown(instance)} is not {_types(kind.value)}.", None
        case "enum":
            return f"{_shown(instance)} is none of {', '.join(_shown(one) for one in kind.options[:20])}.", None
        case "minLength" | "minItems" | "minProperties" if not instance:
            return _empty(keyword, name)
        case "minLength" | "maxLength":
            return _length(keyword, kind.limit, len(instance), "character"), None
        case "minItems" | "maxItems":
            return _length(keyword, kind.limit, len(instance), "entry"), None
        case "minProperties" | "maxProperties":
            return _length(keyword, kind.limit, len(instance), "entry"), None
        case "minimum" | "maximum":
            return f"{_shown(instance)} is not at {'least' if keyword == 'minimum' else 'most'} {kind.limit}.", None
        case "exclusiveMinimum" | "exclusiveMaximum":
            word = "more" if keyword == "exclusiveMinimum" else "less"
            return f"{_shown(instance)} is not {word} than {kind.limit}.", None
        case "pattern":
            return f"{_shown(instance)} does not have the form `{kind.pattern}`.", None
        case "oneOf" | "anyOf":
            return f"{_shown(instance)} has none of the forms that are allowed here.", None
    return message, None


def _empty(keyword: str, name: str) -> tuple[str, str]:
    if name == "nodes":
        return "There is no node in it yet.", "Add one."
    hint = "Give it a value." if keyword == "minLength" else "Give it at least one entry."
    return (f"`{name}` is empty." if name else "It is empty."), hint


def _length(keyword: str, limit: int, length: int, what: str) -> str:
    def several(count: int) -> str:
        return f"{count} {what}" if count == 1 else f"{count} {'entries' if what == 'entry' else what + 's'}"

    word = "at least" if keyword.startswith("min") else "at most"
    return f"It has {several(length)}; it needs {word} {several(limit)}."


def _types(wanted: Any) -> str:
    names = wanted if isinstance(wanted, list) else [wanted]
    return " or ".join(_KINDS.get(str(name), str(name)) for name in names)


def _shown(value: Any) -> str:
    text = encode(value).decode(errors="replace")
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}…"
