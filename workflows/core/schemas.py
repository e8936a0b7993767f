"""JSON Schema (draft 2020-12) for inputs, payloads and node configs, without network or backtracking.

Schemas are written by users and agents: references to other documents are refused (hazard S27) and patterns
run on a linear-time engine (S28), both by `jsonschema-rs`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jsonschema_rs
import msgspec

from workflows.core.errors import AobError
from workflows.core.strictjson import check, encode
from workflows.core.visits import Visits, size
from workflows.core.wording import worded

MAX_SCHEMA_BYTES = 256 * 1024
MAX_VISITS = 10_000
"""So often a schema may look at one place of a value that is `USUAL_DEPTH` deep: references multiply (`visits`)."""

USUAL_DEPTH = 8
LIGHT = 100
"""With so few visits a value is judged without being measured before."""

MAX_WORK = 20_000_000
"""So many visits one value may take in all."""

MAX_TOLD = 20_000
"""With more visits than this only the first fault is looked for: the engine describes them all at once, at 30 µs each,
and of an `anyOf` those of all its branches."""

MAX_MESSAGE = 300


class SchemaError(AobError):
    """A schema that cannot be used, or a value that does not fit one."""


class Schema:
    """A compiled schema."""

    def __init__(self, source: Any, validator: Any) -> None:
        self.source = source
        self._validator = validator
        self._visits = Visits(source)

    def visits(self, depth: int) -> int:
        """How often it may look at one place of a value that is so deep, at most."""
        return self._visits.at(depth)

    def problems(self, value: Any, *, pointer: str = "", limit: int = 100) -> list[AobError]:
        """What is wrong with the value, each with its JSON Pointer below `pointer`; empty when it fits."""
        if self._visits.at(USUAL_DEPTH) > LIGHT or not self._visits.settled:
            work = self._work(value)
            if work > MAX_WORK:
                return [_too_much_work(work, pointer)]
        if self._validator.is_valid(value):
            return []
        if self._work(value) > MAX_TOLD:
            return [self._first_problem(value, pointer)]
        found: list[AobError] = []
        for error in self._validator.iter_errors(value):
            found.append(_problem(error, pointer))
            if len(found) == limit:
                break
        return found

    def _work(self, value: Any) -> int:
        parts, depth = size(value)
        return parts * self._visits.at(depth)

    def _first_problem(self, value: Any, pointer: str) -> AobError:
        if self._visits.branches:
            return SchemaError("schema_mismatch", "The value does not fit, and is too large to say where.", pointer)
        try:
            self._validator.validate(value)
        except jsonschema_rs.ValidationError as error:
            return _problem(error, pointer)
        raise AssertionError("the value fits after all")


def compile_schema(source: Any) -> Schema:
    """The compiled schema. Raises SchemaError `schema_invalid`."""
    return _compile(msgspec.json.encode(source, order="sorted"))


@lru_cache(maxsize=512)
def _compile(source: bytes) -> Schema:
    schema = msgspec.json.decode(source)
    try:
        validator = jsonschema_rs.Draft202012Validator(
            schema, retriever=_refuse, pattern_options=jsonschema_rs.RegexOptions(), validate_formats=False
        )
    except (ValueError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
        raise SchemaError("schema_invalid", f"The schema cannot be used: {_short(str(error))}") from None
    return Schema(schema, validator)


def check_schema(source: Any, *, pointer: str = "") -> list[AobError]:
    """What is wrong with a schema; empty when it can be used."""
    try:
        check(source)
        if len(encode(source)) > MAX_SCHEMA_BYTES:
            raise SchemaError("schema_too_large", f"The schema is larger than {MAX_SCHEMA_BYTES} bytes.")
        remote = _remote_reference(source, pointer)
        if remote is not None:
            return [remote]
        if compile_schema(source).visits(USUAL_DEPTH) > MAX_VISITS:
            raise SchemaError(
                "schema_limit",
                f"The schema looks at one place of a value more than {MAX_VISITS} times, or without end; the limit is "
                f"{MAX_VISITS}.",
                hint="References multiply: let fewer definitions name others in allOf, anyOf or oneOf.",
            )
    except AobError as error:
        return [SchemaError(error.code, error.message, pointer + (error.pointer or ""), error.hint)]
    return []


def apply_defaults(schema: Any, value: Any) -> Any:
    """The value with the `default`s of missing properties filled in; the argument is not changed."""
    if not isinstance(schema, dict) or not isinstance(value, dict):
        return value
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return value
    filled = dict(value)
    for name, part in properties.items():
        if not isinstance(part, dict):
            continue
        if name in filled:
            filled[name] = apply_defaults(part, filled[name])
        elif "default" in part:
            filled[name] = part["default"]
    return filled


def _refuse(uri: str) -> Any:
    raise ValueError(f"references to other documents are not followed: {uri}")


def _remote_reference(source: Any, pointer: str) -> AobError | None:
    work = [(source, pointer)]
    while work:
        part, place = work.pop()
        if isinstance(part, list):
            work.extend((item, f"{place}/{number}") for number, item in enumerate(part))
        elif isinstance(part, dict):
            for key, item in part.items():
                inner = f"{place}/{key.replace('~', '~0').replace('/', '~1')}"
                if key in ("$ref", "$dynamicRef") and isinstance(item, str) and not item.startswith("#"):
                    return SchemaError(
                        "schema_remote_reference",
                        f"The schema refers to {item[:100]!r}, outside of itself.",
                        inner,
                        "Copy the definition into `$defs` and refer to it as `#/$defs/…`.",
                    )
                work.append((item, inner))
    return None


def _too_much_work(work: int, pointer: str) -> AobError:
    return SchemaError(
        "schema_limit",
        f"To judge this value by its schema could take {work} visits; the limit is {MAX_WORK}.",
        pointer,
        "Send a smaller value, or let fewer definitions of the schema name others in allOf, anyOf or oneOf.",
    )


def _problem(error: Any, pointer: str) -> AobError:
    place = pointer + "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in error.instance_path)
    keyword = str(error.schema_path[-1]) if error.schema_path else "false"
    words = {"additionalProperties": "unknown_field", "required": "field_missing", "type": "wrong_type"}
    kind, instance = error.kind, error.instance
    if kind.name == "propertyNames":
        # The fault is one of a key, and is told inside of this one.
        kind, instance = kind.error.kind, kind.error.instance
        place = f"{place}/{str(instance).replace('~', '~0').replace('/', '~1')}"
    message, hint = worded(keyword, kind, instance, error.message, str(next(reversed(error.instance_path), "")))
    return SchemaError(words.get(keyword, f"schema_{_snake(keyword)}"), _short(message), place, hint)


def _snake(keyword: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in keyword).strip("$_")


def _short(text: str) -> str:
    """A message without the dump of a huge value in it."""
    return text if len(text) <= MAX_MESSAGE else f"{text[: MAX_MESSAGE // 2]} … {text[-MAX_MESSAGE // 2 :]}"
