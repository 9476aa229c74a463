"""What Amazon SNS posts to an HTTPS endpoint: checked by its signature, subscriptions confirmed.

https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html, .../sns-message-and-json-formats.html
(read 2026-11). The certificate comes from SNS itself and from nowhere else: the host and the whole path are pinned,
over TLS, without redirects. It vouches for SNS and not for the sender: everybody can have a topic. So `topic_arn` in
the settings pins the topic; and without it a message must prove by what it says that it is meant for us (`ses.py`).

SNS delivers at least once. A repeated message is repeated receipts, which the recording takes as one.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import OrderedDict

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from clarion.clock import SECOND
from clarion.deliveries.interface import BadSignature, Callback, Http, HttpRequest, HttpResponse
from clarion.model.errors import Unavailable

_REGION = r"[a-z]{2,4}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2}"
_HOST = rf"https://sns\.{_REGION}\.amazonaws\.com(?:\.cn)?"
_CERTIFICATE = re.compile(rf"{_HOST}/SimpleNotificationService-[0-9a-f]{{32}}\.pem")
_CONFIRMATION = re.compile(rf"{_HOST}/\?Action=ConfirmSubscription&[A-Za-z0-9&=:%._~-]{{1,2000}}")

#: Certificates kept; SNS has one for each region, and a new one from time to time.
MOST_KEYS = 32

_HASHES = {"1": hashes.SHA1, "2": hashes.SHA256}  # by SignatureVersion  # nosec B303  # SNS's own first version
#: What is signed, by Type; `Subject` only where there is one.
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}

_fields = msgspec.json.Decoder(dict[str, str | None]).decode


class SnsMessages:
    """Reads what one provider's topic posts. Keeps the certificates' keys; they are public."""

    def __init__(self, http: Http, topic_arn: str | None = None) -> None:
        self._http, self._topic = http, topic_arn
        self.pinned = topic_arn is not None  #: whether what is read comes from our own topic
        self._keys: OrderedDict[str, x509.Certificate] = OrderedDict()

    async def prepare(self, callback: Callback) -> None:
        """Fetches the certificate that the message names, if it isn't known; confirms a subscription.

        Raises BadSignature, and Unavailable if SNS can't be reached: it sends the message again then.
        """
        fields = self._read(callback)
        url = fields["SigningCertURL"] or ""
        if url not in self._keys:
            answer = await self._get(url)
            try:
                self._keys[url] = x509.load_pem_x509_certificate(answer.body)
            except ValueError:
                raise Unavailable("the certificate of SNS can't be read") from None
            while len(self._keys) > MOST_KEYS:
                self._keys.popitem(last=False)
        self._verify(fields, callback.now)
        if fields["Type"] == "SubscriptionConfirmation":
            subscribe = fields.get("SubscribeURL") or ""
            if not _CONFIRMATION.fullmatch(subscribe):
                raise BadSignature("SubscribeURL leads elsewhere than to SNS")
            await self._get(subscribe)

    def message_in(self, callback: Callback) -> str | None:
        """The text of a notification; None of what only concerns the subscription. Raises BadSignature.

        Pure: the certificate must have been fetched by `prepare`.
        """
        fields = self._read(callback)
        self._verify(fields, callback.now)
        return fields.get("Message") or "" if fields["Type"] == "Notification" else None

    def _read(self, callback: Callback) -> dict[str, str | None]:
        try:
            fields = _fields(callback.body)
        except (msgspec.DecodeError, RecursionError):
            raise BadSignature("this isn't a message of SNS (raw message delivery must be off)") from None
        if fields.get("Type") not in _SIGNED or not _CERTIFICATE.fullmatch(fields.get("SigningCertURL") or ""):
            raise BadSignature("this isn't a message of SNS, or its certificate isn't one of SNS")
        if self._topic is not None and fields.get("TopicArn") != self._topic:
            raise BadSignature("it comes from another topic than topic_arn")
        return fields

    def _verify(self, fields: dict[str, str | None], now: int) -> None:
        certificate, kind = self._keys.get(fields["SigningCertURL"] or ""), fields["Type"] or ""
        digest = _HASHES.get(fields.get("SignatureVersion") or "")
        if certificate is None or digest is None:
            raise BadSignature("its certificate isn't known, or its SignatureVersion is neither 1 nor 2")
        since, until = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        key = certificate.public_key()
        if not since.timestamp() <= now / SECOND <= until.timestamp() or not isinstance(key, rsa.RSAPublicKey):
            raise BadSignature("the certificate isn't valid now")
        signed = "".join(
            f"{name}\n{value}\n"
            for name in _SIGNED[kind]
            if (value := fields.get(name)) is not None or name != "Subject"
        )
        try:
            signature = base64.b64decode(fields.get("Signature") or "", validate=True)
            key.verify(signature, signed.encode("utf-8", "replace"), padding.PKCS1v15(), digest())
        except (binascii.Error, InvalidSignature):
            raise BadSignature("the signature isn't that of SNS") from None

    async def _get(self, url: str) -> HttpResponse:
        answer = await self._http.call(HttpRequest(method="GET", url=url, body=b"", timeout=10 * SECOND))
        if not isinstance(answer, HttpResponse) or answer.status != 200:
            raise Unavailable("SNS can't be reached now, or doesn't answer as it should")
        return answer


def _signed_text(fields: dict[str, str | None], kind: str) -> bytes:
    pairs = [(name, fields.get(name)) for name in _SIGNED[kind]]
    text = "".join(f"{name}\n{value}\n" for name, value in pairs if value is not None or name != "Subject")
    return text.encode("utf-8", "replace")
