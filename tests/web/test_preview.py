"""Preview: every channel, another time, digests; nothing is stored."""

from __future__ import annotations

from typing import Any

from clarion.workflows.catalogue import StoreWorkflows
from tests.web.conftest import Api

EVERYTHING = {
    "key": "everything",
    "on": ["everything"],
    "steps": [
        {"channel": "in_app", "title": "t"},
        {"channel": "email", "subject": "s", "text": "t"},
        {"channel": "sms", "body": "b"},
        {"channel": "push", "title": "t"},
        {"channel": "web_push", "title": "t"},
        {"channel": "chat", "body": "b"},
        {"channel": "webhook", "body": "b"},
    ],
}
GATHERED = {
    "key": "gathered",
    "on": ["gathered"],
    "digest": {"mode": "calendar", "every": {"at": "09:00"}},
    "steps": [{"channel": "email", "subject": "{{ digest.count }}", "text": "t"}],
}


async def preview(api: Api, **body: Any) -> dict[str, Any]:
    """The verdicts on one person, by channel."""
    answer = await api("POST", "/v1/decisions/preview", {"recipients": ["ada"], **body})
    assert answer.status == 200, answer.body
    (person,) = answer.body["recipients"]
    return {v["channel"]: v for v in person["verdicts"]}


async def test_every_channel_at_another_time_and_digests_are_previewed(api: Api) -> None:
    # Given somebody with an address for everything, who sleeps from ten to seven in Berlin
    clarion = api.clarion
    now = clarion.clock.now()
    await clarion.bus.send(StoreWorkflows(project=1, now=now, plains=(EVERYTHING, GATHERED), source="api"))
    await clarion.catalogue.refresh()
    quiet = [{"start": "22:00", "end": "07:00"}]
    profile = {"email": "ada@example.com", "phone": "+4930901820", "timezone": "Europe/Berlin", "quiet_hours": quiet}
    await api("PUT", "/v1/recipients/ada", profile)
    await api("POST", "/v1/recipients/ada/devices", {"platform": "fcm", "token": "f" * 40})
    for channel, kind, value in (
        ("chat", "slack", "https://hooks.slack.com/services/T0/B0/x"),
        ("webhook", "url", "https://example.com/hook"),
    ):
        body = {"channel": channel, "kind": kind, "value": value}
        assert (await api("POST", "/v1/recipients/ada/contacts", body)).status == 201

    # When it is noon, and when it is night there
    noon = await preview(api, type="everything", at="2027-07-01T10:00:00Z")
    night = await preview(api, type="everything", at="2027-07-01T21:30:00Z")
    # Then
    assert list(noon) == [step["channel"] for step in EVERYTHING["steps"]]  # type: ignore[index]
    reachable = {"in_app", "email", "sms", "push", "chat", "webhook"}
    assert {c for c, v in noon.items() if v["verdict"] == "deliver"} == reachable
    assert (noon["web_push"]["verdict"], noon["web_push"]["reason"]) == ("suppress", "no_contact_point")
    assert {v["until"] for c, v in night.items() if c in reachable} == {"2027-07-02T05:00:00.000Z"}
    assert all(v["trace"] for v in night.values())
    # And a digest says when it goes out
    digest = (await preview(api, type="gathered", at="2027-07-01T10:00:00Z"))["email"]
    assert (digest["verdict"], digest["reason"], digest["until"]) == ("digest", "digest", "2027-07-02T07:00:00.000Z")
    # And nothing was stored
    for table in ("notifications", "deliveries", "dedupe_claims", "digest_buckets", "cap_counters"):
        row = await clarion.db.read(lambda tx, table=table: tx.first(f"SELECT count(*) AS n FROM {table}"))  # type: ignore[misc]
        assert (table, row["n"]) == (table, 0)
