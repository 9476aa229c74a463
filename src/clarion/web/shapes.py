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
Cursor = Annotated[str | None, Query(description="the `next` of the page before")]


def read_id(prefix: str, text: str) -> Id:
    """The id in a path. An id that can't exist is not found."""
    try:
        return ids.read(prefix, text)
    except ids.InvalidId as error:
        raise NotFound(f"{text[:64]!r}: {error}") from None


def write_cursor(*key: Any) -> str:
    """An opaque cursor from the last row's key (texts, numbers, hex of ids)."""
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).decode().rstrip("=")


def read_cursor(cursor: str | None, size: int) -> list[Any] | None:
    """The key in a cursor. Raises Invalid."""
    if cursor is None:
        return None
    try:
        key = msgspec.json.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, msgspec.DecodeError):
        key = None
    if not isinstance(key, list) or len(key) != size:
        raise Invalid("invalid_cursor", "cursor: take it from the `next` of the page before, unchanged", "cursor")
    return key


def text_cursor(cursor: str | None) -> str:
    """The text in a cursor, "" without one. Raises Invalid."""
    key = read_cursor(cursor, 1)
    return "" if key is None else forms.text(key[0], "invalid_cursor", "cursor")


def id_cursor(cursor: str | None) -> Id:
    """The id in a cursor, b"" without one. Raises Invalid."""
    try:
        return bytes.fromhex(text_cursor(cursor))
    except ValueError:
        raise Invalid("invalid_cursor", "cursor: take it from the `next` of the page before", "cursor") from None


def page(items: Sequence[Any], limit: int, cursor: str | None) -> dict[str, Any]:
    """`{"items", "next"}`; `items` may hold one more than `limit`, which says that there is a next page."""
    return {"items": list(items[:limit]), "next": cursor if len(items) > limit else None}
