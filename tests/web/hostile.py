"""Values that nobody means well with, and the places of an API's calls where they may stand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

#: Longer than anything may be, in one word and in many.
LONG: Final = "Q" * 5_000
TALK: Final = "Q q " * 1_250

TEXTS: Final = [
    "", " ", "a\x00b", "a\x1fb", "a\u202eb", "a\u200bb", "a\u2028b", "a\u3164b", "a/b", "..", "\ufffe", "💥", "'; --",
    "{{ x", "%", LONG, TALK, "-1", "1" + "0" * 30, "NaN", "null", "0000-00-00", "9999-12-31", "9999-12-31T23:59:59Z",
    "0001-01-01T00:00:00+14:00", "10000-01-01T00:00:00Z", "1969-12-31T00:00:00Z", "evt_zzzzzzzzzzzzzzzzzzzzzzzzzz",
]  # fmt: skip
#: Bytes stand in a body as they are: what no JSON library would write.
VALUES: Final[list[Any]] = [
    *TEXTS, None, True, -1, 0, 10**30, 1.5, [], {}, [None], [[]], {"": None}, {"a\x00": "\x00"}, [LONG], {LONG: 1},
    {"id": TALK}, b'"\\ud800"', b'{"\\udfff": 1}', b"NaN", b"-Infinity", b"1e999", b"1" + b"0" * 400, b'"\xff"',
    b'{"a":1,"a":2}', b"[" * 90 + b"]" * 90, b"[" * 9_000, b"{", b"",
]  # fmt: skip
#: Each decodes, to: "x", 1, null, [], two, words, an object, no list, "", a NUL, true, 1e308, -1, 2^64, a short id, ...
CURSORS: Final = [
    "WyJ4Il0=", "WzFd", "W251bGxd", "W1tdXQ==", "WzEsMl0=", "WyJ4IiwieSJd", "W3t9XQ==", "W10=", "e30=", "WyIiXQ==",
    "WyJcdTAwMDAiXQ==", "W3RydWVd", "WzFlMzA4XQ==", "Wy0xXQ==", "WzE4NDQ2NzQ0MDczNzA5NTUxNjE2XQ==", "WyJhYiJd", "é",
    "WyJcdWQ4MDAiXQ==", "W1tb" * 500, "WzEsIngiXQ==", "W3RydWUsZmFsc2Vd",
]  # fmt: skip


class Call(NamedTuple):
    """One call of an OpenAPI document."""

    method: str
    path: str
    parameters: list[dict[str, Any]]
    schema: dict[str, Any] | None  #: of its body


def calls(document: dict[str, Any]) -> Iterator[Call]:
    for path, methods in document["paths"].items():
        for method, call in methods.items():
            content = call.get("requestBody", {}).get("content", {}).get("application/json", {})
            yield Call(method.upper(), path, call.get("parameters", []), content.get("schema"))


def sample(document: dict[str, Any], schema: dict[str, Any], known: dict[str, Any], name: str = "") -> Any:
    """A value that a schema allows, with every field; `known` has those by name that a schema doesn't tell."""
    if "$ref" in schema:
        return sample(document, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], known)
    found = known.get(name, _said(schema))
    if found is not _NOTHING:
        return found
    if several := schema.get("anyOf") or schema.get("oneOf"):
        return sample(document, next(one for one in several if one.get("type") != "null"), known, name)
    match schema.get("type"):
        case "object":
            return {key: sample(document, of, known, key) for key, of in schema.get("properties", {}).items()}
        case "array":
            return [sample(document, schema.get("items", {}), known, name)]
        case "integer" | "number":
            return 3
        case "boolean":
            return True
        case _:
            return "x"


_NOTHING: Final = object()


def _said(schema: dict[str, Any]) -> Any:
    return (schema.get("enum") or schema.get("examples") or [_NOTHING])[0]


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a body, the whole of it first."""
    yield at
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inside:
        yield from places(child, (*at, key))


def with_value(body: Any, at: tuple[Any, ...], value: Any) -> bytes:
    """The body as JSON, with another value in one place."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    if not at:
        return raw
    changed = json.loads(json.dumps(body))
    place = changed
    for step in at[:-1]:
        place = place[step]
    place[at[-1]] = "here it stands"
    return json.dumps(changed).encode().replace(b'"here it stands"', raw)
