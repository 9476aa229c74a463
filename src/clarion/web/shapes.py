"""Shapes that several calls share: ids in paths, pages of lists."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from fastapi import Query

from clarion.directory import forms
from clarion.model import ids
from clarion.model.errors import Invalid, NotFound
from clarion.model.ids import Id

Limit = Annotated[int, Query(ge=1, le=500)]
Cursor = Annotated[str | None, Query(max_length=2048, description="the `next` of the page before")]


def read_id(prefix: str, text: str) -> Id:
    """The id in a path. An id that can't exist is not found."""
    try:
        return ids.read(prefix, text)
    except ids.InvalidId as error:
        raise NotFound(f"{text[:64]!r}: {error}") from None


def write_cursor(*key: Any) -> str:
    """An opaque cursor from the last row's key (texts, numbers, hex of ids)."""
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).decode().rstrip("=")


def _read_cursor(cursor: str | None, kinds: tuple[type, ...]) -> list[Any] | None:
    """The key in a cursor, of these kinds. Raises Invalid: anybody can write one that decodes."""
    if cursor is None:
        return None
    try:
        key = msgspec.json.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, msgspec.MsgspecError, RecursionError):
        key = None
    if not isinstance(key, list) or [type(part) for part in key] != list(kinds):
        raise _bad_cursor()
    return key


def _bad_cursor() -> Invalid:
    return Invalid("invalid_cursor", "cursor: take it from the `next` of the page before, unchanged", "cursor")


def text_cursor(cursor: str | None) -> str:
    """The text in a cursor, "" without one. Raises Invalid."""
    key = _read_cursor(cursor, (str,))
    return "" if key is None else forms.text(key[0], "invalid_cursor", "cursor")


def id_cursor(cursor: str | None) -> Id:
    """The id in a cursor, b"" without one. Raises Invalid."""
    try:
        found = bytes.fromhex(text_cursor(cursor))
    except ValueError:
        raise _bad_cursor() from None
    if cursor is not None and len(found) != 16:
        raise _bad_cursor()
    return found


def number_cursor(cursor: str | None, size: int = 1) -> tuple[int, ...] | None:
    """The whole numbers in a cursor, each of 63 bits. Raises Invalid."""
    key = _read_cursor(cursor, (int,) * size)
    if key is not None and not all(0 <= number < 2**63 for number in key):
        raise _bad_cursor()
    return None if key is None else tuple(key)


def page(items: Sequence[Any], limit: int, cursor: str | None) -> dict[str, Any]:
    """`{"items", "next"}`; `items` may hold one more than `limit`, which says that there is a next page."""
    return {"items": list(items[:limit]), "next": cursor if len(items) > limit else None}
