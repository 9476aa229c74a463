"""Bodies of requests whose fields are checked below the rim, so that batches, events and single calls refuse alike.

Their models name the fields for OpenAPI and refuse unknown ones; `SkipValidation` leaves the values as they came.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from clarion.model.errors import Invalid


class Body(BaseModel):
    """A JSON object with known fields."""

    model_config = ConfigDict(extra="forbid")

    def said(self) -> dict[str, Any]:
        """The fields that were given, null included, as they came."""
        return {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}


def at_most(listed: Sequence[Any], most: int, where: str) -> None:
    """Refuses a list that is too long: batch_too_large."""
    if len(listed) > most:
        raise Invalid("batch_too_large", f"{where} holds {len(listed):,}; at most {most:,} in one request", where)


def error_of(error: Invalid) -> dict[str, str]:
    """An error as the answer to one item of a batch."""
    shown = {"code": error.code, "detail": error.detail}
    return shown if error.where is None else {**shown, "where": error.where}
