"""What one evaluation may make and read (law 8): the engine bounds its iterations, but not what a call makes of a text.

`replace` squares a text, `join` repeats one, `matches` reads all of it each time. Nearly every evaluation is so small
that none of it matters: `Traits.worst` says so from the size of the data. The others get another program of the same
expression, in which these calls are told here before they are made and charge one budget, with which its loops end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import msgspec
from cel_expr_python import cel

from workflows.core.ordering import metered as metered_calls

MAX_MADE = 128 * 1024 * 1024
MAX_READ = 512 * 1024 * 1024
"""So many bytes of texts and lists one evaluation may make, and its functions read."""

PREVIEW_SHARE = 16
"""A preview gets so much less."""

SAFE = 32 * 1024 * 1024
"""An evaluation that cannot make or read more than this is not measured."""

ITERATIONS = 10_000
"""Those of the engine, for one evaluation, in all its loops."""

ELEMENT = 32
"""What an element of a list counts beside its content."""

GO_ON, KEEP = "@go", "@keep"
_KEEPING = frozenset({"map", "transformList", "transformMap", "bind"})
_COMPREHENSIONS = _KEEPING | {"filter", "all", "exists", "exists_one"}
_MAKING_LISTS = frozenset({"split", "lines", "chunk", "flatten", "zip", "findAll", "range"})
_MAKING_TEXTS = frozenset({"text", "pretty", "table", "format", "join"})
"""What they give may be as long as all of the data."""

MANY_USES = 24
"""An expression that uses fewer names than this, and no loops, makes at most so many times of its data."""

SMALL_RANGE = 1_000
MAX_PAD = 10_000
"""So long a text becomes by `pad`."""

_TOLD = {"replace": (3, 4), "join": (1, 2), "split": (2, 3), "format": (2,), "matches": (2,), "_+_": (2,)}
"""The engine's functions whose work grows faster than their arguments, or that read texts as a whole; their arities."""


class Exceeded(ValueError):
    """The budget is used up."""


class _Budget(threading.local):
    active = False
    made = read = 0
    share = 1
    why = ""


_budget = _Budget()


@contextmanager
def for_previews() -> Iterator[None]:
    """Evaluations within get the smaller budget."""
    _budget.share = PREVIEW_SHARE
    try:
        yield
    finally:
        _budget.share = 1


@contextmanager
def measuring() -> Iterator[None]:
    """One evaluation with a budget. Whoever charges beyond it gets Exceeded, and `check` raises it."""
    _budget.active, _budget.made, _budget.read, _budget.why = True, 0, 0, ""
    try:
        yield
    finally:
        _budget.active = False


def check() -> None:
    """Raises Exceeded when the budget is used up."""
    if _budget.why:
        raise Exceeded(_budget.why)


def charge(*, made: int = 0, read: int = 0) -> None:
    """Raises Exceeded, from then on each time."""
    _budget.made += made
    _budget.read += read
    for what, count, most in (("make", _budget.made, MAX_MADE), ("read", _budget.read, MAX_READ)):
        if not _budget.why and count > most // _budget.share:
            _budget.why = f"its calls {what} more than {most // _budget.share} bytes, which is the limit"
    check()


def weight(value: Any) -> int:
    """How much a value counts, in bytes."""
    if type(value) is str:
        return len(value)
    if type(value) is list or type(value) is dict:
        try:
            return ELEMENT * len(value) + len(msgspec.json.encode(value))
        except (TypeError, ValueError, OverflowError):
            return ELEMENT * len(value)
    return 1


