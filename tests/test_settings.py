"""The settings: the commented file is the documentation, and every mistake says how to mend it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from clarion.model.errors import Misconfigured
from clarion.settings import Settings, defaults, load


def test_every_setting_stands_in_the_default_file() -> None:
    documented = set(defaults()) | {"providers", "chains"}
    assert documented == set(Settings.__struct_fields__)


def test_the_file_is_over_the_defaults_and_the_environment_over_both(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('port = 9000\n[api]\nburst = 7\n[[providers]]\nname = "a"\nkind = "smtp"\nchannel = "email"\n')
    settings = load(
        file, {"CLARION_PORT": "9001", "CLARION_API__RATE_PER_SECOND": "3", "CLARION_TEST_POSTGRES_URL": "x"}
    )
    assert (settings.port, settings.api.burst, settings.api.rate_per_second) == (9001, 7, 3)
    assert settings.providers[0].name == "a"
    assert settings.url == "http://127.0.0.1:9001"


@pytest.mark.parametrize(
    "content, environment, said",
    [
        ("prot = 1", {}, "isn't a setting"),
        ("[api]\nbrst = 1", {}, "that section has"),
        ("port = ", {}, "isn't valid TOML"),
        ("", {"CLARION_PORT": "eighty"}, "port"),
        ("", {"CLARION_ENGINE": "threads"}, "embedded or celery"),
        ("", {"CLARION_ENGINE": "celery", "CLARION_REDIS_URL": "redis://h"}, "celery needs PostgreSQL"),
        ("", {"CLARION_ENGINE": "celery", "CLARION_DATABASE_URL": "postgresql://h/d"}, "celery needs Redis"),
        ("[workers]\nprocesses = -1", {}, "processes"),
        ("", {"CLARION_ADMIN_KEY": "short"}, "32 characters"),
        ("", {"CLARION_TLS_CERT": "cert.pem"}, "go together"),
        ("[retention]\nidempotency_days = 1", {}, "at least 7"),
        ('[chains]\nemail = ["nobody"]', {}, "no \\[\\[providers\\]\\] entry"),
        ('[[providers]]\nname = "a"\nkind = "smtp"\nchannel = "email"\n[chains]\nsms = ["a"]', {}, "carries email"),
        ('[[providers]]\nname = "a"\nkind = "smtp"\nchannel = "pigeon"', {}, "pigeon"),
    ],
)
def test_each_mistake_says_how_to_mend_it(tmp_path: Path, content: str, environment: dict[str, str], said: str) -> None:
    file = tmp_path / "clarion.toml"
    file.write_text(content)
    with pytest.raises(Misconfigured, match=said):
        load(file, environment)


def test_the_celery_engine_takes_lists_from_the_environment() -> None:
    stores = {
        "CLARION_DATABASE_URL": "postgresql://h/d",
        "CLARION_REDIS_URL": "redis://h/0",
        "CLARION_ENGINE": "celery",
    }
    settings = load(
        None, {**stores, "CLARION_WORKERS__QUEUES": "critical, email", "CLARION_WORKERS__CHANNEL_QUEUES": "email"}
    )
    assert settings.workers.queues == ("critical", "email")
    assert settings.broker == "redis://h/0"
    with pytest.raises(Misconfigured, match="names email: the queues are critical, high, normal, bulk"):
        load(None, {**stores, "CLARION_WORKERS__QUEUES": "email"})


def test_a_file_that_isnt_there_is_told() -> None:
    with pytest.raises(Misconfigured, match=r"can't read .*nowhere\.toml"):
        load(Path("nowhere.toml"), {})


def test_no_secret_shows_when_settings_are_printed(tmp_path: Path) -> None:
    file = tmp_path / "clarion.toml"
    file.write_text(
        'admin_key = "the-secret-key-the-secret-key-the-secret"\n[[providers]]\nname = "a"\nkind = "smtp"\n'
        'channel = "email"\nconfig = { password = "hunter2-hunter2" }\n'
    )
    settings = load(file, {"CLARION_DATABASE_URL": "postgresql://u:hunter3@h/d"})
    shown = repr(settings) + repr(settings.providers)
    assert "secret" not in shown
    assert "hunter" not in shown
    assert msgspec.to_builtins(settings)["port"] == 8000
