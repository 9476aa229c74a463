from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyreqwest.http import Url

from clarion.model.errors import Invalid, Misconfigured
from clarion.security.outbound import MOST_ADDRESSES, Destination, OutboundGuard, is_public, networks, resolve

PUBLIC_4, PUBLIC_6 = "93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"


def _words(text: str) -> list[str]:
    return text.split()


NOT_PUBLIC = _words("""
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 100.127.255.255 127.0.0.1 127.1.2.3 169.254.0.1
169.254.169.254 169.254.170.2 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.170 192.0.2.1 192.88.99.1 192.168.0.1
192.168.255.255 198.18.0.1 198.19.255.255 198.51.100.7 203.0.113.7 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
:: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:8.8.8.8 ::ffff:a9fe:a9fe 64:ff9b::7f00:1 64:ff9b::808:808
64:ff9b:1::1 100::1 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:2::1 2001:10::1 2001:20::1 2001:db8::1
2002:7f00:1:: 2002:808:808::1 3fff::1 4000::1 5f00::1 fc00::1 fd00::1 fd00:ec2::254 fd20:ce::254 fdff::1 fe80::1
fe80::1%eth0 febf::1 fec0::1 ff02::1 ff0e::1
""")

PUBLIC = _words("""
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 93.184.215.14 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.1
169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.1 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0
223.255.255.255 2001:4860:4860::8888 2606:4700:4700::1111 2a00:1450:4001:800::200e 2003::1 2600::
""")


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_what_is_not_the_public_network_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_the_public_network_is_public_up_to_the_edges_of_the_others(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses())
def test_nothing_public_is_private_local_or_special(ip: IPv4Address | IPv6Address) -> None:
    if is_public(ip):
        assert ip.is_global
        assert not any([ip.is_private, ip.is_loopback, ip.is_link_local, ip.is_multicast, ip.is_reserved])


@given(st.ip_addresses(v=4))
def test_no_ipv4_address_passes_inside_an_ipv6_address(ip: IPv4Address) -> None:
    number = int(ip)
    for wrapped in (number, 0xFFFF << 32 | number, (0x64FF9B << 96) | number, 0x2002 << 112 | number << 80):
        assert not is_public(IPv6Address(wrapped))


def guard_that_finds(*addresses: str, allow_http: bool = False) -> OutboundGuard:
    async def found(host: str, port: int) -> Sequence[str]:
        return addresses

    return OutboundGuard(resolve=found, allow_http=allow_http)


async def refused(guard: OutboundGuard, url: str) -> str:
    with pytest.raises(Invalid) as refusal:
        await guard(url)
    assert refusal.value.code == "forbidden_address"
    return refusal.value.detail


