"""`clarion bench` measures in a place of its own."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tests.acceptance.server import CLARION


def bench(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CLARION_")}
    return subprocess.run(
        [CLARION, "bench", "--people", "150", "--seconds", "0.5", "--json", *options], cwd=folder, env=environment,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_it_tells_two_rates_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = bench(tmp_path)
    assert done.returncode == 0, done.stderr
    assert [item["rate"] > 0 for item in json.loads(done.stdout)["items"]] == [True, True]
    assert not list(tmp_path.iterdir())


def test_a_database_that_is_in_use_is_left_alone(tmp_path: Path, migrated_postgres_url: str) -> None:
    done = bench(tmp_path, "--database-url", migrated_postgres_url)
    assert done.returncode == 1
    assert "isn't empty" in done.stderr
