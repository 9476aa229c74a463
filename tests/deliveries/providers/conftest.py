from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import pytest
from google.auth.crypt import RSASigner

_read: Callable[[Mapping[str, Any]], Any] = RSASigner.from_service_account_info


@cache
def _signer(private_key: str, key_id: str | None) -> Any:
    return _read({"private_key": private_key, "private_key_id": key_id})


@pytest.fixture(autouse=True)
def an_rsa_key_is_read_once_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading one takes 70 ms, which a process spends once, and tests of contracts hundreds of times."""
    monkeypatch.setattr(
        RSASigner,
        "from_service_account_info",
        lambda info: _signer(info["private_key"], info.get("private_key_id")) if "private_key" in info else _read(info),
    )
