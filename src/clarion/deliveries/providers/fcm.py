"""Firebase Cloud Messaging, HTTP v1: https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages/send

Codes from https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode (read 2026-11):

    200                              accepted; `name` is the reference
    404 UNREGISTERED                 bad_address: the token is pruned
    400 INVALID_ARGUMENT             bad_address if FCM complains of the token and of nothing else: an FcmError, and no
                                     BadRequest but for the field message.token or message.fid. Else refused
                                     (PAYLOAD_INVALID for "too big"): a faulty request must not cost anybody a token
    403 SENDER_ID_MISMATCH           refused: the token is another Firebase project's. Never pruned; the next provider
                                     may be that project
    401 THIRD_PARTY_AUTH_ERROR       misconfigured: Firebase's own credentials for APNs or web push are wrong
    401, 403, 404 otherwise          misconfigured: our credentials, rights or project. A 401 is tried again once with
                                     a new access token
    429 QUOTA_EXCEEDED               throttled; without Retry-After for 60 s
                                     (https://firebase.google.com/docs/cloud-messaging/scale-fcm)
    503 UNAVAILABLE, 500 INTERNAL    transient, with Retry-After
    anything else                    as its status says (answers.py)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from clarion.clock import HOUR, SECOND
from clarion.deliveries.access_token import AccessToken
from clarion.deliveries.answers import kind_of_status, must_wait, object_in, refusal
from clarion.deliveries.interface import (
    HttpProvider,
    HttpRequest,
    HttpResponse,
    Limits,
    ProviderConfig,
    Services,
    invalid,
    rebased,
)
from clarion.deliveries.options import Secret, read
from clarion.deliveries.push import (
    badge_of,
    checked,
    data_of,
    given,
    is_urgent,
    named,
    recall_data,
    seconds_to_live,
    tag_of,
)
from clarion.deliveries.wording import fit
from clarion.model.delivery import Message, Outcome, accepted
from clarion.model.words import Channel, ContactKind, OutcomeKind, Priority

API = "https://fcm.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
TOKEN_URI = "https://oauth2.googleapis.com/token"  # nosec B105  # where Google's accounts get theirs
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"  # RFC 7523

#: What "no retry-after" means for a 429: https://firebase.google.com/docs/cloud-messaging/scale-fcm
QUOTA_WAIT = 60 * SECOND

OUTCOMES = {
    "UNREGISTERED": OutcomeKind.BAD_ADDRESS,
    "SENDER_ID_MISMATCH": OutcomeKind.REFUSED,
    "THIRD_PARTY_AUTH_ERROR": OutcomeKind.MISCONFIGURED,
    "QUOTA_EXCEEDED": OutcomeKind.THROTTLED,
    "UNAVAILABLE": OutcomeKind.TRANSIENT,
    "INTERNAL": OutcomeKind.TRANSIENT,
}
_THIRD_PARTY = "THIRD_PARTY_AUTH_ERROR"
_TARGETS = {ContactKind.FCM: "token", ContactKind.FCM_FID: "fid"}
_TARGET_FIELDS = {f"message.{target}" for target in _TARGETS.values()}

_encode = msgspec.json.Encoder().encode


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`service_account` is the file that Firebase gives out, or what is in it."""

    service_account: Secret
    project_id: str | None = None  #: that of the service account, unless it serves another one


