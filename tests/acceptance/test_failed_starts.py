"""A start that can't succeed says why in one sentence, at once, before it makes or shows anything."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from clarion.bootstrap import Clarion
from clarion.model.errors import Misconfigured
from clarion.settings import load
from clarion.storage import open_database
from tests.acceptance.server import CLARION, Server, eventually
from tests.databases import Databases
from tests.servers import free_port

NOTE = "key: note\non: [note.written]\nsteps: [{ channel: in_app, title: a, body: b }]\n"


def start(folder: Path, *words: str, **settings: str) -> str:
    """What a command says that has to end by itself, with status 1 and no more than a sentence."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CLARION_")}
    environment |= {"CLARION_PORT": str(free_port()), **{f"CLARION_{k}": v for k, v in settings.items()}}
    done = subprocess.run(
        [CLARION, *(words or ("serve",))], cwd=folder, env=environment, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert "Admin key" not in done.stdout
    *logged, last = done.stderr.strip().splitlines()
    assert last.startswith("clarion: "), done.stderr
    assert not done.stdout, done.stdout
    assert len(logged) <= 1, logged
    return last


@pytest.fixture
def stopped(tmp_path: Path) -> Server:
    """An installation on SQLite that was there once, and made its own keys."""
    server = Server(tmp_path / "there", {"note": NOTE})
    with server:
        assert server.call("PUT", "/v1/recipients/u1", {"email": "u1@example.com"}).status == 201
        assert server.stop() == 0
    return server


@pytest.mark.parametrize(
    "command", [("serve",), ("doctor",), ("keys", "create", "--role", "admin")], ids=lambda words: words[0]
)
def test_without_its_key_file_a_sealed_database_gets_no_new_one(stopped: Server, command: tuple[str, ...]) -> None:
    # Given a database whose key file is gone
    keys = stopped.folder / "clarion.keys"
    kept = keys.read_text()
    keys.unlink()

    # When anything starts there, then it says what is missing, and makes nothing in its place
    done = stopped.run(*command)
    assert done.returncode == 1
    assert "the key file clarion.keys isn't there, and the database is sealed with its keys: put it back" in (
        done.stdout + done.stderr
    ).replace("\n", " ")
    assert "Traceback" not in done.stderr
    assert not keys.exists()

    # And with another file it says so too
    other = stopped.folder / "elsewhere"
    other.mkdir()
    assert "sealed with other keys" in start(
        stopped.folder, ENCRYPTION_KEYS="k9:" + "A" * 43 + "=", DATABASE_URL="sqlite:///clarion.db"
    )

    # And with the file put back, all is there
    keys.write_text(kept)
    keys.chmod(0o600)
    with stopped:
        assert stopped.call("GET", "/v1/recipients/u1").body["email"] == "u1@example.com"


def test_a_taken_port_makes_nothing(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = start(tmp_path, PORT=str(port))
    assert f"can't listen on 127.0.0.1:{port} (Address already in use)" in said
    assert not list(tmp_path.iterdir())


def test_a_second_server_on_one_file_says_so_and_the_first_goes_on(tmp_path: Path) -> None:
    with Server(tmp_path / "there", {"note": NOTE}) as server:
        # When a second one starts on the same file
        said = start(server.folder)
        # Then it ends, and has changed nothing
        assert "another process already works on this database" in said
        assert server.call("GET", "/readyz").status == 200
        # Nor does it work by another name of the file
        (tmp_path / "link.db").symlink_to(server.folder / "clarion.db")
        said = start(tmp_path, DATABASE_URL=f"sqlite:///{tmp_path / 'link.db'}")
        assert "another process already works on this database" in said
        # And a hard link, beside which SQLite would put another journal, is refused while it is there
        (tmp_path / "hard.db").hardlink_to(server.folder / "clarion.db")
        assert "it has 2 names" in start(tmp_path, DATABASE_URL=f"sqlite:///{tmp_path / 'hard.db'}")
        (tmp_path / "hard.db").unlink()

        # When the first one is killed, then the next one works at once
        server.kill()
        server.start()

        # And when it is asked to end, the next one may start before it has done so
        assert server.process is not None
        first = server.process
        first.send_signal(signal.SIGTERM)
        server.start()
        assert first.wait(30) == 0
        assert eventually(lambda: server.call("GET", "/readyz").status == 200)


@pytest.fixture
def owned(databases: Databases) -> Iterator[str]:
    url = databases.create_owned()
    yield url
    databases.drop_owned(url)


@pytest.mark.parametrize("command", ["serve", "migrate", "worker", "scheduler"])
def test_a_wrong_password_is_no_reason_to_wait(tmp_path: Path, owned: str, command: str) -> None:
    wrong = owned.replace(":", ":wrong-", 2).replace("postgresql:wrong-", "postgresql:", 1)
    celery = {} if command in ("serve", "migrate") else {"ENGINE": "celery", "REDIS_URL": "redis://127.0.0.1:1"}
    said = start(
        tmp_path, command, *(["--processes", "1"] if command == "worker" else []), DATABASE_URL=wrong, **celery
    )
    assert "password authentication failed" in said
    assert "mend user and password in CLARION_DATABASE_URL" in said
    assert not list(tmp_path.iterdir())


#: What is wrong with the settings, and what is said of it.
OPENING: Mapping[str, tuple[Mapping[str, str], str]] = {
    "unknown host": ({"DATABASE_URL": "postgresql://c:p@no-such-host.invalid/c"}, "no host is called"),
    "no such database": ({"DATABASE_URL": "{postgres}_gone"}, "does not exist"),
    "another kind of database": ({"DATABASE_URL": "mysql://c:p@127.0.0.1/c"}, "write sqlite:///"),
    "a password not written for a URL": ({"DATABASE_URL": "postgresql://c:p/w@127.0.0.1/c"}, "%2F for /"),
    "no TLS there": ({"DATABASE_URL": "{postgres}?sslmode=require"}, "speaks no TLS"),
    "a folder that is a file": ({"DATABASE_URL": "sqlite:///file/clarion.db"}, "can't use the database file"),
    "a file that is a folder": ({"DATABASE_URL": "sqlite:///folder"}, "can't use the database file"),
    "a file that is no database": ({"DATABASE_URL": "sqlite:///file"}, "file is not a database"),
    "a file system that takes nothing": ({"DATABASE_URL": "sqlite:////proc/clarion.db"}, "can't use the database file"),
    "keys that are none": ({"ENCRYPTION_KEYS": "k1:short"}, "CLARION_ENCRYPTION_KEYS"),
    "a place for keys that takes none": ({"ENCRYPTION_KEYS_FILE": "/proc/clarion.keys"}, "can't use the key file"),
    "no Redis URL": ({"REDIS_URL": "127.0.0.1"}, "CLARION_REDIS_URL"),
}
SERVING: Mapping[str, tuple[Mapping[str, str], str]] = {
    "no certificate": ({"TLS_CERT": "none.pem", "TLS_KEY": "none.key"}, "can't serve TLS with none.pem"),
    "a certificate that is none": ({"TLS_CERT": "file", "TLS_KEY": "file"}, "can't serve TLS with file"),
    "an address of another machine": ({"HOST": "192.0.2.1"}, "can't listen on 192.0.2.1"),
    "a name of no machine": ({"HOST": "no-such-host.invalid"}, "can't listen on no-such-host.invalid"),
    "a port beyond all ports": ({"PORT": "70000"}, "port is 70000"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a file and a folder in it."""
    (tmp_path / "file").write_text("This is no database, " * 100)
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("what", OPENING)
async def test_what_cannot_be_opened_is_said_in_a_sentence(folder: Path, postgres_url: str, what: str) -> None:
    settings, said = OPENING[what]
    environment = {f"CLARION_{k}": v.replace("{postgres}", postgres_url) for k, v in settings.items()}
    with pytest.raises(Misconfigured) as raised:
        await Clarion.open_in_time(load(None, environment), alone=True)
    assert said in str(raised.value)
    assert not (folder / "clarion.keys").exists()


@pytest.mark.parametrize("what", SERVING)
def test_what_cannot_be_served_is_said_in_a_sentence(folder: Path, what: str) -> None:
    settings, said = SERVING[what]
    assert said in start(folder, **settings)
    assert {path.name for path in folder.iterdir()} == {"file", "folder"}


async def test_a_database_of_a_newer_release_is_left_alone(tmp_path: Path, migrated_sqlite_url: str) -> None:
    db = await open_database(migrated_sqlite_url)
    await db.write(lambda tx: tx.run("UPDATE alembic_version SET version_num = '9999'"))
    await db.write(lambda tx: tx.run("DELETE FROM meta WHERE name = 'works_with'"))
    await db.close()
    for command in ("serve", "migrate"):
        assert "made by a newer Clarion" in start(tmp_path, command, DATABASE_URL=migrated_sqlite_url)
