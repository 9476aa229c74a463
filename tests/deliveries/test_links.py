"""Personal links: made when asked for, good for one person and one thing."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from clarion.deliveries.links import PREFERENCES_TTL, Links
from clarion.model.people import Profile
from clarion.model.words import Channel, Priority
from clarion.model.workflow import Step, Workflow
from clarion.security.encryption import KeyRing
from clarion.security.tokens import Claims, TokenPurpose, verify
from clarion.templates.rendering import render_parts
from clarion.templates.scope import personal_scope

NOW = 1_800_000_000_000
RING = KeyRing({"k1": b"k" * 32})
NOTE = Workflow(key="note")


class At:
    def now(self) -> int:
        return NOW


def links(url: str = "https://notify.example.com") -> Links:
    return Links(url, RING, At())


def opened(url: str, purpose: TokenPurpose) -> Claims:
    return verify(RING, url.replace("=", "/").rpartition("/")[2], NOW, purpose)


def test_each_link_says_whom_and_what_it_is_for() -> None:
    urls = links().urls(3, "ada", NOTE, Channel.SMS)

    assert urls["preferences"].startswith("https://notify.example.com/preferences?token=clt_")
    assert opened(urls["preferences"], TokenPurpose.PREFERENCES) == Claims(
        purpose=TokenPurpose.PREFERENCES, project=3, recipient="ada", expires_at=NOW + PREFERENCES_TTL
    )
    assert urls["unsubscribe"].startswith("https://notify.example.com/unsubscribe/clt_")
    assert opened(urls["unsubscribe"], TokenPurpose.UNSUBSCRIBE) == Claims(
        purpose=TokenPurpose.UNSUBSCRIBE, project=3, recipient="ada", workflow="note", channel="sms"
    )


def test_nothing_is_sealed_before_a_link_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    sealed: list[bytes] = []
    seal = KeyRing.seal

    def watched(ring: KeyRing, plain: bytes, aad: bytes) -> bytes:
        sealed.append(plain)
        return seal(ring, plain, aad)

    monkeypatch.setattr(KeyRing, "seal", watched)

    urls = links("http://localhost").urls(1, "ada", NOTE, Channel.EMAIL)
    links("http://localhost").headers(urls, NOTE, Channel.EMAIL)
    assert sealed == []
    assert urls["unsubscribe"] == urls["unsubscribe"]
    assert len(sealed) == 1


def test_the_header_and_the_text_show_the_same_link() -> None:
    urls = links().urls(1, "ada", NOTE, Channel.EMAIL)
    assert links().headers(urls, NOTE, Channel.EMAIL) == {
        "List-Unsubscribe": f"<{urls['unsubscribe']}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


@pytest.mark.parametrize(
    "url, workflow, channel, recipient",
    [
        ("http://notify.example.com", NOTE, Channel.EMAIL, "ada"),
        ("https://notify.example.com", NOTE, Channel.SMS, "ada"),
        ("https://notify.example.com", Workflow(key="alert", priority=Priority.critical), Channel.EMAIL, "ada"),
        ("https://notify.example.com", Workflow(key="terms", ignores_opt_out=True), Channel.EMAIL, "ada"),
        ("https://notify.example.com", NOTE, Channel.EMAIL, "語" * 256),  # wouldn't fit into one line
    ],
)
def test_no_header_where_one_click_is_not_for(url: str, workflow: Workflow, channel: Channel, recipient: str) -> None:
    made = links(url)
    assert made.headers(made.urls(1, recipient, workflow, channel), workflow, channel) == {}


@pytest.mark.parametrize("source", ["{{ urls.preferences }}", "{% if true %}{{ urls['preferences'] }}{% endif %}"])
def test_templates_show_links(source: str) -> None:
    def rendered(urls: Mapping[str, str]) -> str:
        step = Step(index=0, channel=Channel.SMS, parts={"body": source})
        return render_parts(NOTE, step, None, personal_scope({}, Profile(id="ada"), urls))["body"]

    urls = links().urls(1, "ada", NOTE, Channel.SMS)
    assert rendered(urls) == urls["preferences"]
    assert rendered({}) == ""


def test_a_link_that_does_not_exist_is_empty_in_templates() -> None:
    step = Step(index=0, channel=Channel.SMS, parts={"body": "[{{ urls.profile }}]"})
    scope = personal_scope({}, Profile(id="ada"), links().urls(1, "ada", NOTE, Channel.SMS))
    assert render_parts(NOTE, step, None, scope)["body"] == "[]"
