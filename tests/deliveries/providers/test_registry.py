from __future__ import annotations

import re

import msgspec
import pytest

from clarion.deliveries.interface import ProviderConfig, Services, rebased
from clarion.deliveries.options import Secret, read, resolved
from clarion.deliveries.providers import KINDS, available_kinds, build
from clarion.model.errors import Misconfigured
from clarion.model.words import Channel


def config(kind: str = "smtp", **fields: object) -> ProviderConfig:
    plain = {"name": "x", "kind": kind, "channel": Channel.EMAIL}
    return msgspec.convert({**plain, **fields}, ProviderConfig)


@pytest.mark.parametrize("kind", ["carrier", "pigeon", "", "SMTP"])
def test_a_kind_that_is_not_on_offer_is_refused_with_those_that_are(kind: str) -> None:
    with pytest.raises(Misconfigured, match=re.escape(f"kind {kind!r} is not available; available: apns, apprise, ")):
        build(config(kind))


def test_the_table_is_imported_only_as_far_as_it_is_used() -> None:
    assert available_kinds() == tuple(sorted(KINDS))
    assert all(isinstance(target, str) for target in KINDS.values())


def test_a_base_url_is_for_providers_over_http() -> None:
    with pytest.raises(Misconfigured, match="base_url is for providers over HTTP"):
        build(config(base_url="http://127.0.0.1"))


@pytest.mark.parametrize("url", ["127.0.0.1:5000", "ftp://x", "http://", "", "/path"])
def test_a_base_url_must_be_one(url: str) -> None:
    with pytest.raises(Misconfigured, match="base_url isn't a URL"):
        build(config("webhook", channel="webhook", base_url=url))


@pytest.mark.parametrize("kind,channel", [("in_app", "in_app"), ("capture", "email"), ("webhook", "webhook")])
def test_what_a_provider_needs_of_the_process_is_asked_for(kind: str, channel: str) -> None:
    with pytest.raises(Misconfigured, match=f"this process has no .* for {kind}"):
        build(config(kind, channel=channel), Services())


@pytest.mark.parametrize(
    "url,base,expected",
    [
        ("https://api.test/v1/send?x=1", None, "https://api.test/v1/send?x=1"),
        ("https://api.test/v1/send?x=1", "http://127.0.0.1:5000", "http://127.0.0.1:5000/v1/send?x=1"),
        ("https://api.test/v1/send", "http://127.0.0.1:5000/", "http://127.0.0.1:5000/v1/send"),
        ("https://api.test/v1/send", "http://emulators/acme", "http://emulators/acme/v1/send"),
    ],
)
def test_a_base_url_replaces_scheme_and_host(url: str, base: str | None, expected: str) -> None:
    assert rebased(url, base) == expected


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    key: Secret
    port: int = 1
    on: bool = False


def test_values_come_from_the_environment_and_become_what_is_wanted() -> None:
    wanted = config(config={"key": "env:KEY", "port": "env:PORT", "on": "env:ON"})
    settings = read(resolved(wanted, {"KEY": "s3cr3t\n", "PORT": "2525", "ON": "true"}), Settings)
    assert (settings.key.reveal(), settings.port, settings.on) == ("s3cr3t", 2525, True)


def test_a_secret_shows_itself_nowhere() -> None:
    settings = read(config(config={"key": "s3cr3t"}), Settings)
    for shown in (repr(settings), str(settings.key), f"{settings.key}", repr([settings.key])):
        assert "s3cr3t" not in shown


@pytest.mark.parametrize("value", ["", "  ", 5, None, ["s"]])
def test_a_secret_must_be_a_text(value: object) -> None:
    with pytest.raises(Misconfigured, match=r"provider 'x': .*config\.key"):
        read(config(config={"key": value}), Settings)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(Misconfigured, match="`key`"):
        read(config(), Settings)
