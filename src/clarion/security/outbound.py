"""The outbound guard: which URLs given by users may be called, so that nobody reaches an inner network through Clarion.

It reads a URL more strictly than any HTTP client (two readers that differ are the hole), resolves its name once, and
checks every address that came. The client must then connect to the addresses of the `Destination` and to no others, and
follow no redirect: a second look-up could answer otherwise (DNS rebinding). Nothing is sent from here.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, NamedTuple

import msgspec

from clarion.model.errors import Invalid, Misconfigured

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

LONGEST_URL: Final = 4_096
#: Addresses of one name that are handed on; all of them are checked.
MOST_ADDRESSES: Final = 4
RESOLVE_TIMEOUT: Final = 5.0  # seconds
PORTS: Final = {"http": 80, "https": 443}
#: Below lie the ports of mail, SSH and others that can be made to misread an HTTP request.
LOWEST_FREE_PORT: Final = 1_024

# RFC 3986 without userinfo and fragment; what else a URL may hold must be percent-encoded.
_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>[a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>/[a-z0-9._~!$&'()*+,;=:@/%-]*)?(?P<query>\?[a-z0-9._~!$&'()*+,;=:@/?%-]*)?",
    re.IGNORECASE | re.ASCII,
)
# The last label begins with a letter: all that could be a number (2130706433, 0x7f.1) is an IPv4 address or refused.
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?:{_LABEL}\.)*(?=[a-z]){_LABEL}")

# Said here although `is_global` knows most of it: what that says differs between the releases of Python.
_CLOSED: Final = tuple(
    ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
        *("192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        *("224.0.0.0/4", "240.0.0.0/4"),
        *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),  # Teredo and kin, documentation, 6to4
    )
)
# The only IPv6 addresses given out for the public network; outside are mapped IPv4, NAT64, unique local, multicast.
_GLOBAL_UNICAST: Final = ip_network("2000::/3")

#: What `allow_private_networks = true` opens.
PRIVATE: Final = tuple(
    ip_network(text) for text in ("10.0.0.0/8", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
)
# Link-local, where clouds hand out credentials, and their metadata services elsewhere (AWS, Google, Oracle, Alibaba).
_NEVER: Final = tuple(
    ip_network(text)
    for text in ("169.254.0.0/16", "fe80::/10", "fd00:ec2::/32", "fd20:ce::/32", "fd00:c1::/32", "100.100.100.200/32")
)

#: Looks a name up: the addresses as text. Raises OSError.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """A checked URL, and the only addresses to connect to for it. `host` is in lower case, without brackets."""

    url: str
    host: str
    port: int
    addresses: tuple[str, ...]


def is_public(address: Address | str) -> bool:
    """Whether an address belongs to the public network and to nothing that leads elsewhere."""
    ip = ip_address(address) if isinstance(address, str) else address
    if isinstance(ip, IPv6Address) and ip not in _GLOBAL_UNICAST:
        return False
    return ip.is_global and not _within(ip, _CLOSED)


def networks(allowed: bool | Sequence[str]) -> tuple[Network, ...]:
    """The setting `allow_private_networks`: false, true, or a list of networks. Raises Misconfigured."""
    if isinstance(allowed, bool):
        return PRIVATE if allowed else ()
    try:
        return tuple(ip_network(text) for text in allowed)
    except ValueError as error:
        raise Misconfigured(f'allow_private_networks: {error}; write true, or a list such as ["10.1.0.0/16"]') from None


async def resolve(host: str, port: int) -> Sequence[str]:
    """Asks the system's resolver. Raises OSError."""
    async with asyncio.timeout(RESOLVE_TIMEOUT):
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(answer[4][0]) for answer in found]


class OutboundGuard:
    """Checks where a URL leads. Plain http is for `allowed` networks, or for everywhere with `allow_http`."""

    def __init__(
        self, *, allow_http: bool = False, allowed: tuple[Network, ...] = (), resolve: Resolve = resolve
    ) -> None:
        self._allow_http, self._allowed, self._resolve = allow_http, allowed, resolve

    async def __call__(self, url: str) -> Destination:
        """Raises Invalid for what must not be called, OSError if the name can't be resolved now."""
        parts = _read(url)
        found = [parts.literal] if parts.literal else list(map(ip_address, await self._resolve(parts.host, parts.port)))
        if not found:
            raise OSError("the name has no address")
        if not all(self._may_call(ip, parts.scheme) for ip in found):
            # No word on what the name resolved to: nobody is to map an inner network by it.
            raise _refusal(_NOT_PUBLIC if parts.scheme == "https" else _NOT_HTTPS)
        addresses = tuple(dict.fromkeys(map(str, found)))[:MOST_ADDRESSES]
        return Destination(url=parts.url, host=parts.host, port=parts.port, addresses=addresses)

    def _may_call(self, ip: Address, scheme: str) -> bool:
        if _within(ip, self._allowed) and not _within(ip, _NEVER):
            return True
        return is_public(ip) and (scheme == "https" or self._allow_http)


def _within(ip: Address, nets: Sequence[Network]) -> bool:
    return any(ip in net for net in nets)


_NOT_PUBLIC: Final = "it leads into a network that isn't public"
_NOT_HTTPS: Final = "it must begin with https://, or lead into a network that the operator allows"


def _refusal(why: str) -> Invalid:
    return Invalid("forbidden_address", f"this URL can't be called: {why}")


class _Parts(NamedTuple):
    scheme: str
    host: str
    port: int
    rest: str
    literal: Address | None  #: the host, if it is an address

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if isinstance(self.literal, IPv6Address) else self.host
        port = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.rest}"


def _read(url: str) -> _Parts:
    """The parts of a URL in their one usual spelling. Raises Invalid."""
    found = _URL.fullmatch(url) if len(url) <= LONGEST_URL else None
    if found is None:
        raise _refusal("write it as https://host.example/path, without a user, a fragment or unusual characters")
    scheme, host, path = found["scheme"].lower(), found["host"].lower(), found["path"] or "/"
    port = int(found["port"] or PORTS[scheme])
    if port > 65_535 or (port < LOWEST_FREE_PORT and port not in PORTS.values()):
        raise _refusal(f"its port must be 80, 443 or from {LOWEST_FREE_PORT} to 65535")
    literal = None if _NAME.fullmatch(host) else _literal(host)
    return _Parts(scheme, str(literal or host), port, path + (found["query"] or ""), literal)


def _literal(host: str) -> Address:
    try:
        return IPv6Address(host[1:-1]) if host.startswith("[") else IPv4Address(host)
    except ValueError:
        raise _refusal("its host is neither a name nor an address in the usual notation") from None
