"""Where a provider is told to report a delivery, and which delivery such a call is about. Pure.

The delivery's id rides in the query: a receipt finds its delivery also when it comes before the outcome is stored.
"""

from __future__ import annotations

import hmac
from ipaddress import ip_address
from urllib.parse import parse_qsl, urlencode, urlsplit

from clarion.deliveries.interface import ProviderConfig, Services
from clarion.model import ids
from clarion.model.ids import Id

#: The names of the id in the query, and of what shows that the URL is ours.
DELIVERY, VOUCHER = "delivery", "voucher"

#: Names that mean something at home only (RFC 6761, RFC 6762, RFC 8375).
_AT_HOME = ("localhost", "local", "internal", "home.arpa", "test", "invalid")


def callback_base(config: ProviderConfig, services: Services) -> str | None:
    """Where the provider can report to, without a delivery; None where it couldn't get there.

    Providers refuse messages that name an unreachable URL (Twilio: 21609), and a laptop's is one. An emulator behind
    `base_url` may well reach it.
    """
    if services.callback_url is None:
        return None
    url = services.callback_url(config.name)
    return url if config.base_url is not None or is_reachable(url) else None


def is_reachable(url: str) -> bool:
    """Whether a URL can lead here from the public network, as far as it tells itself."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_global
    except ValueError:
        return "." in host and not any(host == name or host.endswith("." + name) for name in _AT_HOME)


def for_delivery(base: str, delivery: Id, key: bytes | None = None) -> str:
    """The URL to which the receipts of one delivery go. With `key`, nobody else can make it up: see `vouched`."""
    shown = ids.show(ids.DELIVERY, delivery)
    query = {DELIVERY: shown} if key is None else {DELIVERY: shown, VOUCHER: _voucher(shown, key)}
    return f"{base}?{urlencode(query)}"


def delivery_in(url: str) -> Id | None:
    """The delivery that a called URL names; None if it names none."""
    return read_delivery(dict(parse_qsl(urlsplit(url).query)).get(DELIVERY))


def vouched(url: str, key: bytes) -> Id | None:
    """The delivery of a called URL that was made by us; None otherwise.

    For providers that sign nothing: only who was told the URL can report, and only on that delivery.
    """
    query = dict(parse_qsl(urlsplit(url).query))
    shown, given = query.get(DELIVERY, ""), query.get(VOUCHER, "")
    true = hmac.compare_digest(_voucher(shown, key).encode(), given.encode("utf-8", "replace"))
    return read_delivery(shown) if true else None


def _voucher(shown: str, key: bytes) -> str:
    return hmac.digest(key, f"callback {shown}".encode("utf-8", "replace"), "sha256")[:16].hex()


def read_delivery(text: object) -> Id | None:
    """The delivery behind an id as a provider gives it back; None if it is none of ours."""
    if not isinstance(text, str):
        return None
    try:
        return ids.read(ids.DELIVERY, text)
    except ids.InvalidId:
        return None
