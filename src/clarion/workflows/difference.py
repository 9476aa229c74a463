"""What differs between two plain forms of a workflow, place by place, in the words of its file. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

#: Stands for what isn't there.
ABSENT = object()


class Difference(NamedTuple):
    """A place whose value differs: `steps[1].subject`. None: isn't there."""

    path: str
    before: Any
    after: Any


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """Every place that differs, in the order of the newer form."""
    return [Difference(path.lstrip("."), _or_none(old), _or_none(new)) for path, old, new in _walk("", before, after)]


def _walk(path: str, before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys([*after, *before]):
            yield from _walk(f"{path}.{name}", before.get(name, ABSENT), after.get(name, ABSENT))
    elif _listed(before) and _listed(after) and any(isinstance(item, Mapping) for item in [*before, *after]):
        for i in range(max(len(before), len(after))):
            yield from _walk(f"{path}[{i}]", _at(before, i), _at(after, i))
    elif before != after or isinstance(before, bool) is not isinstance(after, bool):
        yield path, before, after


def _listed(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _at(values: Sequence[Any], place: int) -> Any:
    return values[place] if place < len(values) else ABSENT


def _or_none(value: Any) -> Any:
    return None if value is ABSENT else value
