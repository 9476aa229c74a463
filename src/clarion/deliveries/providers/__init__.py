"""The providers on offer, one file each. A kind that isn't finished isn't in the table."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from urllib.parse import urlsplit

from clarion.deliveries.interface import HttpProvider, Provider, ProviderConfig, Services
from clarion.deliveries.options import resolved

#: kind -> the class behind it, imported when first built.
KINDS: dict[str, str] = {
    "apns": "clarion.deliveries.providers.apns:Apns",
    "apprise": "clarion.deliveries.providers.apprise:Apprise",
    "capture": "clarion.deliveries.providers.capture:Capture",
    "discord": "clarion.deliveries.providers.discord:Discord",
    "expo": "clarion.deliveries.providers.expo:Expo",
    "fcm": "clarion.deliveries.providers.fcm:Fcm",
    "in_app": "clarion.deliveries.providers.in_app:InApp",
    "mailgun": "clarion.deliveries.providers.mailgun:Mailgun",
    "messagebird": "clarion.deliveries.providers.messagebird:MessageBird",
    "postmark": "clarion.deliveries.providers.postmark:Postmark",
    "resend": "clarion.deliveries.providers.resend:Resend",
    "sendgrid": "clarion.deliveries.providers.sendgrid:SendGrid",
    "ses": "clarion.deliveries.providers.ses:Ses",
    "simulator": "clarion.deliveries.providers.simulator:Simulator",
    "slack": "clarion.deliveries.providers.slack:Slack",
    "smtp": "clarion.deliveries.providers.smtp:Smtp",
    "sns": "clarion.deliveries.providers.sns:Sns",
    "teams": "clarion.deliveries.providers.teams:Teams",
    "telegram": "clarion.deliveries.providers.telegram:Telegram",
    "twilio": "clarion.deliveries.providers.twilio:Twilio",
    "vonage": "clarion.deliveries.providers.vonage:Vonage",
    "webhook": "clarion.deliveries.providers.webhook:Webhook",
    "webpush": "clarion.deliveries.providers.webpush:WebPush",
}


def available_kinds() -> tuple[str, ...]:
    """What `kind` may be in the settings."""
    return tuple(sorted(KINDS))


def build(
    config: ProviderConfig, services: Services | None = None, environment: Mapping[str, str] = os.environ
) -> Provider:
    """The provider that the settings ask for; opens no connection. Raises Misconfigured."""
    if config.kind not in KINDS:
        raise config.wrong(f"kind {config.kind!r} is not available; available: {', '.join(available_kinds())}")
    maker = class_of(config.kind)
    if config.channel not in maker.channels:
        carried = ", ".join(sorted(maker.channels))
        raise config.wrong(f"{config.kind} doesn't carry the channel {config.channel}, but {carried}")
    if config.base_url is not None:
        _check_base_url(config, maker)
    return maker(resolved(config, environment), services or Services())


def class_of(kind: str) -> type[Provider]:
    """The class behind a kind on offer."""
    module, _, name = KINDS[kind].partition(":")
    maker: type[Provider] = getattr(import_module(module), name)
    return maker


def _check_base_url(config: ProviderConfig, maker: type[Provider]) -> None:
    if not issubclass(maker, HttpProvider):
        raise config.wrong(f"base_url is for providers over HTTP, and {config.kind} is none")
    parts = urlsplit(config.base_url or "")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise config.wrong("base_url isn't a URL: write it as https://host or http://host:port")
