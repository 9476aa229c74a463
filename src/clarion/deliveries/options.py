"""Reads a provider's `config` into the struct that the provider declares. No error or repr shows a secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from clarion.deliveries.interface import ProviderConfig

S = TypeVar("S", bound=msgspec.Struct)

_ENV = "env:"


class Secret:
    """A text that shows itself nowhere; only `reveal` gives it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"


def resolved(config: ProviderConfig, environment: Mapping[str, str]) -> ProviderConfig:
    """`config` with each `env:NAME` replaced by what the environment holds. Raises Misconfigured."""

    def value_of(key: str, value: Any) -> Any:
        if not isinstance(value, str) or not value.startswith(_ENV):
            return value
        variable = value.removeprefix(_ENV)
        if variable not in environment:
            raise config.wrong(f"{key} is read from the environment variable {variable}, which isn't set")
        return environment[variable]

    return msgspec.structs.replace(config, config={key: value_of(key, value) for key, value in config.config.items()})


def read(config: ProviderConfig, into: type[S]) -> S:
    """The settings of a provider as its own struct; texts from the environment become numbers. Raises Misconfigured."""
    allowed = into.__struct_encode_fields__
    for key in config.config:
        if key not in allowed:
            raise config.wrong(f"{config.kind} has no config key {key!r}; it has {', '.join(allowed) or 'none'}")
    try:
        return msgspec.convert(config.config, into, strict=False, dec_hook=_secret)
    except msgspec.ValidationError as error:  # names keys and types, never values of secrets
        raise config.wrong(str(error).replace("$.", "config.")) from None


def _secret(kind: type, value: Any) -> Any:
    if kind is Secret and isinstance(value, str) and value.strip():
        return Secret(value.strip())
    raise ValueError("Expected a text that isn't empty")
