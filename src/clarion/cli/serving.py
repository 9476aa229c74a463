"""`clarion serve`: the API, the pages and (embedded engine) the work."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import ssl
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
import uvicorn

from clarion.bootstrap import Clarion, settle
from clarion.cli.context import Context
from clarion.cli.processes import Supervisor, is_one_of_several
from clarion.clock import monotonic
from clarion.model.errors import Misconfigured
from clarion.security import logs
from clarion.settings import Settings
from clarion.workflows.samples import copy_samples

MOMENT, LOOK = 2.0, 0.05  #: s that a port is waited for which a predecessor may be about to let go, and between looks
STOP_PATIENCE = 5  #: s that open requests have at a stop, before the engine's own patience
#: s that an idle connection is kept: longer than load balancers keep theirs (60 s is usual), or a request of theirs
#: meets one that is being closed.
KEEP_ALIVE = 75
#: Bytes of a message over a WebSocket: what browsers say there is ignored.
MOST_FRAME = 4096


def add(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command()
    def serve(
        context: typer.Context,
        samples: Annotated[
            bool, typer.Option("--samples", help="Puts sample workflows into the workflows folder if it is empty.")
        ] = False,
        processes: Annotated[
            int | None,
            typer.Option(
                "--processes", min=0, help="How many, on one port; [api] processes otherwise. 0: one per core (celery)."
            ),
        ] = None,
    ) -> None:
        """Serves the API and the pages, and (with the embedded engine) does the work.

        Makes the database in an empty folder, loads the workflows of ./workflows, and prints an admin key at the very
        first start. Ctrl-C (or SIGTERM) finishes what is in flight.
        """
        held = context.ensure_object(Context)
        settings = held.settings
        logs.set_up(settings.log.level, settings.log.format)
        _check_tls(settings)
        child = is_one_of_several()
        count = (settings.api.processes if processes is None else processes) or os.cpu_count() or 1
        if count > 1 and not child:
            if settings.engine == "embedded":
                raise Misconfigured("several API processes need CLARION_ENGINE=celery: the embedded engine allows one")
            asyncio.run(_prepare(settings, samples))
            sys.exit(Supervisor([["serve"]] * count, held.config).run())
        # SQLite's writer is a thread that needs Python between its many short calls: it must not wait 5 ms for each.
        sys.setswitchinterval(0.0005)
        try:
            import uvloop

            runner = uvloop.run
        except ImportError:
            runner = asyncio.run  # type: ignore[assignment]
        runner(_serve_one_of_several(settings) if child else _serve(settings, samples))


async def _opened(settings: Settings, samples: bool) -> Clarion:
    """The application with the workflows of the folder; says where it is."""
    folder = Path(settings.workflows_dir)
    if samples and not any(folder.glob("*.y*ml")):
        copy_samples(folder)
    clarion = await Clarion.open_in_time(settings, alone=True)
    loaded = await clarion.load_workflows(folder) if folder.is_dir() else 0
    _greet(clarion, loaded)
    return clarion


async def _prepare(settings: Settings, samples: bool) -> None:
    """What is done once, before several processes serve."""
    with _socket(settings, shared=False):  # they share the port with one another, and must not with somebody else
        await (await _opened(settings, samples)).close()


async def _serve(settings: Settings, samples: bool) -> None:
    with _socket(settings, shared=False) as listening:  # first of all: whose port is taken makes and says nothing
        await _answer(settings, await _opened(settings, samples), [listening])


async def _serve_one_of_several(settings: Settings) -> None:
    with _socket(settings, shared=True) as listening:
        await _answer(settings, await Clarion.open_in_time(settings), [listening])


def _check_tls(settings: Settings) -> None:
    """Raises Misconfigured for a certificate and a key that can't be used."""
    if settings.tls_cert:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_cert, settings.tls_key)
        except OSError as error:
            raise Misconfigured(
                f"can't serve TLS with {settings.tls_cert} and {settings.tls_key} ({error.strerror or error}): mend "
                "CLARION_TLS_CERT and CLARION_TLS_KEY"
            ) from None


