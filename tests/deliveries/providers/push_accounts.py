"""Accounts of push services and messages to devices, for tests. The keys are made once a run and open nothing."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

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
