from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from clarion.model.errors import Misconfigured
from clarion.security.encryption import KeyRing, load_or_create_keys


def test_the_file_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "clarion.keys"
    made = load_or_create_keys(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_or_create_keys(path).text() == made.text()
    assert [p.name for p in tmp_path.iterdir()] == ["clarion.keys"]


def test_the_file_says_what_it_is_and_can_be_pasted_into_the_setting(tmp_path: Path) -> None:
    path = tmp_path / "clarion.keys"
    made = load_or_create_keys(path)
    *comment, keys = path.read_text().splitlines()
    assert all(line.startswith("#") for line in comment)
    assert KeyRing.parse(keys).text() == made.text()


def test_of_many_that_start_together_all_get_the_same_keys(tmp_path: Path) -> None:
    path, barrier = tmp_path / "clarion.keys", Barrier(16)

    def start() -> str:
        barrier.wait()
        return load_or_create_keys(path).text()

    for _ in range(10):
        with ThreadPoolExecutor(16) as crowd:
            rings = {f.result() for f in [crowd.submit(start) for _ in range(16)]}
        assert len(rings) == 1
        assert [p.name for p in tmp_path.iterdir()] == ["clarion.keys"]
        path.unlink()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_can_touch_is_refused_with_its_mend(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "clarion.keys"
    load_or_create_keys(path)
    path.chmod(mode)
    with pytest.raises(Misconfigured, match=f"chmod 600 {path}"):
        load_or_create_keys(path)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_file_with_a_second_key_opens_with_both(tmp_path: Path) -> None:
    path = tmp_path / "clarion.keys"
    old = load_or_create_keys(path)
    path.write_text(f"{KeyRing.generate().text()}\n# the one before\n{old.text()}\n")
    ring = load_or_create_keys(path)
    assert ring.open(old.seal(b"x", b""), b"") == b"x"
    assert ring.primary != old.primary


@pytest.mark.parametrize("content", [b"", b"# only words\n", b"k1:short", b"\xff\x00\x80"])
def test_a_broken_file_is_never_replaced_but_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clarion.keys"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(Misconfigured, match=str(path)):
        load_or_create_keys(path)
    assert path.read_bytes() == content


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"No such file or directory.*CLARION_ENCRYPTION_KEYS"):
        load_or_create_keys(tmp_path / "gone" / "clarion.keys")


def test_a_failure_while_writing_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Misconfigured, match="No space left on device"):
        load_or_create_keys(tmp_path / "clarion.keys")
    assert list(tmp_path.iterdir()) == []
