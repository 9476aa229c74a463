"""What chat providers send: whose URL, and nothing in a person's words that mentions somebody or hides a link."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clarion.deliveries.chat import is_link
from clarion.deliveries.interface import HttpProvider, HttpResponse, ProviderConfig
from clarion.deliveries.providers import build
from clarion.deliveries.providers.discord import escaped
from clarion.model.delivery import Message
from clarion.model.errors import Misconfigured
from clarion.model.words import Channel, ContactKind, OutcomeKind
from clarion.testing.providers import outcomes_of, services
from tests.deliveries.messages import NOW, message

THEIRS, OURS = "https://theirs.example/hook?x=1", "https://ours.example/hook"
#: What somebody may write to be seen by everybody, or to hide where a link leads.
EVIL = "<!channel> @everyone <@U1> [bank](https://evil.example/_x_) *now*"


def provider(kind: str, **config: Any) -> HttpProvider:
    made = build(ProviderConfig(name="chat", kind=kind, channel=Channel.CHAT, config=config), services())
    assert isinstance(made, HttpProvider)
    return made


def chat(kind: str, address: str = THEIRS, **parts: str) -> Message:
    plain = parts or {"title": "Grace replied", "body": EVIL, "action_url": "https://example.com/c/1"}
    contact = ContactKind(kind) if address else None
    return message(channel=Channel.CHAT, kind=contact, address=address, parts=plain)


def sent(kind: str, wanted: Message | None = None, **config: Any) -> Any:
    """The JSON that goes out."""
    return json.loads(provider(kind, **config).request_for(wanted or chat(kind), NOW).body)


HOOKS = ("slack", "discord", "teams")


@pytest.mark.parametrize("kind", HOOKS)
async def test_a_users_url_is_guarded_and_the_operators_is_not(kind: str) -> None:
    ours = provider(kind, url=OURS)
    theirs, own = ours.request_for(chat(kind), NOW), ours.request_for(chat(kind, ""), NOW)
    assert theirs.url.startswith("https://theirs.example/hook?x=1")
    assert theirs.guard is not None
    assert own.url.startswith("https://ours.example/hook")
    assert own.guard is None
    nowhere = chat(kind, "")
    outcome = (await outcomes_of(provider(kind), [nowhere]))[nowhere.delivery_id]
    assert (outcome.kind, outcome.code) == (OutcomeKind.REFUSED, "payload_invalid")
    with pytest.raises(Misconfigured, match="url isn't one"):
        provider(kind, url="ours.example")


@pytest.mark.parametrize(
    "kind,body",
    [
        ("slack", b"no_service"),
        ("discord", b'{"code": 10015}'),
        ("teams", b'{"error": {"code": "WorkflowNotFound"}}'),
    ],
)
def test_a_dead_webhook_is_the_contacts_trouble_or_the_operators(kind: str, body: bytes) -> None:
    gone = HttpResponse(status=404, body=body)
    assert provider(kind, url=OURS).outcome_of(gone, chat(kind)).kind is OutcomeKind.BAD_ADDRESS
    assert provider(kind, url=OURS).outcome_of(gone, chat(kind, "")).kind is OutcomeKind.MISCONFIGURED


def test_slack_shows_plain_text_and_escapes_what_notifications_show() -> None:
    said = sent("slack")
    assert said["blocks"] == [
        {"type": "header", "text": {"type": "plain_text", "text": "Grace replied", "emoji": False}},
        {"type": "section", "text": {"type": "plain_text", "text": EVIL, "emoji": False}},
        {
            "type": "actions",
            "elements": [
                {
                    "type": "button",
                    "text": {"type": "plain_text", "text": "Open", "emoji": False},
                    "url": "https://example.com/c/1",
                }
            ],
        },
    ]
    assert said["text"].startswith("Grace replied\n&lt;!channel&gt; @everyone &lt;@U1&gt;")
    assert not set("<>") & set(said["text"])


def test_slack_takes_long_texts_in_pieces_that_it_allows() -> None:
    blocks = sent("slack", chat("slack", title="t" * 151, body="b" * 7_000))["blocks"]
    assert [(b["type"], len(b["text"]["text"])) for b in blocks] == [
        ("section", 151), ("section", 3_000), ("section", 3_000), ("section", 1_000),
    ]  # fmt: skip


def test_discord_mentions_nobody_and_shows_markdown_as_it_was_written() -> None:
    request = provider("discord").request_for(chat("discord"), NOW)
    assert request.url == "https://theirs.example/hook?x=1&wait=true"
    said = json.loads(request.body)
    assert said["allowed_mentions"] == {"parse": []}
    assert said["content"] == (
        "**Grace replied**\n"
        r"\<!channel> @everyone \<@U1> \[bank\](https://evil.example/_x_) \*now\*"
        "\nhttps://example.com/c/1"
    )


@pytest.mark.parametrize(
    "text,shown",
    [
        ("# big\n> quote\n- item", "\\# big\n\\> quote\n\\- item"),
        ("a - b # c > d", "a - b # c > d"),
        ("`code` ||spoiler|| ~~no~~ \\", r"\`code\` \|\|spoiler\|\| \~\~no\~\~ " + "\\\\"),
        ("https://a.example/x_y_z*", "https://a.example/x_y_z*"),
    ],
)
def test_discord_escapes_markdown_but_not_urls(text: str, shown: str) -> None:
    assert escaped(text) == shown


def test_teams_gets_a_card_whose_text_is_no_markdown() -> None:
    said = sent("teams", chat("teams", title="T", body=f"{EVIL}\n\nsecond", action_url="https://example.com/"))
    (attachment,) = said["attachments"]
    assert (said["type"], attachment["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    card = attachment["content"]
    assert [[run["text"] for run in block["inlines"]] for block in card["body"]] == [["T"], [EVIL], ["second"]]
    assert {run["type"] for block in card["body"] for run in block["inlines"]} == {"TextRun"}
    assert card["actions"] == [{"type": "Action.OpenUrl", "title": "Open", "url": "https://example.com/"}]


def test_telegram_gets_no_parse_mode_and_no_mention() -> None:
    token = "123456:ABC-DEF"
    request = provider("telegram", bot_token=token).request_for(chat("telegram", "-1001"), NOW)
    assert request.url == f"https://api.telegram.org/bot{token}/sendMessage"
    said = json.loads(request.body)
    assert said == {
        "chat_id": "-1001",
        "text": "Grace replied\n" + EVIL.replace("@everyone", "@\u2060everyone").replace("@U1", "@\u2060U1"),
        "link_preview_options": {"is_disabled": True},
        "reply_markup": {"inline_keyboard": [[{"text": "Open", "url": "https://example.com/c/1"}]]},
    }
    mail = sent("telegram", chat("telegram", "1", body="ask ada@example.com"), bot_token=token)
    assert mail["text"] == "ask ada@example.com"


def test_telegram_follows_a_group_to_its_new_id() -> None:
    bot = provider("telegram", bot_token="123456:ABC-DEF")
    group = chat("telegram", "-55")
    moved = HttpResponse(
        status=400,
        body=b'{"ok": false, "error_code": 400, "description": "Bad Request: group chat was upgraded to a supergroup '
        b'chat", "parameters": {"migrate_to_chat_id": -10055}}',
    )
    outcome = bot.outcome_of(moved, group)
    assert (outcome.kind, outcome.code, outcome.retry_after) == (OutcomeKind.TRANSIENT, "migrated", 0)
    assert json.loads(bot.request_for(group, NOW).body)["chat_id"] == "-10055"
    # If the new one says the same again, it doesn't go on for ever
    assert bot.outcome_of(moved, group).kind is OutcomeKind.REFUSED


@pytest.mark.parametrize(
    "text,link",
    [
        ("https://example.com/c/1?x=y#z", True),
        ("http://localhost:8000/", True),
        ("javascript:alert(1)", False),
        ("https:///nowhere", False),
        ("https://a b", False),
        ("https://a|b", False),
        ("https://[", False),
        ("app://open", False),
        ("https://example.com/" + "x" * 2_000, False),
    ],
)
def test_only_what_a_browser_opens_is_a_link(text: str, link: bool) -> None:
    assert is_link(text) is link
