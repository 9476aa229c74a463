"""Signatures of AWS, held against botocore's own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from clarion.deliveries import aws
from clarion.deliveries.interface import HttpResponse
from clarion.model.words import OutcomeKind
from tests.deliveries.messages import NOW


def botocore_signs(url: str, body: bytes, content_type: str, now: int, **who: Any) -> dict[str, str]:
    """The headers that botocore sends."""
    credentials = Credentials(who["access_key_id"], who["secret_access_key"], who.get("session_token"))
    request = AWSRequest("POST", url, headers={"content-type": content_type}, data=body)
    signer = botocore.auth.SigV4Auth(credentials, who["service"], who["region"])
    with pytest.MonkeyPatch.context() as patch:
        at = datetime.fromtimestamp(now / 1000, UTC).replace(tzinfo=None)
        patch.setattr(botocore.auth, "get_current_datetime", lambda: at)
        signer.add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


LETTERS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
URLS = st.builds(
    lambda host, port, path: f"{host}{port}/{path}",
    st.sampled_from(["https://email.eu-west-1.amazonaws.com", "http://127.0.0.1", "http://[::1]", "https://x.test"]),
    st.sampled_from(["", ":443", ":80", ":5000"]),
    st.text("abcXYZ019-._~/%$=+ü ", max_size=20).filter(lambda path: not {"", ".", ".."} & set(path.split("/"))),
)


@settings(max_examples=60)
@given(
    url=URLS,
    body=st.binary(),
    content_type=st.sampled_from(["application/json", "application/x-www-form-urlencoded; charset=utf-8", "a/b;  c=d"]),
    now=st.integers(0, 4_102_444_800_000),
    key=LETTERS,
    secret=LETTERS,
    token=st.none() | LETTERS,
)
def test_a_request_is_signed_as_botocore_signs_it(
    url: str, body: bytes, content_type: str, now: int, key: str, secret: str, token: str | None
) -> None:
    who = {"access_key_id": key, "secret_access_key": secret, "session_token": token}
    where = {"region": "eu-west-1", "service": "ses"}
    signed = aws.Signer(**who, **where).headers(url, body, content_type, now)  # type: ignore[arg-type]
    theirs = botocore_signs(url, body, content_type, now, **who, **where)
    assert signed["authorization"] == theirs["authorization"]
    assert {**signed, "content-type": content_type} == theirs


def test_the_key_of_a_day_is_not_used_on_the_next() -> None:
    who = {"access_key_id": "AKID", "secret_access_key": "hush", "region": "us-east-1", "service": "sns"}
    signer = aws.Signer(**who)
    for now in (NOW, NOW + 86_400_000, NOW):
        signed = signer.headers("https://sns.us-east-1.amazonaws.com/", b"x", "text/plain", now)
        assert signed == botocore_signs("https://sns.us-east-1.amazonaws.com/", b"x", "text/plain", now, **who)


def test_a_signer_shows_no_secret() -> None:
    signer = aws.Signer(access_key_id="AKID", secret_access_key="hush", region="us-east-1", service="ses")
    assert "AKID" not in repr(signer)
    assert "hush" not in repr(signer)


@pytest.mark.parametrize(
    "region,is_one",
    [
        ("eu-west-1", True),
        ("us-gov-east-1", True),
        ("ap-southeast-2", True),
        ("cn-north-1", True),
        ("eu-west-1.evil.test/", False),
        ("eu-west-1@evil", False),
        ("", False),
        ("EU-WEST-1", False),
    ],
)
def test_a_region_cannot_lead_to_another_host(region: str, is_one: bool) -> None:
    assert bool(aws.REGION.fullmatch(region)) == is_one


def test_chinas_regions_have_a_domain_of_their_own() -> None:
    assert aws.endpoint("sns", "cn-north-1") == "https://sns.cn-north-1.amazonaws.com.cn"
    assert aws.endpoint("email", "eu-west-1") == "https://email.eu-west-1.amazonaws.com"


@pytest.mark.parametrize(
    "status,code,kind",
    [
        (400, "ThrottlingException", OutcomeKind.THROTTLED),
        (503, "Throttling", OutcomeKind.THROTTLED),
        (429, "AccessDenied", OutcomeKind.THROTTLED),
        (500, "AccessDenied", OutcomeKind.TRANSIENT),
        (403, "SignatureDoesNotMatch", OutcomeKind.MISCONFIGURED),
        (403, "", OutcomeKind.MISCONFIGURED),
        (408, "", OutcomeKind.TRANSIENT),
        (400, "Mine", OutcomeKind.BAD_ADDRESS),
        (400, "Unheard", OutcomeKind.REFUSED),
    ],
)
def test_an_error_is_read_by_its_code_and_then_by_its_status(status: int, code: str, kind: OutcomeKind) -> None:
    assert aws.meaning(HttpResponse(status=status), code, {"Mine": OutcomeKind.BAD_ADDRESS}) is kind
