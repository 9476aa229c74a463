from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.model.errors import Invalid
from clarion.model.words import Channel, ContactKind
from clarion.security.addresses import (
    _PLAIN_EMAIL,
    _checked_email,
    is_locale,
    lookup_form,
    mask,
    mask_email,
    mask_phone,
    normal_email,
    normal_locale,
    normal_phone,
    normal_timezone,
)

CONTROL = [chr(c) for c in (*range(32), 127, 0x85, 0xA0, 0x2028, 0x2029, 0x200B, 0x202E)]


def _pieces(*pieces: str) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(pieces), max_size=8).map("".join)


#: What _PLAIN_EMAIL lets pass, made of few pieces, so that their combinations come up.
plain_emails = st.builds(
    lambda local, domain, end: f"a{local}@x{domain}.{end}",
    _pieces("a", "Z", "9", "_", "+", "-", ".a", ".-", ".9"),
    _pieces("a", "9", "n", "-a", "-9", ".x", ".9", "n-1"),
    st.sampled_from(["az", "test", "localhost", "arpa"]),
)


class TestEmail:
    @pytest.mark.parametrize(
        "text, normal",
        [
            ("user@example.com", "user@example.com"),
            ("User.Name+tag@Example.COM", "User.Name+tag@example.com"),
            ("user@shop.test", "user@shop.test"),
            ("user@localhost", "user@localhost"),
            ("user@mail.localhost", "user@mail.localhost"),
            ("user@mail.local", "user@mail.local"),
            ("user@example.invalid", "user@example.invalid"),
            ("user@bücher.example", "user@xn--bcher-kva.example"),
            ("üser@example.com", "üser@example.com"),
            ("o'hara@example.com", "o'hara@example.com"),
        ],
    )
    def test_an_address_in_form_passes_with_its_domain_in_lower_case(self, text: str, normal: str) -> None:
        assert normal_email(text) == normal
        assert normal_email(normal) == normal

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "@",
            "not an address",
            "user",
            "user@",
            "@example.com",
            "user@gmail",
            "user@1.2.3.4",
            "user@[127.0.0.1]",
            "user@@example.com",
            "a@b@example.com",
            "user@exam ple.com",
            "user@example..com",
            ".user@example.com",
            "user@-example.com",
            "user@example.com.",
            "User <user@example.com>",
            '"a b"@example.com',
            "user@example.com, eve@example.com",
            "user@example.com\r\nBcc: eve@example.com",
            "user\r\nBcc: eve@example.com",
            "user@example.com\n",
            "x" * 65 + "@example.com",
            "user@" + "x" * 250 + ".com",
            "user@" + "x" * 64 + ".com",
            "\udce9@example.com",
        ],
    )
    def test_anything_else_is_invalid_and_not_repeated(self, text: str) -> None:
        with pytest.raises(Invalid) as refusal:
            normal_email(text, "recipients[3].email")
        assert (refusal.value.code, refusal.value.where) == ("invalid_email", "recipients[3].email")
        assert (
            refusal.value.detail
            == "this isn't an email address: write it as name@example.com, without a name around it"
        )

    @pytest.mark.parametrize("character", CONTROL, ids=ascii)
    @pytest.mark.parametrize("place", [0, 2, 4, 5, 8, 16])
    def test_no_control_character_gets_through_anywhere(self, character: str, place: int) -> None:
        text = "user@example.com"
        with pytest.raises(Invalid):
            normal_email(text[:place] + character + text[place:])

    @given(st.emails())
    def test_what_passes_holds_no_space_and_is_already_normal(self, text: str) -> None:
        try:
            normal = normal_email(text)
        except Invalid:
            return
        assert normal == normal_email(normal)
        assert not any(c.isspace() or not c.isprintable() for c in normal)

    @given(plain_emails)
    def test_the_short_way_agrees_with_the_library(self, text: str) -> None:
        assert _PLAIN_EMAIL.fullmatch(text)
        assert normal_email(text) == _checked_email(text, None) == text

    @given(st.text(max_size=40))
    def test_no_text_breaks_the_check(self, text: str) -> None:
        with pytest.raises(Invalid):
            normal_email(text.replace("@", ""))


class TestPhone:
    @pytest.mark.parametrize(
        "text, normal",
        [
            ("+14155550123", "+14155550123"),
            ("+1 (415) 555-0123", "+14155550123"),
            ("+49 30 123456", "+4930123456"),
            ("+39 06 6982", "+39066982"),  # the zero stays in Italy
            ("+8613800138000", "+8613800138000"),
        ],
    )
    def test_a_possible_number_passes_in_e164(self, text: str, normal: str) -> None:
        assert normal_phone(text) == normal
        assert normal_phone(normal) == normal

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "+",
            "14155550123",
            "0049301234567",
            "(415) 555-0123",
            "+1",
            "+1415555",
            "+15550123",  # a local number, without its area
            "+141555501234567",
            "+999123456789",
            "+1-800-FLOWERS",
            "+14155550123;ext=4",
            "+14155550123 x4",
            "tel:+14155550123",
            "+14155550123\n",
            "+1415\r\n5550123",
            "+1415\t5550123",
            "+１４１５５５５０１２３",  # full-width digits
            "+1415" + "5" * 1000,
        ],
    )
    def test_anything_else_is_invalid_and_not_repeated(self, text: str) -> None:
        with pytest.raises(Invalid) as refusal:
            normal_phone(text, "phone")
        assert (refusal.value.code, refusal.value.where) == ("invalid_phone", "phone")
        assert refusal.value.detail == "this isn't a phone number: write it with + and the country, +14155550123"