class Fcm(HttpProvider):
    """Sends through a Firebase project. The access token is shared by all that the process sends."""

    channels = frozenset({Channel.PUSH})
    kinds = frozenset(_TARGETS)
    max_in_flight = 512
    #: Of notification and data, "both the keys and the values".
    limits = Limits(max_body_bytes=4_096, required=(("title", "body"),))

    def __init__(self, config: ProviderConfig, services: Services) -> None:
        super().__init__(config, services)
        settings = read(_with_text(config), Settings)
        account = _account(settings.service_account, config)
        project = settings.project_id or account.get("project_id")
        if not isinstance(project, str) or not project:
            raise config.wrong("project_id is missing, and the service account names none")
        self._url = rebased(f"{API}/v1/projects/{quote(project, safe='')}/messages:send", self.base_url)
        self._token = AccessToken(self.http, Grant(account, config))

    def check(self, message: Message) -> Outcome | None:
        return super().check(message) or checked(message)

    def request_for(self, message: Message, now: int) -> HttpRequest:
        content = content_of(message)
        target = _TARGETS.get(message.kind or ContactKind.FCM, "token")
        body = {"message": {target: message.address, **content, **options_of(message, now)}}
        return HttpRequest(
            url=self._url,
            headers={"content-type": "application/json"},
            body=_encode(body),
            counted=len(_encode(content)),
        )

    def recall_for(self, message: Message, now: int) -> HttpRequest:
        """A silent message: the app cancels the notification of this tag. An iPhone's badge changes by itself."""
        target = _TARGETS.get(message.kind or ContactKind.FCM, "token")
        body = {"message": {target: message.address, **recall_of(message, now)}}
        return HttpRequest(url=self._url, headers={"content-type": "application/json"}, body=_encode(body), counted=0)

    async def call(self, request: HttpRequest, now: int) -> HttpResponse | Outcome:
        token = await self._token.get(now)
        if isinstance(token, Outcome):
            return token
        answer = await self.http.call(_bearing(request, token))
        if isinstance(answer, Outcome) or answer.status != 401 or _code_in(_error_in(answer)) == _THIRD_PARTY:
            return answer
        again = await self._token.get(now) if self._token.refused(token, now) else None
        return await self.http.call(_bearing(request, again)) if isinstance(again, str) else answer

    def outcome_of(self, response: HttpResponse, message: Message) -> Outcome:
        if 200 <= response.status < 300:
            name = object_in(response.body).get("name")
            return accepted(name if isinstance(name, str) else None)
        error = _error_in(response)
        code = _code_in(error) or _text(error.get("status")) or str(response.status)
        told = fit(_text(error.get("message")), message.address) or f"FCM answered {response.status}"
        if must_wait(response.status):
            kind = kind_of_status(response.status)
            said_nothing = response.retry_after is None and code in ("QUOTA_EXCEEDED", "RESOURCE_EXHAUSTED")
            return refusal(response, kind, code, told, QUOTA_WAIT if said_nothing else None)
        if response.status == 400 and "too big" in told.lower():
            return invalid(told)
        return refusal(response, _kind(response.status, code, error), code, told)


def content_of(message: Message) -> dict[str, Any]:
    """What counts against FCM's 4,096 bytes."""
    return given(
        notification=named(message.parts, title="title", body="body", image="image"),
        data=data_of(message),
    )


