"""How commands answer: tables and colours for people, JSON lines for programs, a progress bar only on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

#: The option that every command has whose answer a program may read.
AsJson = Annotated[bool, typer.Option("--json", help="Answers in JSON, for programs.")]

out = Console(highlight=False, soft_wrap=True)


def say_json(value: Any) -> None:
    """One line of JSON."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], empty: str) -> None:
    """A table, or what to say if there is nothing in it."""
    if not rows:
        out.print(empty)
        return
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        shown.add_column(column)
    for row in rows:
        shown.add_row(*("" if cell is None else str(cell) for cell in row))
    out.print(shown)


class _Told:
    """Progress as plain lines, at each further tenth."""

    def __init__(self, what: str) -> None:
        self._what, self._tenth = what, -1

    def __call__(self, done: int, total: int) -> None:
        tenth = 10 * done // total if total else 10
        if tenth > self._tenth:
            self._tenth = tenth
            out.print(f"{self._what}: {done} of {total}")


@contextmanager
def progress(what: str) -> Iterator[Any]:
    """Gives `report(done, total)`: a bar on a terminal, lines elsewhere."""
    if not sys.stderr.isatty():
        yield _Told(what)
        return
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
