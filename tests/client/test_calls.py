"""Every call, on both kinds of client: what it asks for and what it makes of the answer (the contract's shapes)."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
import pytest

from clarion.client import AsyncClarion, Clarion, Event, Stale, calls
from clarion.client import answers as a
from clarion.client.faces import Calls
from tests.client.conftest import KEY, Caller
from tests.client.stub import Say, Stub

NINE = datetime(2027, 3, 14, 9, tzinfo=UTC)
PROBLEM = {"code": "invalid_email", "detail": "no @ in it"}
ADA: dict[str, Any] = {"id": "ada", "email": "a@x.org", "quiet_hours": [{"start": "22:00", "end": "08:00"}]}
ATTEMPT = {"id": "att_1", "provider": "mail", "outcome": "accepted", "at": "2027-03-14T09:00:00.000Z", "code": None}
DELIVERY = {"id": "dlv_1", "channel": "email", "state": "sent", "reason": None, "due_at": None, "attempts": [ATTEMPT]}
NOTIFICATION = {
    "id": "ntf_1",
    "event_id": "evt_1",
    "workflow": "w",
    "version": 2,
    "recipient": "ada",
    "deliveries": [DELIVERY],
}


class Call(NamedTuple):
    """A method with arguments, the request it must make, the body of the answer, and the value it must give."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    request: str
    body: Any
    answer: Any
    value: Any


def call_of(name: str, *args: Any, asks: str, body: Any = None, answer: Any, value: Any, **kwargs: Any) -> Call:
    return Call(name, args, kwargs, asks, body, answer, value)