def _socket(settings: Settings, *, shared: bool) -> socket.socket:
    """The port, taken, that nobody is heard on yet. Raises Misconfigured."""
    made = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    deadline = monotonic() + MOMENT
    while True:
        try:
            made.bind((settings.host, settings.port))
            return made
        except OSError as error:
            if error.errno == errno.EADDRINUSE and monotonic() < deadline:  # a predecessor that is about to let it go
                time.sleep(LOOK)  # noqa: TID251  # nothing else runs yet
                continue
            made.close()
            raise Misconfigured(
                f"can't listen on {settings.host}:{settings.port} ({error.strerror}): stop who does, or choose others "
                "with CLARION_HOST and CLARION_PORT"
            ) from None


async def _answer(settings: Settings, clarion: Clarion, sockets: list[socket.socket]) -> None:
    """Serves until a signal ends it."""
    server = _Server(_config(settings, clarion), clarion)
    settle()
    for number in (signal.SIGTERM, signal.SIGINT):
        # Once uvicorn has stopped in good order it raises the signal again: then there is nothing left to do.
        signal.signal(number, lambda *_: None)
    await server.serve(sockets)
    if not server.started:
        await clarion.close()
        raise Misconfigured("couldn't start: the log above says why")


class _Server(uvicorn.Server):
    """Asked to end, it lets those go who follow an inbox: uvicorn would wait for them."""

    def __init__(self, config: uvicorn.Config, clarion: Clarion) -> None:
        super().__init__(config)
        self._clarion = clarion

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._clarion.db.ending()  # who comes next may wait for it
        self._clarion.live.end()
        super().handle_exit(sig, frame)


def _config(settings: Settings, clarion: Clarion) -> uvicorn.Config:
    from clarion.web.app import create_app  # half a second that other commands needn't wait
    from clarion.web.connections import bounded

    config = uvicorn.Config(
        create_app(clarion),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=STOP_PATIENCE,
        timeout_keep_alive=KEEP_ALIVE,
        ssl_certfile=settings.tls_cert or None,
        ssl_keyfile=settings.tls_key or None,
        server_header=False,
        backlog=4096,
        http=bounded(settings.api.unknown_per_address),
        ws_max_size=MOST_FRAME,
        ws_max_queue=4,
        ws_per_message_deflate=False,
    )
    if settings.tls_cert:
        config.load()
        assert config.ssl is not None
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_3
    return config


def _greet(clarion: Clarion, loaded: int) -> None:
    """The first screen: where the pages are, the key (once), and a line that works when pasted."""
    url = clarion.settings.url
    key = clarion.admin_key
    lines = ["", f"  Clarion is on {url}", ""]
    lines += [f"  Dashboard   {url}/dashboard", f"  API docs    {url}/docs", f"  Workflows   {loaded} loaded", ""]
    if key:
        lines += ["  Admin key, shown only now:", "", f"    {key}", ""]
    types = clarion.catalogue.known_types(1)
    if types:
        lines += ["  Send a first notification:", "", *_curl(url, key or "$CLARION_KEY", types), ""]
    else:
        lines += [
            "  No workflow says yet what becomes of events. Three to begin with:",
            "",
            f"    clarion serve --samples      (puts them into {clarion.settings.workflows_dir}/)",
            "",
        ]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _curl(url: str, key: str, types: list[str]) -> list[str]:
    event_type = "user.signed_up" if "user.signed_up" in types else types[0]
    ada = '{"id": "ada", "email": "ada@example.com"}'
    body = f'{{"type": "{event_type}", "data": {{"name": "Ada"}}, "recipients": [{ada}]}}'
    return [
        f'    curl {url}/v1/events -H "Authorization: Bearer {key}" \\',
        f"      -H 'Content-Type: application/json' -d '{body}'",
    ]