class TestReading:
    @pytest.mark.parametrize(
        "url, canonical, host, port",
        [
            ("https://example.com", "https://example.com/", "example.com", 443),
            ("HTTPS://Example.COM:443/a?b=c", "https://example.com/a?b=c", "example.com", 443),
            ("https://example.com?x=1", "https://example.com/?x=1", "example.com", 443),
            ("https://a-b.c_d.example:8443/%20", "https://a-b.c_d.example:8443/%20", "a-b.c_d.example", 8443),
            ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/", "xn--bcher-kva.example", 443),
            (
                "https://hooks.slack.com/services/T0/B0/x",
                "https://hooks.slack.com/services/T0/B0/x",
                "hooks.slack.com",
                443,
            ),
        ],
    )
    async def test_a_url_is_read_and_spelt_in_the_usual_way(
        self, url: str, canonical: str, host: str, port: int
    ) -> None:
        destination = await guard_that_finds(PUBLIC_4)(url)
        assert destination == Destination(url=canonical, host=host, port=port, addresses=(PUBLIC_4,))

    @pytest.mark.parametrize(
        "host", ["93.184.215.14", "[2606:2800:21f:cb07:6820:80da:af6b:8b2c]", "[2606:2800:021F::1]"]
    )
    async def test_an_address_in_the_usual_notation_needs_no_look_up(self, host: str) -> None:
        async def never(host: str, port: int) -> Sequence[str]:
            raise AssertionError

        destination = await OutboundGuard(resolve=never)(f"https://{host}/")
        assert destination.addresses == (destination.host,) == (str(ip_address(host.strip("[]"))),)

    @pytest.mark.parametrize(
        "host",
        _words("""
        2130706433 0x7f000001 0x7f.1 0x7f.0.0.1 017700000001 0177.0.0.1 127.1 127.0.1 127.0.0.01 127.0.0.1. 127.0.0.0x1
        0 0x 1.2.3 1.2.3.4.5 256.1.1.1 93.184.215.14. 093.184.215.14 example.com. example..com .example.com -example.com
        example-.com example.com.0x7f example.com.1 example.0 [::1 ::1 [::ffff:127.0.0.1%25eth0] [fe80::1%25eth0]
        [1.2.3.4] [::ffff:1.2.3] [] [:::1] user@example.com user:pw@example.com @example.com example.com@127.0.0.1
        127.0.0.1#@example.com example.com\\@127.0.0.1 example.com:x example.com: example.com:0 example.com:00443
        example.com:65536 example.com:443:443 bücher.example ⑯⑨。②⑤④。⑯⑨｡②⑤④ １２７.0.0.1 example。com ex%61mple.com
        127.0.0.1%00.example.com %31%32%37.0.0.1 exa,mple.com
        """),
        ids=ascii,
    )
    async def test_odd_notations_of_a_host_are_refused(self, host: str) -> None:
        await refused(guard_that_finds(PUBLIC_4, allow_http=True), f"https://{host}/")

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "example.com",
            "//example.com",
            "https:example.com",
            "https:/example.com",
            "https:///example.com",
            "https://",
            "https:\\\\example.com",
            "ftp://example.com",
            "file:///etc/passwd",
            "gopher://example.com:6379/_FLUSHALL",
            "javascript:alert(1)",
            "httpsx://example.com",
            " https://example.com",
            "https://example.com ",
            "https://example.com\n",
            "https://example.com/\r\nHost: inner",
            "https://exam\tple.com",
            "https://example.com/a b",
            "https://example.com/\x00",
            "https://example.com/ü",
            "https://example.com/a\\b",
            "https://example.com/#fragment",
            "https://example.com#@127.0.0.1",
            "https://example.com/{x}",
            "https://" + "a" * 64 + ".example",
            "https://example.com/" + "a" * 5000,
        ],
    )
    async def test_what_is_not_plainly_an_http_url_is_refused(self, url: str) -> None:
        await refused(guard_that_finds(PUBLIC_4, allow_http=True), url)

    @pytest.mark.parametrize("port", [1, 22, 25, 53, 110, 465, 587, 993, 1023])
    async def test_ports_of_other_protocols_are_refused(self, port: int) -> None:
        assert "port" in await refused(guard_that_finds(PUBLIC_4), f"https://example.com:{port}/")

    @given(
        st.builds(
            "{}://{}{}{}".format,
            st.sampled_from(["http", "https", "HTTPS"]),
            st.sampled_from(["a.example", "A.b", "8.8.8.8", "[2600::A]"])
            | st.text("aZ9.-_", min_size=1, max_size=8)
            | st.text("aZ09xX.-_:[]@%\\", max_size=20)
            | st.ip_addresses().map(str),
            st.sampled_from(["", ":443", ":8080", ":80", ":0443"]),
            st.text("aZ0/?&=%.;'~", max_size=8).map("/".__add__) | st.text("aZ0/?&=%.;'~\\#@:", max_size=12),
        )
    )
    async def test_guard_and_client_read_every_url_alike(self, url: str) -> None:
        try:
            destination = await guard_that_finds(PUBLIC_4, allow_http=True)(url)
        except Invalid:
            return
        for text in (url, destination.url):
            read = Url(text)
            assert (read.host_str or "").strip("[]") == destination.host
            assert read.port_or_known_default == destination.port
            assert (read.username, read.password, read.fragment) == ("", None, None)
        assert (await guard_that_finds(PUBLIC_4, allow_http=True)(destination.url)) == destination


