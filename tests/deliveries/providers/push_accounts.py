"""Accounts of push services and messages to devices, for tests. The keys are made once a run and open nothing."""

from __future__ import annotations

import json
from functools import cache
from hashlib import blake2b
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from clarion.deliveries.es256 import base64url, point_of
from clarion.model.delivery import Message
from clarion.model.words import Channel, ContactKind
from tests.deliveries.messages import message

FCM_TOKEN = "fGx0kT9v:APA91bHun4MxP5egoKMwt2KZFBaFUH-1RYqx"
PUSH_PARTS = {"title": "Grace replied", "body": "Well put.", "action_url": "https://blog.example/c/7"}


@cache
def google_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


@cache
def service_account(token_uri: str = "https://oauth2.googleapis.com/token") -> str:
    """The JSON that Firebase gives out."""
    pem = google_key().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return json.dumps(
        {
            "type": "service_account",
            "project_id": "clarion-test",
            "private_key_id": "4f2c8a",
            "private_key": pem.decode(),
            "client_email": "push@clarion-test.iam.gserviceaccount.example",
            "token_uri": token_uri,
        }
    )


def secret_of(account: str) -> str:
    """A piece of the private key, as it stands in the JSON."""
    key: str = json.loads(account)["private_key"]
    return key.splitlines()[3]


def to_phone(number: int = 0, **fields: Any) -> Message:
    """A push message to a device that FCM reaches."""
    plain = {"channel": Channel.PUSH, "kind": ContactKind.FCM, "address": FCM_TOKEN, "parts": PUSH_PARTS}
    return message(number, **{**plain, **fields})


@cache
def p256_key(name: str) -> ec.EllipticCurvePrivateKey:
    """A key of the curve of APNs and VAPID; the same name, the same key."""
    return ec.derive_private_key(int.from_bytes(blake2b(name.encode(), digest_size=31).digest(), "big"), ec.SECP256R1())


@cache
def p8(name: str = "apple") -> str:
    """A key as Apple gives it out."""
    pem = p256_key(name).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem.decode()


APNS_TOKEN = "740f4707bebcf74f9b7c25d48e3358945f6aa01da5ddb387462c7eaf61bb78ad"


def to_iphone(number: int = 0, **fields: Any) -> Message:
    """A push message to a device that APNs reaches."""
    return to_phone(number, **{"kind": ContactKind.APNS, "address": APNS_TOKEN, **fields})


#: What `npx web-push generate-vapid-keys` gives: the private one.
VAPID_KEY = base64url(p256_key("vapid").private_numbers().private_value.to_bytes(32, "big"))
AUTH = b"16 bytes of auth"


def subscription(endpoint: str = "https://push.example/wpush/v2/gAAAAABk", name: str = "browser") -> str:
    """What a browser gave, as a contact point holds it."""
    keys = {"auth": base64url(AUTH), "p256dh": base64url(point_of(p256_key(name).public_key()))}
    return json.dumps({"endpoint": endpoint, "keys": keys})


def to_browser(number: int = 0, **fields: Any) -> Message:
    """A web push message."""
    plain = {"channel": Channel.WEB_PUSH, "kind": ContactKind.WEBPUSH, "address": subscription()}
    return to_phone(number, **{**plain, **fields})


EXPO_TOKEN = "ExponentPushToken[xxxxxxxxxxxxxxxxxxxxxx]"


def to_expo(number: int = 0, **fields: Any) -> Message:
    """A push message to an app made with Expo."""
    return to_phone(number, **{"kind": ContactKind.EXPO, "address": EXPO_TOKEN, **fields})
