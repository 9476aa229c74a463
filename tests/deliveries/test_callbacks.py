from __future__ import annotations

import pytest

from clarion.deliveries.callbacks import callback_base, delivery_in, for_delivery, is_reachable, vouched
from clarion.deliveries.interface import ProviderConfig, Services
from clarion.model import ids
from clarion.model.words import Channel
from tests.deliveries.messages import message


def test_the_delivery_in_a_callback_url_is_found_again() -> None:
    delivery = message().delivery_id
    url = for_delivery("https://clarion.example/v1/callbacks/texts", delivery)
    assert url.startswith("https://clarion.example/v1/callbacks/texts?delivery=dlv_")
    assert delivery_in(url) == delivery


@pytest.mark.parametrize("query", ["", "?delivery=", "?delivery=dlv_x", "?delivery=ntf_" + "0" * 26, "?other=1", "?%"])
def test_a_url_that_names_no_delivery_of_ours_names_none(query: str) -> None:
    assert delivery_in("https://clarion.example/v1/callbacks/texts" + query) is None


def test_a_url_for_a_provider_that_signs_nothing_cannot_be_made_up() -> None:
    delivery, other = message().delivery_id, message(1).delivery_id
    url = for_delivery("https://clarion.example/v1/callbacks/texts", delivery, b"key")
    assert vouched(url, b"key") == delivery
    assert vouched(url + "&status=delivered", b"key") == delivery
    for forged in (
        for_delivery("https://clarion.example/v1/callbacks/texts", delivery),
        for_delivery("https://clarion.example/v1/callbacks/texts", delivery, b"another"),
        url.replace(ids.show(ids.DELIVERY, delivery), ids.show(ids.DELIVERY, other)),
        "https://clarion.example/v1/callbacks/texts",
        "https://clarion.example/v1/callbacks/texts?voucher=%ff",
    ):
        assert vouched(forged, b"key") is None


@pytest.mark.parametrize(
    "url,reachable",
    [
        ("https://clarion.example/v1", True),
        ("http://8.8.8.8:8000/v1", True),
        ("http://127.0.0.1:8000/v1", False),
        ("http://10.0.0.4/v1", False),
        ("http://[::1]:8000/v1", False),
        ("http://localhost:8000/v1", False),
        ("http://app.localhost/v1", False),
        ("http://nas/v1", False),
        ("http://nas.local/v1", False),
    ],
)
def test_a_provider_gets_no_url_that_leads_nowhere_from_outside(url: str, reachable: bool) -> None:
    assert is_reachable(url) is reachable
    config = ProviderConfig(name="texts", kind="twilio", channel=Channel.SMS)
    assert callback_base(config, Services(callback_url=lambda _name: url)) == (url if reachable else None)


def test_an_emulator_gets_whatever_url_there_is() -> None:
    config = ProviderConfig(name="texts", kind="twilio", channel=Channel.SMS, base_url="http://127.0.0.1:9")
    here = Services(callback_url=lambda name: f"http://127.0.0.1:8000/v1/callbacks/{name}")
    assert callback_base(config, here) == "http://127.0.0.1:8000/v1/callbacks/texts"
    assert callback_base(config, Services()) is None
