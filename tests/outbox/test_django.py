"""The outbox of a Django application: a process of its own, since Django's settings are a process's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.client.stub import Say, Stub

ROOT = Path(__file__).parents[2]
PROGRAM = """
import django
from django.conf import settings
settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.db"}},
    INSTALLED_APPS=["clarion.outbox.django"], USE_TZ=True,
)
django.setup()
from django.core.management import call_command
from django.db import transaction
from clarion.outbox.django import notify
from clarion.outbox.django.models import OutboxEntry

call_command("makemigrations", "clarion_outbox", check=True, dry_run=True, verbosity=0)  # ends with 1 if one is missing
call_command("migrate", verbosity=0)
with transaction.atomic():
    notify("order.paid", {"id": 1}, to=["ada"])
try:
    with transaction.atomic():
        notify("order.paid", {"id": 2}, to=["ada"])
        raise KeyError
except KeyError:
    pass
call_command("clarion_relay", once=True)
assert OutboxEntry.objects.count() == 0
"""


def test_what_commits_is_reported_and_what_is_rolled_back_is_not(tmp_path: Path) -> None:
    with Stub() as stub:
        stub.otherwise = Say(202, {"results": [{"id": "evt_1", "status": "accepted", "duplicate": False}]})
        environment = {**os.environ, "CLARION_URL": stub.url, "CLARION_KEY": "k" * 32, "PYTHONPATH": str(ROOT / "src")}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert [e["data"] for asked in stub.asked for e in asked.body["events"]] == [{"id": 1}]
