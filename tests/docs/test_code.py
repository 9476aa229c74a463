"""What the documents tell people to do is done here, in its order, against a real server with the sample workflows.

`sh` blocks run in one shell session, `python run` blocks as programs. A `text output` block holds lines that the block
before it prints, in this order; … stands for anything, and blanks don't count.
"""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from clarion.workflows.samples import copy_samples
from tests.acceptance.server import CLARION, KEY, Server, eventually
from tests.docs.documents import DOCUMENTS, ROOT, Block, blocks, name_of

RUN = ("sh", "console", "python run")
#: The blog's own instructions are followed by tests/acceptance/test_blog_example.py.
RUNNABLE = [
    path
    for path in DOCUMENTS
    if not path.is_relative_to(ROOT / "examples") and any(block.info in RUN for block in blocks(path))
]


class Reader:
    """Somebody who follows a document, slowly: waits until everything has gone out before going on."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._session = server.folder / "session"
        self._session.touch()
        self._environment = {
            **server.environment,
            "CLARION_URL": f"http://127.0.0.1:{server.port}",
            "CLARION_KEY": KEY,
            "PATH": f"{CLARION.parent}{os.pathsep}{os.environ['PATH']}",
            "COLUMNS": "200",
        }

    def follow(self, block: Block) -> str:
        """What the block prints."""
        program = [sys.executable, "-W", "error", "-c", block.text]
        if block.info != "python run":
            text = f"set -euo pipefail\n. {self._session}\nset -a\n{block.text}\nexport -p > {self._session}\n"
            program = ["bash", "-c", text]
        done = subprocess.run(
            program, cwd=self._server.folder, env=self._environment, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"line {block.line} failed:\n{done.stdout}\n{done.stderr}"
        assert eventually(self._settled, 60), f"line {block.line}: something is still on its way"
        return done.stdout

    def _settled(self) -> bool:
        """Nothing is to be decided or sent now; what waits for a later time may wait."""
        database = sqlite3.connect(f"file:{self._server.folder / 'clarion.db'}?mode=ro", uri=True)
        try:
            (busy,) = database.execute(
                "SELECT (SELECT count(*) FROM shards WHERE done = 0)"
                " + (SELECT count(*) FROM deliveries WHERE state IN ('pending', 'sending'))"
            ).fetchone()
        finally:
            database.close()
        return int(busy) == 0


def _pattern(line: str) -> re.Pattern[str]:
    words = [".*?".join(re.escape(part) for part in word.split("…")) for word in line.split()]
    return re.compile(r"\s*".join(words))


def _assert_prints(said: str, block: Block) -> None:
    rest = said.splitlines()
    for wanted in block.text.splitlines():
        pattern = _pattern(wanted)
        while rest and not pattern.search(rest[0]):
            rest.pop(0)
        assert rest, f"line {block.line}: {wanted!r} isn't printed (any more); printed was:\n{said}"
        rest.pop(0)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("path", RUNNABLE, ids=name_of)
def test_what_a_document_tells_people_to_do_works(path: Path, tmp_path: Path) -> None:
    server = Server(tmp_path, {})
    copy_samples(tmp_path / "workflows")
    with server:
        assert server.call("PUT", "/v1/recipients/ada", {}).status == 201  # whom the documents speak of
        reader, said = Reader(server), ""
        for block in blocks(path):
            if block.info in RUN:
                said = reader.follow(block)
            elif block.info == "text output":
                _assert_prints(said, block)


def test_a_line_that_is_not_printed_is_noticed() -> None:
    _assert_prints("one\ntwo   of 3\n", Block("text output", "two of …\n", 1))
    with pytest.raises(AssertionError, match="isn't printed"):
        _assert_prints("one\ntwo\n", Block("text output", "two\none\n", 1))


def test_the_documents_that_promise_code_have_some_that_runs() -> None:
    assert {name_of(path) for path in RUNNABLE} >= {"README.md", "docs/quickstart.md", "docs/client.md"}


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_python_that_is_only_shown_is_python_at_least(path: Path) -> None:
    for block in blocks(path):
        if block.info == "python":
            compile(block.text, f"{path}:{block.line}", "exec")
