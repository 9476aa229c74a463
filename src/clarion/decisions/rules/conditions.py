"""Asks the conditions that `clarion.model.conditions` reads. A missing path meets only `exists: false` and `ne`."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from clarion.model.decision import Context
from clarion.model.workflow import Condition

_MISSING = object()
_HOLDS: Condition = ("all", ())

#: What conditions can see of a context, as `clarion.model.conditions.PATHS` lists it. None: not known, so missing.
_ROOTS: dict[tuple[str, str], Callable[[Context], Any]] = {
    ("event", "type"): lambda context: context.event.type,
    ("event", "data"): lambda context: context.event.data,
    ("event", "actor"): lambda context: context.event.actor,
    ("event", "tenant"): lambda context: context.event.tenant,
    ("recipient", "id"): lambda context: context.profile.id,
    ("recipient", "locale"): lambda context: context.profile.locale,
    ("recipient", "timezone"): lambda context: context.profile.timezone,
    ("recipient", "attributes"): lambda context: context.profile.attributes,
    ("tenant", "id"): lambda context: context.tenant and context.tenant.id,
    ("tenant", "name"): lambda context: context.tenant and context.tenant.name,
    ("tenant", "branding"): lambda context: context.tenant and context.tenant.branding,
    ("tenant", "limits"): lambda context: context.tenant and context.tenant.limits,
    ("digest", "count"): lambda context: 1 if context.gathered is None else context.gathered.count,
    ("digest", "actor_count"): lambda context: (
        int(context.event.actor is not None) if context.gathered is None else context.gathered.actor_count
    ),
    ("steps", "seen"): lambda context: context.told.seen_at is not None,
    ("steps", "read"): lambda context: context.told.read_at is not None,
    ("steps", "delivered"): lambda context: context.told.delivered,
    ("steps", "sent"): lambda context: dict.fromkeys(context.told.sent_channels, True),
}


def holds(condition: Condition, context: Context) -> bool:
    """Whether the condition is met."""
    return unmet(condition, context) is None


def of_the_event(condition: Condition) -> Condition:
    """What a condition asks apart from the digest, which isn't known before it closes: that may hold, so it counts."""
    if condition[0] == "all":
        return ("all", tuple(of_the_event(inner) for inner in condition[1]))
    if condition[0] == "any":
        inner = tuple(of_the_event(part) for part in condition[1])
        return condition if inner == condition[1] else _HOLDS
    return _HOLDS if condition[1][0] == "digest" else condition


def unmet(condition: Condition, context: Context) -> str | None:
    """The first part of the condition that isn't met, in words; None if it holds."""
    if condition[0] == "all":
        for inner in condition[1]:
            part = unmet(inner, context)
            if part is not None:
                return part
        return None
    if condition[0] == "any":
        parts = [unmet(inner, context) for inner in condition[1]]
        return None if None in parts else " and ".join(map(str, parts))
    op, path, operand = condition
    found = _at(context, path)
    met = (op == "ne" or (op == "exists" and not operand)) if found is _MISSING else _TESTS[op](found, operand)
    return None if met else f"{'.'.join(path)} {op} {operand}"


def _at(context: Context, path: Sequence[str]) -> Any:
    here = _ROOTS[path[0], path[1]](context)
    if here is None:
        return _MISSING
    for name in path[2:]:
        if isinstance(here, Mapping) and name in here:
            here = here[name]
        elif isinstance(here, list) and name.isdecimal() and int(name) < len(here):
            here = here[int(name)]
        else:
            return _MISSING
    return here


def _same(a: Any, b: Any) -> bool:
    """Equality as JSON has it: `true` is not 1, and a list is a list whatever Python keeps it in."""
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    return isinstance(a, bool) is isinstance(b, bool) and bool(a == b)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def test(found: Any, operand: Any) -> bool:
        if isinstance(found, str) and isinstance(operand, str):
            return compare(found, operand)
        return _number(found) and _number(operand) and compare(found, operand)

    return test


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": _same,
    "ne": lambda found, operand: not _same(found, operand),
    "in": lambda found, operand: any(_same(found, choice) for choice in operand),
    "gt": _ordered(operator.gt),
    "gte": _ordered(operator.ge),
    "lt": _ordered(operator.lt),
    "lte": _ordered(operator.le),
    "exists": lambda _, operand: bool(operand),
}