CALLS = [
    call_of(
        "send",
        "comment.created",
        {"n": 1},
        to=["ada", {"id": "bo", "email": "b@x.org"}],
        actor="bo",
        tenant="acme",
        idempotency_key="k",
        send_at=NINE,
        expires_at=NINE,
        priority="high",
        asks="POST /v1/events",
        body={
            "type": "comment.created",
            "data": {"n": 1},
            "recipients": ["ada", {"id": "bo", "email": "b@x.org"}],
            "actor": "bo",
            "tenant": "acme",
            "idempotency_key": "k",
            "send_at": "2027-03-14T09:00:00Z",
            "expires_at": "2027-03-14T09:00:00Z",
            "priority": "high",
        },
        answer={"id": "evt_1", "status": "accepted", "duplicate": True},
        value=a.Accepted(id="evt_1", duplicate=True),
    ),
    call_of(
        "send_batch",
        [Event("t", to="ada", idempotency_key="1"), Event("u", topic="x", idempotency_key="2")],
        asks="POST /v1/events/batch",
        body={
            "events": [
                {"type": "t", "recipients": ["ada"], "idempotency_key": "1"},
                {"type": "u", "topic": "x", "idempotency_key": "2"},
            ]
        },
        answer={
            "results": [
                {"id": "evt_1", "status": "accepted", "duplicate": False},
                {"status": "rejected", "error": PROBLEM},
            ]
        },
        value=[a.Accepted(id="evt_1"), a.Rejected(error=a.Problem(code="invalid_email", detail="no @ in it"))],
    ),
    call_of(
        "event",
        "evt_1",
        asks="GET /v1/events/evt_1",
        answer={
            "id": "evt_1",
            "type": "t",
            "status": "decided",
            "recipients": 3,
            "decided": 3,
            "notifications": 3,
            "deliveries": {"sent": 2, "suppressed": 1},
        },
        value=a.EventStatus(
            id="evt_1",
            type="t",
            status="decided",
            recipients=3,
            decided=3,
            notifications=3,
            deliveries={"sent": 2, "suppressed": 1},
        ),
    ),
    call_of("cancel", "evt_1", asks="POST /v1/events/evt_1/cancel", answer={"cancelled": 4}, value=4),
    call_of(
        "preview",
        Event("t", to="ada", idempotency_key="k"),
        at=NINE,
        asks="POST /v1/decisions/preview",
        body={"type": "t", "recipients": ["ada"], "idempotency_key": "k", "at": "2027-03-14T09:00:00Z"},
        answer={
            "recipients": [
                {
                    "recipient": "ada",
                    "workflow": "w",
                    "verdicts": [
                        {
                            "channel": "email",
                            "verdict": "defer",
                            "reason": "quiet_hours",
                            "until": "2027-03-14T09:00:00Z",
                            "trace": [{"rule": "quiet_hours", "result": "defer", "detail": "until 08:00"}],
                        }
                    ],
                }
            ]
        },
        value=[
            a.Preview(
                recipient="ada",
                workflow="w",
                verdicts=[
                    a.Verdict(
                        channel="email",
                        verdict="defer",
                        reason="quiet_hours",
                        until=NINE,
                        trace=[a.Traced(rule="quiet_hours", result="defer", detail="until 08:00")],
                    )
                ],
            )
        ],
    ),
    call_of(
        "notifications",
        recipient="ada",
        event="evt_1",
        workflow="w",
        state="sent",
        page_size=10,
        asks="GET /v1/notifications?recipient=ada&event=evt_1&workflow=w&state=sent&limit=10",
        answer={"items": [NOTIFICATION], "next": None},
        value=[msgspec.convert(NOTIFICATION, a.Notification)],
    ),
    call_of(
        "notification",
        "ntf_1",
        asks="GET /v1/notifications/ntf_1",
        answer=NOTIFICATION,
        value=msgspec.convert(NOTIFICATION, a.Notification),
    ),
    call_of(
        "timeline",
        "ntf_1",
        asks="GET /v1/notifications/ntf_1/timeline",
        answer={"items": [{"at": "2027-03-14T09:00:00.000Z", "fact": "EventAccepted", "detail": {"type": "t"}}]},
        value=[a.TimelineEntry(at=NINE, fact="EventAccepted", detail={"type": "t"})],
    ),
    call_of(
        "put_recipient",
        "ada/ü",
        email="a@x.org",
        asks="PUT /v1/recipients/ada%2F%C3%BC",
        body={"email": "a@x.org"},
        answer=ADA,
        value=msgspec.convert(ADA, a.Recipient),
    ),
    call_of(
        "patch_recipient",
        "ada",
        phone=None,
        locale="de",
        asks="PATCH /v1/recipients/ada",
        body={"phone": None, "locale": "de"},
        answer=ADA,
        value=msgspec.convert(ADA, a.Recipient),
    ),
    call_of(
        "get_recipient",
        "ada",
        asks="GET /v1/recipients/ada",
        answer=ADA,
        value=a.Recipient(id="ada", email="a@x.org", quiet_hours=[a.Window(start="22:00", end="08:00")]),
    ),
    call_of("delete_recipient", "ada", asks="DELETE /v1/recipients/ada", answer=None, value=None),
    call_of(
        "put_recipients",
        [{"id": "ada", "email": "a@x.org"}, {"id": "bo", "phone": None}],
        asks="POST /v1/recipients/batch",
        body={"recipients": [{"id": "ada", "email": "a@x.org"}, {"id": "bo", "phone": None}]},
        answer={"results": [{"id": "ada", "status": "created"}, {"id": "bo", "status": "rejected", "error": PROBLEM}]},
        value=[
            a.Upserted(id="ada", status="created"),
            a.Upserted(id="bo", status="rejected", error=a.Problem(code="invalid_email", detail="no @ in it")),
        ],
    ),
    call_of(
        "add_device",
        "ada",
        "fcm",
        "tok",
        timezone="Europe/Berlin",
        asks="POST /v1/recipients/ada/devices",
        body={"platform": "fcm", "token": "tok", "timezone": "Europe/Berlin"},
        answer={"id": "dev_1"},
        value="dev_1",
    ),
    call_of(
        "devices",
        "ada",
        asks="GET /v1/recipients/ada/devices",
        answer={"items": [{"id": "dev_1", "platform": "fcm"}], "next": None},
        value=[a.Device(id="dev_1", platform="fcm")],
    ),
    call_of("remove_device", "ada", "dev_1", asks="DELETE /v1/recipients/ada/devices/dev_1", answer=None, value=None),
    call_of(
        "add_contact",
        "ada",
        "chat",
        "slack",
        "https://hooks.slack.com/x",
        label="team",
        asks="POST /v1/recipients/ada/contacts",
        body={"channel": "chat", "kind": "slack", "value": "https://hooks.slack.com/x", "label": "team"},
        answer={"id": "con_1"},
        value="con_1",
    ),
    call_of(
        "contacts",
        "ada",
        asks="GET /v1/recipients/ada/contacts",
        answer={"items": [{"id": "con_1", "channel": "chat", "kind": "slack", "label": "team"}], "next": None},
        value=[a.Contact(id="con_1", channel="chat", kind="slack", label="team")],
    ),
    call_of("remove_contact", "ada", "con_1", asks="DELETE /v1/recipients/ada/contacts/con_1", answer=None, value=None),
    call_of(
        "get_preferences",
        "ada",
        asks="GET /v1/recipients/ada/preferences",
        answer={"preferences": [{"type": "w", "channel": "email", "enabled": False}]},
        value=[a.Preference(type="w", channel="email", enabled=False)],
    ),
    call_of(
        "get_preferences",
        "ada",
        effective=True,
        asks="GET /v1/recipients/ada/preferences?effective=true",
        answer={"preferences": []},
        value=[],
    ),
    call_of(
        "put_preferences",
        "ada",
        [{"channel": "email", "enabled": False}],
        asks="PUT /v1/recipients/ada/preferences",
        body={"preferences": [{"channel": "email", "enabled": False}]},
        answer={"preferences": [{"channel": "email", "enabled": False}]},
        value=[a.Preference(channel="email", enabled=False)],
    ),
    call_of(
        "patch_preferences",
        "ada",
        [{"type": "w", "channel": "push", "max_per_hour": None}],
        asks="PATCH /v1/recipients/ada/preferences",
        body={"preferences": [{"type": "w", "channel": "push", "max_per_hour": None}]},
        answer={"preferences": []},
        value=[],
    ),
    call_of(
        "token",
        "ada",
        "preferences",
        ttl_seconds=60,
        asks="POST /v1/recipients/ada/tokens",
        body={"purpose": "preferences", "ttl_seconds": 60},
        answer={"token": "t", "expires_at": "2027-03-14T09:00:00.000Z"},
        value=a.Token(token="t", expires_at=NINE),
    ),
    call_of(
        "inbox",
        status="unread",
        category="social",
        asks="GET /v1/inbox?status=unread&category=social",
        answer={"items": [{"id": "ntf_1", "seq": 3, "workflow": "w", "title": "Hi", "read_at": None}], "next": None},
        value=[a.InboxItem(id="ntf_1", seq=3, workflow="w", title="Hi")],
    ),
    call_of(
        "subscribe",
        "author:7",
        ["ada", "bo"],
        asks="POST /v1/topics/author%3A7/subscriptions",
        body={"recipients": ["ada", "bo"]},
        answer={"subscribed": 2},
        value=2,
    ),
    call_of(
        "unsubscribe",
        "author:7",
        "ada",
        asks="POST /v1/topics/author%3A7/subscriptions/remove",
        body={"recipients": ["ada"]},
        answer={"removed": 1},
        value=1,
    ),
    call_of(
        "subscribers",
        "author:7",
        asks="GET /v1/topics/author%3A7/subscriptions",
        answer={"items": [{"recipient": "ada", "created_at": "2027-03-14T09:00:00.000Z"}], "next": None},
        value=[a.Subscriber(recipient="ada", created_at=NINE)],
    ),
    call_of(
        "workflows",
        asks="GET /v1/workflows",
        answer={"items": [{"key": "w", "version": 3, "source": "file", "on": ["t"], "steps": []}], "next": None},
        value=[a.WorkflowVersion(key="w", version=3, source="file", on=["t"])],
    ),
    call_of(
        "workflow",
        "w",
        asks="GET /v1/workflows/w",
        answer={"key": "w", "version": 3, "source": "api"},
        value=a.WorkflowVersion(key="w", version=3, source="api"),
    ),
    call_of(
        "put_workflow",
        "w",
        {"on": ["t"]},
        version=3,
        asks="PUT /v1/workflows/w",
        body={"on": ["t"]},
        answer={"key": "w", "version": 4, "source": "api"},
        value=a.WorkflowVersion(key="w", version=4, source="api"),
    ),
    call_of(
        "providers",
        asks="GET /v1/providers",
        answer={
            "items": [
                {
                    "name": "mail",
                    "kind": "smtp",
                    "channel": "email",
                    "state": "healthy",
                    "success_rate": None,
                    "samples": 0,
                }
            ],
            "next": None,
        },
        value=[a.Provider(name="mail", kind="smtp", channel="email", state="healthy")],
    ),
    call_of(
        "outbox",
        channel="email",
        recipient="ada",
        asks="GET /v1/outbox?channel=email&recipient=ada",
        answer={"items": [{"id": "out_1", "channel": "email", "to": "a@x.org", "subject": "Hi", "title": None}]},
        value=[a.OutboxMessage(id="out_1", channel="email", to="a@x.org", subject="Hi")],
    ),
    call_of(
        "stats",
        since=NINE,
        by=["workflow", "state"],
        asks="GET /v1/stats?from=2027-03-14T09%3A00%3A00Z&by=workflow%2Cstate",
        answer={"items": [{"bucket": "2027-03-14", "workflow": "w", "state": "sent", "count": 4}]},
        value=[{"bucket": "2027-03-14", "workflow": "w", "state": "sent", "count": 4}],
    ),
]