def options_of(message: Message, now: int) -> dict[str, Any]:
    """How the platforms carry and show it."""
    parts, tag, ttl, badge = message.parts, tag_of(message), seconds_to_live(message, now), badge_of(message)
    urgent = is_urgent(message)
    android = given(
        priority="HIGH" if urgent else "NORMAL",
        ttl=None if ttl is None else f"{ttl}s",
        # Only where the step says so: a device keeps messages of four keys and drops the others.
        collapseKey=tag if parts.get("collapse") else None,
        notification=given(
            tag=tag,
            **named(parts, channelId="android.channel_id", icon="android.icon", color="android.color"),
            sound=parts.get("android.sound") or parts.get("sound"),
            notificationCount=badge,
        ),
    )
    headers = {"apns-priority": "5" if message.priority >= Priority.bulk else "10", "apns-collapse-id": tag}
    if ttl is not None:
        headers["apns-expiration"] = str(now // SECOND + ttl)
    apns = given(
        headers=headers,
        payload=given(aps=_aps(parts, badge)),
        fcmOptions=named(parts, image="image"),
    )
    link = parts.get("action_url", "")
    webpush = given(
        headers=given(TTL=None if ttl is None else str(ttl), Urgency="high" if urgent else "normal"),
        notification={"tag": tag},
        fcmOptions={"link": link} if link.startswith("https://") else None,
    )
    return {"android": android, "apns": apns, "webpush": webpush}


def recall_of(message: Message, now: int) -> dict[str, Any]:
    """What tells the app that a message was read elsewhere."""
    tag, ttl, badge = tag_of(message), seconds_to_live(message, now), badge_of(message)
    return {
        "data": recall_data(message, tag),
        "android": given(priority="NORMAL", ttl=None if ttl is None else f"{ttl}s"),
        "apns": {
            # 5 is what Apple asks of background messages.
            "headers": {"apns-push-type": "background", "apns-priority": "5", "apns-collapse-id": tag},
            "payload": {"aps": given(**{"content-available": 1}, badge=badge)},
        },
    }


def _aps(parts: Mapping[str, str], badge: int | None) -> dict[str, Any]:
    """What FCM doesn't make of `notification` itself."""
    aps = given(
        badge=badge,
        sound=parts.get("ios.sound") or parts.get("sound"),
        **named(parts, category="ios.category"),
    )
    aps |= named(parts, **{"thread-id": "ios.thread_id", "interruption-level": "ios.interruption_level"})
    if subtitle := parts.get("ios.subtitle"):
        # An alert of our own stands in place of the one that FCM would make.
        aps["alert"] = {"subtitle": subtitle, **named(parts, title="title", body="body")}
    if parts.get("image"):
        aps["mutable-content"] = 1
    return aps


def _kind(status: int, code: str, error: Mapping[str, Any]) -> OutcomeKind:
    """What a refusal means that no waiting mends."""
    if code == "INVALID_ARGUMENT":
        return OutcomeKind.BAD_ADDRESS if _only_the_token(error) else OutcomeKind.REFUSED
    known = OUTCOMES.get(code)
    if known is None or known in (OutcomeKind.TRANSIENT, OutcomeKind.THROTTLED):
        # 404 without UNREGISTERED: there is no such project, or base_url leads elsewhere.
        return OutcomeKind.MISCONFIGURED if status == 404 else kind_of_status(status)
    return known


def _only_the_token(error: Mapping[str, Any]) -> bool:
    fields = [
        violation.get("field") if isinstance(violation, dict) else None
        for detail in _details(error)
        for violation in _list(detail.get("fieldViolations"))
    ]
    return bool(_code_in(error)) and all(field in _TARGET_FIELDS for field in fields)


def _error_in(response: HttpResponse) -> Mapping[str, Any]:
    error = object_in(response.body).get("error")
    return error if isinstance(error, dict) else {}


def _code_in(error: Mapping[str, Any]) -> str:
    """The FcmError's word, which says more than the status."""
    return next((code for detail in _details(error) if (code := _text(detail.get("errorCode")))), "")


def _details(error: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [detail for detail in _list(error.get("details")) if isinstance(detail, dict)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _bearing(request: HttpRequest, token: str) -> HttpRequest:
    return msgspec.structs.replace(request, headers={**request.headers, "authorization": f"Bearer {token}"})


class Grant:
    """Asks for an access token with a signed assertion (RFC 7523)."""

    def __init__(self, account: Mapping[str, Any], config: ProviderConfig) -> None:
        try:
            from google.auth import crypt, jwt
        except ImportError:
            raise config.wrong("fcm needs google-auth: pip install 'clarion[fcm]'") from None
        self._encode: Callable[..., bytes] = jwt.encode
        self._uri = str(account.get("token_uri") or TOKEN_URI)
        self._email = account.get("client_email")
        if urlsplit(self._uri).scheme not in ("https", "http") or not isinstance(self._email, str):
            raise config.wrong("service_account isn't complete: it holds client_email, private_key and token_uri")
        try:
            self._signer = crypt.RSASigner.from_service_account_info(dict(account))  # type: ignore[no-untyped-call]
        except (ValueError, TypeError, AttributeError):
            raise config.wrong("service_account has no private_key that can be read") from None

    def __call__(self, now: int) -> HttpRequest:
        issued = now // SECOND
        claims = {
            "iss": self._email,
            "scope": SCOPE,
            "aud": self._uri,
            "iat": issued,
            "exp": issued + HOUR // SECOND,
        }
        assertion = self._encode(self._signer, claims).decode()
        return HttpRequest(
            url=self._uri,
            headers={"content-type": "application/x-www-form-urlencoded"},
            body=urlencode({"grant_type": GRANT, "assertion": assertion}).encode(),
        )


def _with_text(config: ProviderConfig) -> ProviderConfig:
    """The service account as a text, also where the settings hold it as a table."""
    account = config.config.get("service_account")
    if not isinstance(account, Mapping):
        return config
    return msgspec.structs.replace(config, config={**config.config, "service_account": json.dumps(account)})


def _account(secret: Secret, config: ProviderConfig) -> Mapping[str, Any]:
    text = secret.reveal()
    try:
        account = json.loads(text if text.startswith("{") else Path(text).read_bytes())
    except (OSError, ValueError):
        raise config.wrong("service_account is neither a file that can be read nor the JSON in it") from None
    if not isinstance(account, dict):
        raise config.wrong("service_account is no JSON object")
    return account
