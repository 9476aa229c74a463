"""Amazon SNS: requests as botocore makes them, and moto as the other side."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.serialize import create_serializer
from botocore.validate import ParamValidator

from clarion.clock import SystemClock
from clarion.deliveries.http import HttpClient
from clarion.deliveries.interface import HttpResponse, ProviderConfig
from clarion.deliveries.providers import build
from clarion.deliveries.providers.sns import Sns
from clarion.model.errors import Misconfigured
from clarion.model.words import Channel, ContactKind, OutcomeKind
from clarion.testing.providers import outcomes_of, services
from tests.deliveries.messages import NOW, message

ACCOUNT = {"region": "eu-west-1", "access_key_id": "AKID", "secret_access_key": "hush"}
TEXT = message(channel=Channel.SMS, kind=ContactKind.PHONE, address="+14155550123", parts={"body": "Grüße & ein 👍"})


def config(**changes: Any) -> ProviderConfig:
    return ProviderConfig(name="texts", kind="sns", channel=Channel.SMS, config={**ACCOUNT, **changes})


def sns(**changes: Any) -> Sns:
    made = build(config(**changes), services())
    assert isinstance(made, Sns)
    return made


@pytest.mark.parametrize(
    "sender,attribute",
    [(None, None), ("Clarion", "AWS.SNS.SMS.SenderID"), ("+14155550100", "AWS.MM.SMS.OriginationNumber")],
)
def test_the_form_is_what_botocore_makes_of_the_same_wishes(sender: str | None, attribute: str | None) -> None:
    attributes = {"AWS.SNS.SMS.SMSType": "Transactional", **({attribute: sender} if attribute else {})}
    wishes = {
        "PhoneNumber": "+14155550123",
        "Message": "Grüße & ein 👍",
        "MessageAttributes": {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()},
    }
    model = ServiceModel(Loader().load_service_model("sns", "service-2", "2010-03-31"))
    operation = model.operation_model("Publish")
    assert not ParamValidator().validate(wishes, operation.input_shape).has_errors()
    expected = create_serializer("query").serialize_to_request(wishes, operation)["body"]

    request = sns(**{"from": sender}).request_for(TEXT, NOW)
    assert request.url == "https://sns.eu-west-1.amazonaws.com/"
    assert {k: v for k, (v,) in parse_qs(request.body.decode(), strict_parsing=True).items()} == expected


@pytest.mark.parametrize(
    "status,code,kind",
    [
        (400, "OptedOutException", OutcomeKind.OPTED_OUT),
        (400, "InvalidParameterValue", OutcomeKind.REFUSED),
        (400, "UserError", OutcomeKind.REFUSED),
        (403, "AuthorizationError", OutcomeKind.MISCONFIGURED),
        (403, "SignatureDoesNotMatch", OutcomeKind.MISCONFIGURED),
        (500, "InternalError", OutcomeKind.TRANSIENT),
        (429, "Throttled", OutcomeKind.THROTTLED),
    ],
)
def test_an_error_means_what_its_code_says(status: int, code: str, kind: OutcomeKind) -> None:
    body = f"<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>".encode()
    outcome = sns().outcome_of(HttpResponse(status=status, body=body), TEXT)
    assert (outcome.kind, outcome.code) == (kind, code)


def test_a_region_that_is_none_is_refused() -> None:
    with pytest.raises(Misconfigured, match="region"):
        sns(region="example.com/")


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    client = HttpClient(SystemClock())
    yield client
    await client.aclose()


async def test_moto_takes_the_text_and_refuses_a_number_that_is_none(moto: str, http: HttpClient) -> None:
    provider = build(msgspec.structs.replace(config(), base_url=moto), services(http))
    strange = message(1, channel=Channel.SMS, kind=ContactKind.PHONE, address="nonsense", parts={"body": "x"})
    outcomes = await outcomes_of(provider, [TEXT, strange], SystemClock().now())
    from moto.backends import get_backend

    kept = get_backend("sns")["123456789012"]["eu-west-1"].sms_messages
    assert list(kept.values()) == [("+14155550123", "Grüße & ein 👍")]
    assert outcomes[TEXT.delivery_id].accepted
    assert outcomes[TEXT.delivery_id].reference
    refused = outcomes[strange.delivery_id]
    assert (refused.kind, refused.code) == (OutcomeKind.REFUSED, "InvalidParameter")
