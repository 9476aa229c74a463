"""The `clarion` command: options common to all, and how errors come out."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from clarion.cli import (
    bench,
    broadcasts,
    consent,
    doctor,
    events,
    ingest,
    operations,
    parked,
    rotation,
    serving,
    working,
)
from clarion.cli.context import Context
from clarion.model.errors import ClarionError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Clarion: report events, and it decides whom to tell, on which channel and when, and delivers.",
)
for commands in (broadcasts, consent, serving, working, events, ingest, operations, parked, rotation, doctor, bench):
    commands.add(app)


@app.callback()
def common(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option("--config", help="The settings file; clarion.toml of this folder otherwise.")
    ] = None,
) -> None:
    """Reads the options that stand before the command."""
    context.obj = Context(config, os.environ)


def main() -> None:
    """Runs the command line: exit status 0, 1 (failed) or 2 (usage)."""
    try:
        app()
    except ClarionError as error:
        typer.echo(f"clarion: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
