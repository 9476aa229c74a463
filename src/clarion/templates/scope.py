"""What templates see: `event`, `recipient`, `actor`, `digest`, `tenant`, `urls`, and `now`.

`shared_scope` is the part that all recipients of an event have in common, built once a batch; `personal_scope` adds a
recipient's own. Contact points are never in a scope: no text can leak another channel's address.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clarion.clock import rfc3339
from clarion.model.events import Event
from clarion.model.ids import EVENT, show
from clarion.model.people import Profile, Tenant

#: The names that a template may take from its scope.
NAMES = frozenset({"event", "recipient", "actor", "digest", "tenant", "urls", "now", "today"})


class Named(dict[str, Any]):
    """A mapping that a text shows as its id: `{{ actor }}` and `{{ actor.id }}` come out the same."""

    def __str__(self) -> str:
        return str(self.get("id") or "")


def person(profile: Profile) -> Named:
    """A recipient or actor: id, locale, timezone, attributes, and `name` if it is among them."""
    seen = Named(
        id=profile.id, locale=profile.locale, timezone=profile.timezone or "UTC", attributes=profile.attributes
    )
    if "name" in profile.attributes:
        seen["name"] = profile.attributes["name"]
    return seen


def event_scope(event: Event) -> dict[str, Any]:
    """An event: id, type, data, actor and tenant (ids), and `at`, its acceptance. Also an item of a digest."""
    return {
        "id": show(EVENT, event.id),
        "type": event.type,
        "data": event.data,
        "actor": event.actor,
        "tenant": event.tenant,
        "at": rfc3339(event.accepted_at),
    }


def digest_scope(
    events: Sequence[Event],
    count: int | None = None,
    actors: Sequence[str] | None = None,
    actor_count: int | None = None,
    profiles: Mapping[str, Profile] | None = None,
) -> dict[str, Any]:
    """What was gathered: `count` and `actor_count` (of all), `items` (the first and last) and `actors`, each once.

    An actor whose profile isn't among `profiles` is known by its id alone.
    """
    known = profiles or {}
    acting = list(dict.fromkeys(e.actor for e in events if e.actor is not None)) if actors is None else actors
    return {
        "count": len(events) if count is None else count,
        "items": [event_scope(event) for event in events],
        "actors": [person(known[a]) if a in known else Named(id=a, attributes={}) for a in acting],
        "actor_count": len(acting) if actor_count is None else actor_count,
    }


def shared_scope(
    event: Event,
    *,
    actor: Profile | None = None,
    digest: Mapping[str, Any] | None = None,
    tenant: Tenant | None = None,
) -> dict[str, Any]:
    """What all recipients of `event` see alike. Without a digest, `digest` holds the event alone: its count is 1."""
    seen = event_scope(event)
    acting = person(actor) if actor is not None else Named(id=event.actor, attributes={})
    if digest is None:
        actors = [acting] if acting["id"] else []
        digest = {"count": 1, "items": [seen], "actors": actors, "actor_count": len(actors)}
    if tenant is None:
        owner = Named(id=event.tenant, name="", branding={})
    else:
        owner = Named(id=tenant.id, name=tenant.name, branding=tenant.branding)
    return {"event": seen, "actor": acting, "digest": digest, "tenant": owner, "now": seen["at"], "today": seen["at"]}


def personal_scope(
    shared: Mapping[str, Any], recipient: Profile, urls: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The whole scope for one recipient; `urls` are `preferences` and `unsubscribe`."""
    return {**shared, "recipient": person(recipient), "urls": {} if urls is None else urls}


def scope_of(
    event: Event,
    recipient: Profile,
    *,
    actor: Profile | None = None,
    digest: Mapping[str, Any] | None = None,
    tenant: Tenant | None = None,
    urls: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The whole scope for one recipient of one event."""
    return personal_scope(shared_scope(event, actor=actor, digest=digest, tenant=tenant), recipient, urls)
