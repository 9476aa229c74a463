"""What a first start says."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from tests.acceptance.server import CLARION
from tests.servers import free_port


def test_the_first_start_says_where_it_is_and_nothing_of_its_tools(tmp_path: Path) -> None:
    # Given an empty folder
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CLARION_")}
    environment |= {"CLARION_PORT": str(free_port())}
    log = tmp_path / "said"
    # When a server starts there for the first time
    with log.open("wb") as out:
        process = subprocess.Popen(
            [CLARION, "serve", "--samples"], cwd=tmp_path, env=environment, stdout=out, stderr=out
        )
    try:
        deadline = time.monotonic() + 60
        while "Send a first notification" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()
    # Then its first words are where to go: no line of a log before them
    assert log.read_text().split("\n")[1].startswith("  Clarion is on http://127.0.0.1:")
    assert "alembic" not in log.read_text()
