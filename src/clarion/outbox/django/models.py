"""The table, and the store over it."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import models

from clarion.outbox.relay import Entry


class OutboxEntry(models.Model):  # type: ignore[misc]  # Django says nothing about its types
    """An event that isn't reported yet."""

    key = models.CharField(max_length=200, unique=True)
    body = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)
    error = models.TextField(null=True)  # null: waiting; else why it was refused

    class Meta:
        """The table's name, as everywhere."""

        db_table = "clarion_outbox"

    def __str__(self) -> str:
        return str(self.key)


class DjangoStore:
    """What the relay reads."""

    def __init__(self, using: str | None = None) -> None:
        self._using = using

    def take(self, most: int) -> Sequence[Entry]:
        entries = OutboxEntry.objects.using(self._using).filter(error=None).order_by("id")
        return [Entry(number, body.encode()) for number, body in entries.values_list("id", "body")[:most]]

    def settle(self, sent: Sequence[int], refused: Sequence[tuple[int, str]]) -> None:
        entries = OutboxEntry.objects.using(self._using)
        entries.filter(id__in=sent).delete()
        for number, error in refused:
            entries.filter(id=number).update(error=error)
