from __future__ import annotations

from clarion.model.events import Event
from clarion.model.people import Profile, Tenant
from clarion.templates.liquid import render_text
from clarion.templates.scope import NAMES, digest_scope, scope_of

ANN = Profile(id="ann", attributes={"name": "Ann", "plan": "pro"}, locale="de")


def event(actor: str | None = None, **data: object) -> Event:
    return Event(project=1, id=bytes(16), type="t", data=data, actor=actor, tenant="acme", accepted_at=0)


def test_a_scope_has_every_name_that_templates_may_use() -> None:
    assert set(scope_of(event(), ANN)) == NAMES


def test_what_a_template_sees() -> None:
    scope = scope_of(
        event("bo", x=1),
        ANN,
        actor=Profile(id="bo", attributes={"name": "Bo"}),
        tenant=Tenant(id="acme", name="Acme", branding={"color": "red"}),
        urls={"preferences": "https://p"},
    )
    source = (
        "{{ event.id }} {{ event.type }} {{ event.data.x }} {{ event.actor }} {{ event.at }}"
        " {{ recipient.name }} {{ recipient }} {{ recipient.attributes.plan }} {{ recipient.timezone }}"
        " {{ recipient.locale }} {{ actor.name }} {{ actor }}"
        " {{ digest.count }} {{ digest.items[0].data.x }} {{ digest.actors | join: '+' }} {{ tenant.name }}"
        " {{ tenant.branding.color }} {{ urls.preferences }}{{ urls.unsubscribe }}"
    )
    assert render_text(source, scope) == (
        f"evt_{'0' * 26} t 1 bo 1970-01-01T00:00:00.000Z Ann ann pro UTC de Bo bo 1 1 bo Acme red https://p"
    )


def test_without_actor_tenant_and_links_texts_show_nothing() -> None:
    source = "[{{ actor }}{{ actor.name }}{{ tenant.name }}{{ urls.unsubscribe }}{{ digest.actors.size }}]"
    assert render_text(source, scope_of(event(), ANN)) == "[0]"


def test_a_digest_counts_all_and_names_each_actor_once() -> None:
    digest = digest_scope(
        [event("bo"), event("cy"), event("bo"), event()],
        100,
        profiles={"bo": Profile(id="bo", attributes={"name": "Bo"})},
    )
    source = "{{ digest.count }} {{ digest.items.size }} {{ digest.actors[0].name }} {{ digest.actors | join: ', ' }}"
    assert render_text(source, scope_of(event(), ANN, digest=digest)) == "100 4 Bo bo, cy"
