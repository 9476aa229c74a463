"""Conditions as they are written: reads the `when` mapping of a workflow. The decision rules ask them.

    when:
      event.data.private: { ne: true }
      recipient.attributes.plan: pro
      any:
        - event.data.amount: { gte: 100 }
        - event.data.urgent: true

A mapping is AND, `any` is OR. A value stands for `{eq: value}`. Only JSON values are known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from clarion.model.workflow import Condition

#: What a path may begin with, and what may follow there.
PATHS: dict[str, tuple[str, ...]] = {
    "event": ("type", "data", "actor", "tenant"),
    "recipient": ("id", "locale", "timezone", "attributes"),
    "tenant": ("id", "name", "branding", "limits"),
    "digest": ("count", "actor_count"),
    "steps": ("seen", "read", "delivered", "sent"),
}


def parse(when: object) -> Condition:
    """The condition that a `when` mapping means. Raises ValueError with what is wrong and how to mend it."""
    if not isinstance(when, Mapping):
        raise ValueError(f"`when` is a mapping of path: value, not {_shown(when)}")
    return ("all", tuple(_entry(key, value) for key, value in when.items()))


def _entry(key: object, value: object) -> Condition:
    if key == "any":
        if not isinstance(value, list) or not value:
            raise ValueError(f"`any` takes a list of mappings of which one must hold, not {_shown(value)}")
        return ("any", tuple(parse(item) for item in value))
    path = _path(key)
    if not isinstance(value, Mapping):
        if isinstance(value, list):
            raise ValueError(f"{key}: for one of several values say {{in: [...]}}, for the very list {{eq: [...]}}")
        return ("eq", path, _json(path, value))
    if not value:
        raise ValueError(f"{key}: an empty mapping; say for example {{eq: ...}} or {{exists: true}}")
    tests = tuple(_test(path, op, operand) for op, operand in value.items())
    return tests[0] if len(tests) == 1 else ("all", tests)


def _path(key: object) -> tuple[str, ...]:
    path = tuple(key.split(".")) if isinstance(key, str) else ()
    if not path or not all(path):
        raise ValueError(f"{_shown(key)} is not a path: write for example event.data.author")
    if path[0] not in PATHS:
        raise ValueError(f"{key}: a path begins with one of {', '.join(PATHS)} (or `any` with a list of alternatives)")
    known = PATHS[path[0]]
    if len(path) < 2 or path[1] not in known:
        raise ValueError(f"{key}: {path[0]} has {', '.join(known)}; write for example {path[0]}.{known[0]}")
    return path


def _test(path: tuple[str, ...], op: object, operand: object) -> Condition:
    if not isinstance(op, str) or op not in _OPERANDS:
        raise ValueError(f"{'.'.join(path)}: {_shown(op)} is no comparison; there are {', '.join(_OPERANDS)}")
    right, wanted = _OPERANDS[op]
    if not right(operand):
        raise ValueError(f"{'.'.join(path)}: `{op}` takes {wanted}, not {_shown(operand)}")
    return (op, path, _json(path, operand))


def _json(path: tuple[str, ...], value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_json(path, item) for item in value)
    if isinstance(value, dict):
        return {key: _json(path, item) for key, item in value.items()}
    if value is None or isinstance(value, str | int | float):
        return value
    raise ValueError(f"{'.'.join(path)}: {_shown(value)} is not a JSON value; put dates and times in quotes")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _anything(_: object) -> bool:
    return True


def _ordered(operand: object) -> bool:
    return isinstance(operand, str | int | float) and not isinstance(operand, bool)


def _choices(operand: object) -> bool:
    return isinstance(operand, list) and bool(operand)


def _flag(operand: object) -> bool:
    return isinstance(operand, bool)


#: The comparisons, what their operand must be, and the words for it.
_OPERANDS: dict[str, tuple[Callable[[object], bool], str]] = {
    "eq": (_anything, "a value"),
    "ne": (_anything, "a value"),
    "in": (_choices, "a list of values"),
    "gt": (_ordered, "a number or a text"),
    "gte": (_ordered, "a number or a text"),
    "lt": (_ordered, "a number or a text"),
    "lte": (_ordered, "a number or a text"),
    "exists": (_flag, "true or false"),
}
