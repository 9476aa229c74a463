"""How much work a JSON schema can be for each value that it is held against, told before it is. Pure.

A schema is a short text that can mean an endless one: `$ref`s multiply, and 26 nested pairs of alternatives are 67
million ways.
"""

from __future__ import annotations

import re
from math import prod
from typing import Any

#: Heavier schemas are refused: nobody means that many ways.
MOST = 20_000
#: What can't be told: a schema that refers to itself, or by names that only data or a validator decide.
UNKNOWN = None

_IN_PLACE = frozenset({"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"})
_INSIDE = frozenset({"items", "prefixItems", "additionalItems", "contains", "additionalProperties", "propertyNames"})
_BY_NAME = frozenset({"properties", "patternProperties", "dependencies"})
#: Their work isn't bounded by the size of schema and data.
_UNTOLD = frozenset({"unevaluatedItems", "unevaluatedProperties", "$dynamicRef", "$recursiveRef"})
#: What gives a part of a schema a name or a base of its own, by which references are found.
_NAMES = frozenset({"$id", "id", "$anchor", "$dynamicAnchor", "$recursiveAnchor"})
#: The references that are followed here as validators do, whatever their draft.
_LOCAL = re.compile(r"#(?:/[\w$ .-]+)*", re.ASCII)
#: Dividing by a fraction can take 50 µs a number, comparing with one 3 µs.
_DIVISION, _FRACTION, _NUMBER = 400, 40, 8
#: Large numbers are all compared with each other.
_UNIQUE = 450
_BOUNDS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
_REPEATED = re.compile(r"\{(\d+)(?:,(\d*))?\}")


def weight_of(schema: object) -> int | None:
    """Checks that a value and what is in it may need, at most; more than MOST is told as a little more. UNKNOWN: no
    bound can be told."""
    return _Weighing(schema).of(schema)


class _Weighing:
    def __init__(self, root: object) -> None:
        self._root = root
        self._plain = not _is_named(root)
        self._known: dict[str, int | None] = {}
        self._open: set[str] = set()

    def of(self, schema: object) -> int | None:
        """The weight of a schema, or of several in a list or by name."""
        if isinstance(schema, list):
            return _sum(self.of(one) for one in schema)
        if not isinstance(schema, dict):
            return 1
        total: int | None = 1
        for word, value in schema.items():
            total = _sum((total, self._of_word(word, value)))
        return total

    def _of_word(self, word: str, value: Any) -> int | None:
        if word == "$ref":
            return self._of_reference(value)
        if word in _UNTOLD or (word == "format" and value == "regex"):
            return UNKNOWN
        if word in _IN_PLACE or word in _INSIDE:
            named = word == "dependentSchemas" and isinstance(value, dict)
            return self.of(list(value.values()) if named else value)
        if word in _BY_NAME and isinstance(value, dict):
            patterns = _sum(map(pattern_weight, value)) if word == "patternProperties" else 0
            names = _of_assertion(word, value)
            return _sum((patterns, names, self.of([one for one in value.values() if isinstance(one, dict)])))
        return _of_assertion(word, value)

    def _of_reference(self, target: object) -> int | None:
        if not isinstance(target, str) or target in self._open or not self._plain:
            return UNKNOWN
        if target not in self._known:
            found = _at(self._root, target)
            self._open.add(target)
            self._known[target] = self.of(found) if isinstance(found, (dict, bool)) else UNKNOWN
            self._open.discard(target)
        return self._known[target]


def pattern_weight(pattern: str) -> int:
    """The states that a pattern may be in, in hundreds; its repetitions multiply."""
    repeated = prod(max(1, int(most or least)) for least, most in _REPEATED.findall(pattern))
    return int(min(MOST + 1, 1 + len(pattern) * repeated // 100))


def _of_assertion(word: str, value: Any) -> int:
    """The weight of a word that holds no schemas."""
    if word == "pattern":
        return pattern_weight(str(value))
    if word == "multipleOf":
        return _DIVISION
    if word in _BOUNDS:
        return _NUMBER if isinstance(value, int) and abs(value) < 1 << 53 else _FRACTION
    if word == "uniqueItems" and value is not False:
        return _UNIQUE
    if word in ("dependentRequired", "dependencies") and isinstance(value, dict):
        return 1 + len(value) + sum(len(names) // 8 for names in value.values() if isinstance(names, list))
    return 1 + len(value) // 8 if word in ("enum", "required") and isinstance(value, list) else 1


def _is_named(root: object) -> bool:
    """Whether a part of a schema may have a name of its own, in a schema's place or not: references inside it, and
    ones to it, aren't found from the root."""
    todo: list[Any] = list(root.values()) if isinstance(root, dict) else []
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            if any(isinstance(one.get(name), str) for name in _NAMES):
                return True
            todo += one.values()
        elif isinstance(one, list):
            todo += one
    return False


def _at(root: object, target: str) -> object:
    """What a reference into its own document names; None: something else, or it isn't told for certain."""
    if not _LOCAL.fullmatch(target):
        return None
    found = root
    for name in target.split("/")[1:]:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _sum(weights: Any) -> int | None:
    total = 0
    for weight in weights:
        if weight is None:
            return UNKNOWN
        total = min(MOST + 1, total + weight)
    return total
