from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

from clarion.clock import SECOND
from clarion.deliveries.interface import HttpRequest, ProviderConfig
from clarion.deliveries.providers import build
from clarion.deliveries.providers.webhook import Webhook, signature
from clarion.model import ids
from clarion.model.errors import Invalid, Misconfigured
from clarion.model.words import Channel, ContactKind, OutcomeKind
from clarion.testing.providers import no_io, outcomes_of, services
from tests.deliveries.messages import NOW, message

KEY = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
HOOK = message(channel=Channel.WEBHOOK, kind=ContactKind.URL, address="https://hook.example/in")


def webhook(base_url: str | None = None, **config: Any) -> Webhook:
    wanted = ProviderConfig(
        name="hooks", kind="webhook", channel=Channel.WEBHOOK, base_url=base_url, config={"secret": SECRET, **config}
    )
    made = build(wanted, services())
    assert isinstance(made, Webhook)
    return made


def test_the_signature_is_that_of_the_specifications_own_example() -> None:
    body = b'{"test": 2432232314}'
    signed = signature(KEY, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body)
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def verified(request: HttpRequest, key: bytes) -> bool:
    """As a receiver checks it (specification, "Verifying webhook authenticity")."""
    signed = b".".join(
        (request.headers["webhook-id"].encode(), request.headers["webhook-timestamp"].encode(), request.body)
    )
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return any(hmac.compare_digest(expected, given) for given in request.headers["webhook-signature"].split(" "))


def test_a_request_can_be_verified_and_read() -> None:
    request = webhook().request_for(HOOK, NOW)
    assert (request.method, request.url, request.timeout) == ("POST", "https://hook.example/in", 15_000)
    assert request.headers["content-type"] == "application/json"
    assert verified(request, KEY)
    assert json.loads(request.body) == {
        "type": "comment.created",
        "timestamp": "2027-03-01T12:00:00.000Z",
        "data": {
            "notification_id": ids.show(ids.NOTIFICATION, HOOK.notification_id),
            "recipient": "u1",
            "workflow": "comment_reply",
            "category": "social",
            "parts": {"subject": "Grace replied", "text": "Well put.", "html": "<p>Well put.</p>"},
            "event": {"author": "Grace"},
        },
    }


def test_a_retry_has_the_same_id_and_body_and_a_stamp_of_its_own() -> None:
    first, again = webhook().request_for(HOOK, NOW), webhook().request_for(HOOK, NOW + 90 * SECOND)
    assert first.headers["webhook-id"] == again.headers["webhook-id"] == ids.show(ids.DELIVERY, HOOK.delivery_id)
    assert "." not in first.headers["webhook-id"]
    assert first.body == again.body
    assert int(again.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) == 90
    assert verified(again, KEY)
    assert first.headers["webhook-signature"] != again.headers["webhook-signature"]


@pytest.mark.parametrize("between", [" ", ",", ", ", "\n"])
def test_while_secrets_change_over_all_of_them_sign(between: str) -> None:
    other = bytes(range(32))
    both = SECRET + between + "whsec_" + base64.b64encode(other).decode()
    request = webhook(secret=both).request_for(HOOK, NOW)
    assert len(request.headers["webhook-signature"].split(" ")) == 2
    assert verified(request, KEY)
    assert verified(request, other)


@pytest.mark.parametrize(
    "config,base_url,address,url,guarded",
    [
        ({}, None, "https://theirs.example/x", "https://theirs.example/x", True),
        ({"url": "http://10.0.0.1/ours"}, None, "https://theirs.example/x", "https://theirs.example/x", True),
        ({"url": "http://10.0.0.1/ours"}, None, "", "http://10.0.0.1/ours", False),
        ({}, "http://127.0.0.1:9", "https://theirs.example/x?y=1", "http://127.0.0.1:9/x?y=1", False),
    ],
)
def test_what_a_user_may_set_is_guarded_and_what_the_operator_sets_is_not(
    config: dict[str, Any], base_url: str | None, address: str, url: str, guarded: bool
) -> None:
    hook = message(channel=Channel.WEBHOOK, kind=ContactKind.URL if address else None, address=address)
    request = webhook(base_url, **config).request_for(hook, NOW)
    assert (request.url, request.guard is not None) == (url, guarded)


@pytest.mark.parametrize(
    "allowed,url,may",
    [
        (False, "https://10.0.0.2/x", False),
        (False, "http://127.0.0.1:8080/x", False),
        (True, "https://10.0.0.2/x", True),
        (True, "http://127.0.0.1:8080/x", True),
        (True, "http://169.254.169.254/latest/meta-data", False),
        (["10.1.0.0/16"], "http://10.1.2.3/x", True),
        (["10.1.0.0/16"], "http://10.2.2.3/x", False),
    ],
)
async def test_private_networks_are_open_only_as_far_as_the_operator_says(
    allowed: bool | list[str], url: str, may: bool
) -> None:
    hook = message(channel=Channel.WEBHOOK, kind=ContactKind.URL, address=url)
    guard = webhook(allow_private_networks=allowed).request_for(hook, NOW).guard
    assert guard is not None
    if may:
        assert (await guard(url)).url == url
    else:
        with pytest.raises(Invalid):
            await guard(url)


def test_a_network_that_is_none_is_refused() -> None:
    with pytest.raises(Misconfigured, match="provider 'hooks': allow_private_networks"):
        webhook(allow_private_networks=["10.1.0.0/99"])


async def test_without_any_url_nothing_is_sent() -> None:
    nowhere = message(channel=Channel.WEBHOOK, kind=None, address="")
    outcome = (await outcomes_of(webhook(), [nowhere]))[nowhere.delivery_id]
    assert (outcome.kind, outcome.code) == (OutcomeKind.REFUSED, "payload_invalid")


@pytest.mark.parametrize(
    "secret,says",
    [
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_"),
        ("whsec_not base64!", "whsec_"),
        ("whsec_c2hvcnQ=", "24 to 64"),
        ("whsec_" + base64.b64encode(bytes(65)).decode(), "24 to 64"),
        (f"{SECRET} whsec_c2hvcnQ=", "24 to 64"),
        (" , ", "whsec_"),
    ],
)
def test_a_secret_that_is_none_says_how_to_write_one(secret: str, says: str) -> None:
    with pytest.raises(Misconfigured, match=says) as caught:
        webhook(secret=secret)
    assert secret not in str(caught.value)


def test_a_url_that_is_none_is_refused() -> None:
    with pytest.raises(Misconfigured, match="url isn't one"):
        webhook(url="hook.example/in")


def test_nothing_was_sent_by_these_tests() -> None:
    with pytest.raises(AssertionError):
        no_io(HttpRequest(url="https://x.test", body=b""))