class TestWhereItLeads:
    @pytest.mark.parametrize("address", NOT_PUBLIC)
    async def test_a_name_that_leads_inside_is_refused(self, address: str) -> None:
        detail = await refused(guard_that_finds(address), "https://rebind.example/")
        assert address not in detail

    @pytest.mark.parametrize("address", [a for a in NOT_PUBLIC if "%" not in a])
    async def test_an_address_inside_is_refused(self, address: str) -> None:
        await refused(guard_that_finds(), f"https://[{address}]/" if ":" in address else f"https://{address}/")

    @given(st.lists(st.sampled_from(PUBLIC), max_size=6), st.sampled_from(NOT_PUBLIC), st.integers(0, 6))
    async def test_one_bad_address_among_good_ones_is_enough(self, good: list[str], bad: str, at: int) -> None:
        await refused(guard_that_finds(*good[:at], bad, *good[at:]), "https://example.com/")

    async def test_the_checked_addresses_are_the_ones_to_connect_to(self) -> None:
        destination = await guard_that_finds(PUBLIC_6, PUBLIC_4, PUBLIC_4)("https://example.com/")
        assert destination.addresses == (PUBLIC_6, PUBLIC_4)

    async def test_a_name_with_a_thousand_addresses_gives_a_few_of_them(self) -> None:
        destination = await guard_that_finds(*(f"8.8.{n // 256}.{n % 256}" for n in range(1000)))(
            "https://example.com/"
        )
        assert len(destination.addresses) == MOST_ADDRESSES

    async def test_a_name_is_looked_up_once_so_that_a_second_answer_can_not_differ(self) -> None:
        answers = iter([[PUBLIC_4], ["127.0.0.1"]])

        async def rebinding(host: str, port: int) -> Sequence[str]:
            return next(answers)

        destination = await OutboundGuard(resolve=rebinding)("https://rebind.example/")
        assert destination.addresses == (PUBLIC_4,)
        assert next(answers) == ["127.0.0.1"]  # nobody has asked for it

    async def test_a_name_that_can_not_be_resolved_is_no_fault_of_the_url(self) -> None:
        async def unknown(host: str, port: int) -> Sequence[str]:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

        for guard in (OutboundGuard(resolve=unknown), guard_that_finds()):
            with pytest.raises(OSError):
                await guard("https://example.com/")

    async def test_the_systems_resolver_gives_addresses_as_text(self) -> None:
        assert set(await resolve("localhost", 443)) <= {"127.0.0.1", "::1"}
        await refused(OutboundGuard(), "https://localhost/")


class TestPlainHttp:
    async def test_it_is_refused_unless_it_was_allowed(self) -> None:
        assert "https://" in await refused(guard_that_finds(PUBLIC_4), "http://example.com/")
        assert (await guard_that_finds(PUBLIC_4, allow_http=True)("http://example.com/")).port == 80

    async def test_a_private_name_is_told_nothing_else_over_http(self) -> None:
        inside = await refused(guard_that_finds("10.0.0.1"), "http://example.com/")
        assert inside == await refused(guard_that_finds(PUBLIC_4), "http://example.com/")


class TestAllowedNetworks:
    @staticmethod
    def guard(address: str, allowed: bool | list[str]) -> OutboundGuard:
        async def found(host: str, port: int) -> Sequence[str]:
            return [address]

        return OutboundGuard(allowed=networks(allowed), resolve=found)

    @pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "172.16.9.9", "192.168.1.1", "::1", "fd12:3456::1"])
    async def test_true_opens_private_networks_for_http_too(self, address: str) -> None:
        destination = await self.guard(address, True)("http://sink.internal:8080/hook")
        assert destination.addresses == (address,)
        await refused(self.guard(address, False), "https://sink.internal:8080/hook")

    async def test_a_list_opens_just_that(self) -> None:
        assert (await self.guard("10.1.2.3", ["10.1.0.0/16"])("http://sink/")).host == "sink"
        await refused(self.guard("10.2.2.3", ["10.1.0.0/16"]), "https://sink/")
        await refused(self.guard("::ffff:10.1.2.3", ["10.1.0.0/16"]), "https://sink/")

    async def test_an_address_written_out_is_allowed_too(self) -> None:
        assert (await self.guard("", ["127.0.0.0/8"])("http://127.0.0.1:9000/")).addresses == ("127.0.0.1",)

    async def test_it_does_not_open_plain_http_to_the_public(self) -> None:
        await refused(self.guard(PUBLIC_4, True), "http://example.com/")

    @pytest.mark.parametrize(
        "address", ["169.254.169.254", "169.254.170.2", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "fe80::1"]
    )
    @pytest.mark.parametrize("allowed", [True, ["0.0.0.0/0", "::/0"]])
    async def test_nothing_opens_the_clouds_metadata_services(self, address: str, allowed: bool | list[str]) -> None:
        await refused(self.guard(address, allowed), "http://metadata.internal/")

    @pytest.mark.parametrize("wrong", ["10.1.0.0/33", "10.1.0.1/16", "localhost", ""])
    def test_a_wrong_network_is_named(self, wrong: str) -> None:
        with pytest.raises(Misconfigured, match="allow_private_networks"):
            networks(["10.0.0.0/8", wrong])
