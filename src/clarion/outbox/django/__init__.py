"""The outbox in a Django application: add `clarion.outbox.django` to INSTALLED_APPS, run `manage.py migrate`.

    from clarion.outbox.django import notify

    with transaction.atomic():
        order.save()
        notify("order.paid", {"id": order.pk}, to=["ada"])

`manage.py clarion_relay` reports what has committed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clarion.client import Event
from clarion.client.kept import encoded


def notify(type: str, data: Mapping[str, Any] | None = None, /, *, using: str | None = None, **options: Any) -> str:
    """Reports an event if and when the present transaction commits; gives its key. `options` as for `Clarion.send`."""
    from clarion.outbox.django.models import OutboxEntry  # not before Django is set up

    event = Event(type, dict(data or {}), **{k: v for k, v in options.items() if v is not None})
    OutboxEntry.objects.using(using).create(key=event.idempotency_key, body=encoded(event).decode())
    return event.idempotency_key
