"""`clarion rotate-keys`: the second half of changing the installation's encryption keys."""

from __future__ import annotations

import asyncio

import typer

from clarion.cli.context import Context
from clarion.cli.printing import AsJson, out, progress, say_json, table
from clarion.security.rotation import SEALED, rotate


def add(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("rotate-keys")(rotate_keys)


def rotate_keys(context: typer.Context, as_json: AsJson = False) -> None:
    """Seals everything anew under the first of the encryption keys; works beside a running server.

    Put a new key (`openssl rand -base64 32`) first in CLARION_ENCRYPTION_KEYS or the key file, keep the old ones behind
    it, restart every process of Clarion, run this, and then take the old ones out.
    """

    async def work() -> tuple[str, dict[str, int]]:
        async with context.ensure_object(Context).clarion() as clarion:
            done = {}
            for sealed in SEALED:
                with progress(sealed.table.name) as report:
                    done[sealed.table.name] = await rotate(
                        clarion.db, clarion.ring, sealed, None if as_json else report
                    )
            return clarion.ring.primary, done

    key, done = asyncio.run(work())
    if as_json:
        say_json({"key": key, "items": [{"table": name, "renewed": count} for name, count in done.items()]})
        return
    table(("TABLE", "SEALED ANEW"), list(done.items()), "")
    out.print(f"everything is sealed under the key {key}: the others may go from the keys")