def metered(call: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which charges what it reads and makes where somebody measures."""

    def run(*arguments: Any) -> Any:
        if not _budget.active:
            return call(*arguments)
        charge(read=sum(map(weight, arguments)))
        result = call(*arguments)
        charge(made=weight(result))
        return result

    return run


class _Operations:
    """What is done to texts in a part of an expression."""

    def __init__(self) -> None:
        self.pluses = self.joins = self.squares = self.reads = self.uses = 0
        self.factor = self.separator = 1
        self.makes_texts = False

    def add(self, lexemes: Sequence[tuple[str, str]], place: int) -> None:
        name = lexemes[place][1]
        literal = [len(text) - 2 if kind == "text" else None for kind, text in lexemes[place + 2 : place + 5 : 2]]
        self.pluses += name == "+"
        self.uses += lexemes[place][0] == "name" and lexemes[place - 1][1] != "."
        self.reads += name == "matches"
        self.makes_texts |= name in _MAKING_TEXTS
        if name == "replace":
            if len(literal) == 2 and literal[1] is not None:
                self.factor *= max(1, literal[1])
            else:
                self.squares += 1
        elif name == "join":
            self.joins += 1
            if literal and literal[0] is not None:
                self.separator += literal[0]
            else:
                self.squares += [text for _, text in lexemes[place + 2 : place + 3]] != [")"]

    @property
    def times(self) -> int:
        """So many times as large may become what is only put together."""
        return (1 + self.pluses) * self.factor * max(1, self.uses)

    def longest(self, text: int, elements: int) -> int:
        """The longest text that is made of such ones."""
        text = text * self.times
        for _ in range(min(self.squares, 4)):
            text = text * text
        for _ in range(min(self.joins, 4)):
            text = elements * (text + self.separator)
        return text


class Traits:
    """What in an expression may make much of little."""

    def __init__(self, lexemes: Sequence[tuple[str, str]], roots: frozenset[str]) -> None:
        self._once, self._often = _Operations(), _Operations()
        self._length = sum(len(text) for _, text in lexemes)
        self._ranges = 0
        self._makes_lists = self._keeps = self._pads = False
        self._loops = 0
        self._in_turn = True
        """Whether each round of each loop sees its own element of one list and nothing else of the data."""

        opened: list[str] = []
        for place, (kind, text) in enumerate(lexemes):
            if text == "(" and kind == "other":
                opened.append(lexemes[place - 1][1] if place and lexemes[place - 1][1] in _COMPREHENSIONS else "")
                if opened[-1]:
                    self._loops += 1
                    self._in_turn &= not any(opened[:-1])
            elif text == ")" and kind == "other" and opened:
                opened.pop()
            elif kind == "name" or text == "+":
                (self._often if any(opened) else self._once).add(lexemes, place)
                self._makes_lists |= text in _MAKING_LISTS
                is_root = text in roots and lexemes[place - 1][1] != "."
                self._keeps |= is_root and not _KEEPING.isdisjoint(opened)
                self._in_turn &= not (is_root and any(opened))
                self._pads |= text == "pad"
                self._ranges += text == "range" and not _is_small(lexemes[place + 2 : place + 4])
        once = self._once
        self.matter = bool(
            self._loops or self._ranges > 1 or once.squares or once.factor > 16 or once.reads > 1 or once.uses > MANY_USES
        )
        """Whether the size of the data has to be looked at at all."""

    def is_safe(self, data: Any) -> bool:
        """Whether an evaluation on this data stays small whatever it does."""
        if self._ranges > 1 or (self._ranges and self._loops):
            return False
        try:
            encoded = msgspec.json.encode(data)
        except (TypeError, ValueError, OverflowError):
            return False  # the engine says what is wrong with it
        size = len(encoded) + self._length
        if self.worst(size, size, size // 2) <= SAFE:
            return True
        longest, elements = _longest(encoded)
        return self.worst(size, max(longest, self._length), elements) <= SAFE

    def worst(self, size: int, text: int, elements: int) -> int:
        """The most bytes that it makes and reads, when the data is of that size and no text in it is longer."""
        times = ITERATIONS if self._makes_lists else min(ITERATIONS, elements)
        often, once = self._often, self._once
        text = max(text, MAX_PAD) if self._pads else text
        each = often.longest(size if often.makes_texts or self._keeps else text, times)
        made = times * each * (1 + often.reads) if self._loops else 0
        if self._in_turn and not (often.joins or often.squares or self._pads):
            each = (size + times * self._length) * often.times**self._loops
            made = min(made, each * (1 + often.reads))
        whole = max(each, size)
        if once.joins and not once.squares:
            # What is joined has been counted, or stands in the data.
            whole = (made + size + (times if self._loops else elements) * once.separator) * once.times
        else:
            whole = once.longest(whole, times if self._loops else elements + 1)
        return made + whole * (1 + once.reads)


def _is_small(after: Sequence[tuple[str, str]]) -> bool:
    return (
        [kind for kind, _ in after] == ["number", "other"] and after[0][1].isdigit() and int(after[0][1]) <= SMALL_RANGE
    )


def _longest(encoded: bytes) -> tuple[int, int]:
    """The longest text in JSON, and how many elements all lists and maps have together; rather more than too few."""
    longest = max(map(len, encoded.replace(b'\\"', b"''").split(b'"')))
    return longest, encoded.count(b",") + encoded.count(b"[") + encoded.count(b"{")


def with_meters(compiled: bytes) -> bytes:
    """The compiled expression with the calls that matter told here before they are made; loops end with the budget."""
    told = {name.encode(): _alias(name).encode() for name in _TOLD}
    return metered_calls(compiled, told, GO_ON.encode(), KEEP.encode())


def declarations() -> list[Any]:
    """What is told. Each gives false when the budget does not suffice."""
    told: dict[str, tuple[tuple[int, ...], Callable[..., bool]]] = {
        **{_alias(name): (arities, partial(_tell, name)) for name, arities in _TOLD.items()},
        GO_ON: ((0,), lambda: not _budget.why),
        KEEP: ((1,), lambda value: _is_within(made=weight(value))),
    }
    kind, anything = cel.Type.BOOL, cel.Type.DYN
    return [
        cel.FunctionDecl(
            name,
            [
                cel.Overload(id=f"{name} {arity}", return_type=kind, parameters=[anything] * arity, impl=call)
                for arity in arities
            ],
        )
        for name, (arities, call) in told.items()
    ]


def _alias(name: str) -> str:
    return f"@tell_{name}"


def _tell(name: str, *arguments: Any) -> bool:
    return _is_within(read=sum(map(weight, arguments)), made=_made(name, arguments))


def _is_within(*, made: int = 0, read: int = 0) -> bool:
    try:
        charge(made=made, read=read)
    except Exceeded:
        return False
    return True


def _made(name: str, arguments: tuple[Any, ...]) -> int:
    """How large the result will be, at most. Of arguments that the engine will refuse nothing is made."""
    first, second = arguments[0], arguments[1] if len(arguments) > 1 else ""
    if name == "_+_":
        return weight(first) + weight(second) if type(first) in (str, list) else 0
    if name == "format" and type(first) is str:
        return len(first) + weight(second)
    if name == "join" and type(first) is list and type(second) is str:
        return sum(len(one) for one in first if type(one) is str) + len(first) * len(second)
    if name == "split" and type(first) is type(second) is str:
        return len(first) + ELEMENT * (1 + (first.count(second) if second else len(first)))
    if name == "replace" and type(first) is type(second) is type(arguments[2]) is str:
        return len(first) + (first.count(second) if second else len(first) + 1) * len(arguments[2])
    return 0


def plain(value: Any) -> Any:
    """A result as Python has it, charged before it is copied: the engine may hold a thing once that is there often."""
    found = value.value()
    if type(found) is list:
        charge(made=ELEMENT * len(found))
        return [plain(one) for one in found]
    if type(found) is dict:
        charge(made=ELEMENT * len(found))
        return {key: plain(one) for key, one in found.items()}
    if type(found) is str:
        charge(made=len(found))
        return found
    return value.plain_value()
