"""Amazon Web Services, as `ses` and `sns` share them: Signature Version 4, and the errors that all services have.

The signature is that of https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html for
the one form of request that is made here: a POST without a query. botocore signs any form, takes seven times as long
and 20 MB for it; it is the judge in the tests (docs/decisions/0012-own-sigv4.md). No I/O, no clock.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote, urlsplit

from clarion.clock import SECOND
from clarion.deliveries.interface import HttpResponse
from clarion.model.words import OutcomeKind

TRANSIENT, THROTTLED = OutcomeKind.TRANSIENT, OutcomeKind.THROTTLED
REFUSED, MISCONFIGURED = OutcomeKind.REFUSED, OutcomeKind.MISCONFIGURED

#: What any service may answer: https://docs.aws.amazon.com/awsconsolehelpdocs/latest/gsg/common-errors.html, and the
#: older names that Query services still use (read 2026-11). A service's own table comes before it.
ERRORS: dict[str, OutcomeKind] = {
    "AccessDenied": MISCONFIGURED,
    "AccessDeniedException": MISCONFIGURED,
    "AuthFailure": MISCONFIGURED,
    "AuthorizationError": MISCONFIGURED,
    "ExpiredToken": MISCONFIGURED,
    "ExpiredTokenException": MISCONFIGURED,
    "IncompleteSignature": MISCONFIGURED,
    "IncompleteSignatureException": MISCONFIGURED,
    "InvalidClientTokenId": MISCONFIGURED,
    "InvalidSecurity": MISCONFIGURED,
    "InvalidSignatureException": MISCONFIGURED,
    "MissingAuthenticationToken": MISCONFIGURED,
    "MissingAuthenticationTokenException": MISCONFIGURED,
    "NotAuthorized": MISCONFIGURED,
    "OptInRequired": MISCONFIGURED,
    "SignatureDoesNotMatch": MISCONFIGURED,
    "UnknownOperationException": MISCONFIGURED,  # the base URL leads to another service
    "UnrecognizedClientException": MISCONFIGURED,
    "RequestExpired": MISCONFIGURED,  # our clock is over 15 minutes off
    "InternalError": TRANSIENT,
    "InternalFailure": TRANSIENT,
    "InternalServiceErrorException": TRANSIENT,
    "RequestAbortedException": TRANSIENT,
    "RequestTimeoutException": TRANSIENT,
    "ServiceUnavailable": TRANSIENT,
    "RequestLimitExceeded": THROTTLED,
    "Throttled": THROTTLED,
    "ThrottledException": THROTTLED,
    "Throttling": THROTTLED,
    "ThrottlingException": THROTTLED,
    "TooManyRequestsException": THROTTLED,
    "MalformedHttpRequestException": REFUSED,
    "RequestEntityTooLargeException": REFUSED,
    "ValidationError": REFUSED,
    "ValidationException": REFUSED,
}

#: A region's name: part of the host, so nothing else may stand there.
REGION = re.compile(r"[a-z]{2,4}(-[a-z]{2,12}){1,3}-[0-9]{1,2}")


def endpoint(service: str, region: str) -> str:
    """`https://email.eu-west-1.amazonaws.com`; China's regions are under a domain of their own."""
    return f"https://{service}.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"


def meaning(response: HttpResponse, code: str, table: Mapping[str, OutcomeKind] = {}) -> OutcomeKind:
    """What an error of a service means: by its code in `table`, then in ERRORS, then by the status."""
    kind = table.get(code) or ERRORS.get(code)
    if response.status == 429:
        return THROTTLED
    if response.status >= 500:
        return THROTTLED if kind is THROTTLED else TRANSIENT
    if kind is not None:
        return kind
    if response.status in (401, 403):
        return MISCONFIGURED
    return TRANSIENT if response.status == 408 else REFUSED


class Signer:
    """Signs for one service in one region. `session_token` goes with temporary credentials."""

    def __init__(
        self, *, access_key_id: str, secret_access_key: str, region: str, service: str, session_token: str | None = None
    ) -> None:
        self._id, self._secret, self._token = access_key_id, secret_access_key, session_token
        self._region, self._service = region, service
        self._key: tuple[str, bytes] = ("", b"")  # of one day

    def headers(self, url: str, body: bytes, content_type: str, now: int) -> dict[str, str]:
        """All headers of the signed POST. `url` has no query."""
        stamp, (host, path) = _stamp(now // SECOND), _place(url)
        signed = {"content-type": " ".join(content_type.split()), "host": host, "x-amz-date": stamp}
        if self._token:
            signed["x-amz-security-token"] = self._token
        names = ";".join(signed)  # in alphabetical order as they stand
        request = "\n".join(
            (
                "POST",
                path,
                "",
                *(f"{name}:{value}" for name, value in signed.items()),
                "",
                names,
                hashlib.sha256(body).hexdigest(),
            )
        )
        scope = f"{stamp[:8]}/{self._region}/{self._service}/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        signature = _hmac(self._key_of(stamp[:8]), text).hex()
        del signed["host"]  # the client's own
        signed["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self._id}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
        return signed

    def _key_of(self, day: str) -> bytes:
        if self._key[0] != day:
            key = f"AWS4{self._secret}".encode()
            for part in (day, self._region, self._service, "aws4_request"):
                key = _hmac(key, part)
            self._key = (day, key)
        return self._key[1]

    def __repr__(self) -> str:
        return f"Signer({self._service!r}, {self._region!r})"


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), hashlib.sha256)


@lru_cache(maxsize=64)
def _stamp(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y%m%dT%H%M%SZ}"


@lru_cache(maxsize=64)
def _place(url: str) -> tuple[str, str]:
    """The host and the path of a URL, as they are signed."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    usual = parts.port is None or (parts.scheme, parts.port) in (("https", 443), ("http", 80))
    return (host if usual else f"{host}:{parts.port}"), quote(parts.path or "/", safe="/~")