class TestTimezone:
    @pytest.mark.parametrize(
        "name", ["Europe/Berlin", "UTC", "Etc/UTC", "US/Eastern", "Asia/Calcutta", "America/Sao_Paulo"]
    )
    def test_zones_and_their_links_pass(self, name: str) -> None:
        assert normal_timezone(name) == name

    @pytest.mark.parametrize(
        "name",
        ["", "Mars/Olympus", "europe/berlin", "CEST", "+02:00", "../../etc/passwd", "Europe", "Factory", "localtime"],
    )
    def test_anything_else_is_invalid(self, name: str) -> None:
        with pytest.raises(Invalid) as refusal:
            normal_timezone(name, "timezone")
        assert (refusal.value.code, refusal.value.where) == ("invalid_timezone", "timezone")
        assert "Olympus" not in refusal.value.detail


class TestLocale:
    @pytest.mark.parametrize(
        "text, normal",
        [
            ("de", "de"),
            ("DE", "de"),
            ("de-ch", "de-CH"),
            ("ZH-hant-tw", "zh-Hant-TW"),
            ("es-419", "es-419"),
            ("gsw", "gsw"),
            ("zh-cmn-Hans-CN", "zh-cmn-Hans-CN"),
            ("sl-rozaj-biske", "sl-rozaj-biske"),
            ("de-DE-1996", "de-DE-1996"),
            ("de-u-co-phonebk", "de-u-co-phonebk"),
            ("en-US-x-Private", "en-US-x-private"),
        ],
    )
    def test_a_language_tag_passes_in_its_usual_case(self, text: str, normal: str) -> None:
        assert normal_locale(text) == normal
        assert normal_locale(normal) == normal
        assert is_locale(text)

    @pytest.mark.parametrize(
        "text",
        ["", "d", "german-language-of-old", "de_DE", "de-", "-de", "de--DE", "de\n", "de-DE\r\nX: y", "日本", "x" * 9],
    )
    def test_anything_else_is_invalid(self, text: str) -> None:
        assert not is_locale(text)
        with pytest.raises(Invalid) as refusal:
            normal_locale(text, "locale")
        assert (refusal.value.code, refusal.value.where) == ("invalid_locale", "locale")

    def test_a_tag_without_end_is_refused_at_once(self) -> None:
        assert not is_locale("de" + "-abcdefgh" * 100_000)


class TestLookupForm:
    @pytest.mark.parametrize(
        "channel, texts",
        [
            (Channel.EMAIL, ["Ada@Example.com", " ada@EXAMPLE.com "]),
            (Channel.EMAIL, ["ada@bücher.example", "ada@xn--bcher-kva.example", "ADA@BÜCHER.example"]),
            (Channel.EMAIL, ["J\u00fcrgen@example.com", "ju\u0308rgen@example.com"]),
            (Channel.SMS, ["+14155550123", "14155550123", "+1 (415) 555-0123"]),
        ],
    )
    def test_all_ways_to_write_an_address_have_one_form(self, channel: Channel, texts: list[str]) -> None:
        assert len({lookup_form(channel, text) for text in texts}) == 1

    def test_tokens_and_urls_keep_their_case(self) -> None:
        assert lookup_form(Channel.PUSH, "AbC") != lookup_form(Channel.PUSH, "abc")

    @given(st.sampled_from(Channel), st.text(max_size=30))
    def test_any_text_that_a_provider_reports_has_a_form(self, channel: Channel, text: str) -> None:
        assert lookup_form(channel, text) == lookup_form(channel, lookup_form(channel, text))


class TestMasks:
    def test_an_email_keeps_its_first_letter_and_domain(self) -> None:
        assert mask_email("ada@example.com") == "a***@example.com"
        assert mask_email("a@example.com") == "***@example.com"

    def test_a_phone_number_keeps_its_beginning_and_end(self) -> None:
        assert mask_phone("+14155550123") == "+1********23"

    @pytest.mark.parametrize("kind", [k for k in ContactKind if k not in (ContactKind.EMAIL, ContactKind.PHONE)])
    def test_of_a_token_or_url_nothing_is_left(self, kind: ContactKind) -> None:
        assert mask(kind, "https://hooks.example/T0/secret") == "***"

    def test_each_kind_has_its_mask(self) -> None:
        assert mask(ContactKind.EMAIL, "ada@example.com") == "a***@example.com"
        assert mask(ContactKind.PHONE, "+14155550123") == "+1********23"