@pytest.mark.parametrize("expected", CALLS, ids=lambda expected: expected.name)
async def test_each_call_asks_as_the_contract_says_and_reads_what_it_answers(
    expected: Call, call: Caller, stub: Stub
) -> None:
    # Given the contract's answer
    stub.script.append(Say(200 if expected.answer is not None else 204, expected.answer))

    # When a client of either kind makes the call
    value = await call(expected.name, *expected.args, **expected.kwargs)

    # Then the request is the contract's, and the answer has become a value
    [asked] = stub.asked
    assert f"{asked.method} {asked.target}" == expected.request
    assert asked.body == expected.body
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.headers.get("content-type") == (None if expected.body is None else "application/json")
    assert value == expected.value


async def test_a_workflow_is_stored_only_over_the_version_that_was_read(call: Caller, stub: Stub) -> None:
    stub.otherwise = Say(412, {"code": "stale_version", "detail": "it is version 4 by now"})

    with pytest.raises(Stale, match="version 4"):
        await call("put_workflow", "w", {"on": ["t"]}, version=3)
    assert stub.asked[0].headers["if-match"] == '"3"'


def test_every_plan_is_a_method_of_both_clients_and_is_tried_here() -> None:
    plans = {
        name
        for name, found in vars(calls).items()
        if inspect.isfunction(found) and found.__module__ == calls.__name__ and not name.startswith("_")
    }

    assert plans == {name for name in vars(Calls) if not name.startswith("_")}
    assert plans == {expected.name for expected in CALLS}
    for client in (Clarion, AsyncClarion):
        assert all(getattr(client, name).__doc__ for name in plans)
        assert inspect.signature(client.send) == inspect.signature(calls.send)
