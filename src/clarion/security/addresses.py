"""The forms of addresses, time zones and locales, checked without the network; and how the support role sees addresses.

Nothing here asks whether an address exists: that is the providers' word. No error repeats the value.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

import email_validator
import idna

from clarion.model.errors import Invalid
from clarion.model.words import Channel, ContactKind
from clarion.zones import is_zone

# Only the form counts here: mail to user@shop.test or user@mail.internal is what local set-ups and tests send.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

# Nearly all addresses. The library agrees on these (a test holds it) and takes forty times as long, for which everyone
# else would wait while a batch of a thousand recipients is checked.
_PLAIN_EMAIL = re.compile(r"[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*@(?:[a-z0-9]+(?:-[a-z0-9]+)*\.)+[a-z]{2,}")
_PLAIN_LENGTH: Final = 63  # under every limit of a part

_PHONE_CHARACTERS = re.compile(r"\+[0-9 ().-]{5,30}")

# RFC 5646 section 2.1, without the grandfathered tags (i-klingon), which nobody has texts for.
_LOCALE = re.compile(
    r"(?P<language>[a-z]{2,3}(?:-[a-z]{3}){0,3}|[a-z]{4,8})"
    r"(?:-(?P<script>[a-z]{4}))?"
    r"(?:-(?P<region>[a-z]{2}|[0-9]{3}))?"
    r"(?P<rest>(?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*"
    r"(?:-[0-9a-wy-z](?:-[a-z0-9]{2,8})+)*"
    r"(?:-x(?:-[a-z0-9]{1,8})+)?)",
    re.IGNORECASE | re.ASCII,
)
_LONGEST_LOCALE: Final = 64


def normal_email(text: str, where: str | None = None) -> str:
    """The address with its domain in lower-case ASCII, as every provider takes it. Raises Invalid."""
    if len(text) <= _PLAIN_LENGTH and _PLAIN_EMAIL.fullmatch(text):
        return text
    return _checked_email(text, where)


def _checked_email(text: str, where: str | None) -> str:
    try:
        checked = email_validator.validate_email(
            text,
            check_deliverability=False,
            strict=True,  # the length of the local part, too
            globally_deliverable=not text.lower().endswith("@localhost"),  # asks for a dot in the domain
        )
    except email_validator.EmailNotValidError:
        # The library's own words quote characters of the address.
        raise Invalid(
            "invalid_email",
            "this isn't an email address: write it as name@example.com, without a name around it",
            where,
        ) from None
    return f"{checked.local_part}@{checked.ascii_domain}"


def normal_phone(text: str, where: str | None = None) -> str:
    """The number in E.164, `+14155550123`. Raises Invalid. Numbering plans change: a possible number passes."""
    import phonenumbers

    try:
        if not _PHONE_CHARACTERS.fullmatch(text):
            raise ValueError
        number = phonenumbers.parse(text, None)
        # is_possible_number would let local numbers pass, which lack their area.
        if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
            raise ValueError
    except (ValueError, phonenumbers.NumberParseException):
        raise Invalid(
            "invalid_phone", "this isn't a phone number: write it with + and the country, +14155550123", where
        ) from None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def normal_timezone(name: str, where: str | None = None) -> str:
    """The name as it is. Raises Invalid."""
    if not is_zone(name):
        raise Invalid("invalid_timezone", "this isn't an IANA time zone: write it as Europe/Berlin or UTC", where)
    return name


def is_locale(text: str) -> bool:
    """Whether this has the form of a BCP 47 language tag."""
    return len(text) <= _LONGEST_LOCALE and _LOCALE.fullmatch(text) is not None


def normal_locale(text: str, where: str | None = None) -> str:
    """The tag in the usual case: `de-CH`, `zh-Hant-TW`. Raises Invalid."""
    found = _LOCALE.fullmatch(text) if len(text) <= _LONGEST_LOCALE else None
    if found is None:
        raise Invalid("invalid_locale", "this isn't a BCP 47 language tag: write it as de, de-CH or zh-Hant-TW", where)
    script, region = found["script"], found["region"]
    parts = [found["language"].lower(), script and script.title(), region and region.upper()]
    return "-".join(part for part in parts if part) + found["rest"].lower()


def country_of(number: str) -> str | None:
    """The country of an E.164 number as two letters; None if it tells none (+800, +870)."""
    import phonenumbers

    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        return None
    found = phonenumbers.region_code_for_number(parsed)
    country = found or phonenumbers.region_code_for_country_code(parsed.country_code or 0)
    return country if country.isalpha() and country != "ZZ" else None


def lookup_form(channel: Channel, address: str) -> str:
    """What all ways to write an address have in common, for the keyed hash by which it is found."""
    match channel:
        case Channel.EMAIL:
            # Mailboxes whose names differ in case only are one in practice, and providers report either.
            local, _, domain = unicodedata.normalize("NFC", address.strip()).rpartition("@")
            return f"{local.casefold()}@{_ascii_domain(domain)}"
        case Channel.SMS:
            return "+" + re.sub(r"[^0-9]", "", address)  # providers report with or without the +
        case _:
            return address.strip()


def _ascii_domain(domain: str) -> str:
    if domain.isascii():
        return domain.lower()
    try:
        return idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:
        return domain.casefold()


def mask_email(address: str) -> str:
    """`a***@example.com`"""
    local, _, domain = address.rpartition("@")
    return f"{local[:1] if len(local) > 1 else ''}***@{domain}"


def mask_phone(number: str) -> str:
    """`+1*******23`: as long as the number, with its beginning and its last two digits."""
    return number[:2] + "*" * max(len(number) - 4, 3) + number[-2:]


def mask(kind: ContactKind, value: str) -> str:
    """An address as one sees it who may not see addresses. Of tokens and URLs, which are secrets, nothing is left."""
    match kind:
        case ContactKind.EMAIL:
            return mask_email(value)
        case ContactKind.PHONE:
            return mask_phone(value)
        case _:
            return "***"
