"""`migrate`, `workflows`, `keys`, `providers`, `projections`, `erase`, `retention`: looking after an installation."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from clarion.bootstrap import Clarion
from clarion.cli.context import Context
from clarion.cli.plans import plan
from clarion.cli.printing import AsJson, out, progress, say_json, table
from clarion.clock import SystemClock, from_rfc3339, randomness, rfc3339
from clarion.deliveries.carry import deliver
from clarion.deliveries.interface import Provider
from clarion.directory.api_keys import ALL_PROJECTS, CreateKey
from clarion.directory.recipients import EraseRecipients
from clarion.engine.retention import Dropped
from clarion.model import ids
from clarion.model.delivery import Message, Outcome
from clarion.model.errors import Invalid, NotFound
from clarion.model.words import Role
from clarion.storage.schema import migrate as migrate_schema
from clarion.workflows.catalogue import StoreWorkflows
from clarion.workflows.files import load_folder

workflows = typer.Typer(no_args_is_help=True, help="Checks workflow files and brings them into the database.")
keys = typer.Typer(no_args_is_help=True, help="API keys.")
providers = typer.Typer(no_args_is_help=True, help="The accounts that carry messages.")
projections = typer.Typer(no_args_is_help=True, help="Read models built from the ledger.")

Folder = Annotated[Path, typer.Argument(help="The folder with the workflow files.")]
Project = Annotated[str, typer.Option("--project", help="The project, by its key.")]


def add(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(migrate)
    app.command()(erase)
    app.command()(retention)
    workflows.command()(plan)
    app.add_typer(workflows, name="workflows")
    app.add_typer(keys, name="keys")
    app.add_typer(providers, name="providers")
    app.add_typer(projections, name="projections")


def migrate(context: typer.Context, as_json: AsJson = False) -> None:
    """Brings the database to this release's schema, beside a running server if need be. Make a backup before."""
    before = asyncio.run(migrate_schema(context.ensure_object(Context).settings.database_url))
    if as_json:
        say_json({"from": before.current, "to": before.newest})
    elif before.up_to_date:
        out.print(f"the schema is up to date ({before.current})")
    else:
        out.print(f"migrated from {before.current or 'an empty database'} to {before.newest}")


def erase(
    context: typer.Context,
    recipient: Annotated[str, typer.Argument(help="The recipient's id.")],
    project: Project = "default",
    yes: Annotated[bool, typer.Option("--yes", help="Doesn't ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Erases a person: destroys the data key, and with it everything personal, in backups too. Can't be undone."""
    if not yes:
        typer.confirm(f"Erase {recipient} for good?", abort=True)

    async def work() -> bool:
        async with context.ensure_object(Context).clarion() as clarion:
            number = await clarion.keys.project_number(project)
            command = EraseRecipients(project=number, now=clarion.clock.now(), by="cli", recipients=(recipient,))
            return bool(await clarion.bus.send(command))

    if not asyncio.run(work()):
        raise NotFound(f"nothing is known of {recipient!r} in project {project}")
    say_json({"erased": recipient}) if as_json else out.print(f"erased {recipient}")


@workflows.command()
def validate(folder: Folder, as_json: AsJson = False) -> None:
    """Checks every workflow file, and says of each problem file, line and mend. Needs no database."""
    found = load_folder(_there(folder))
    if as_json:
        say_json({"valid": [f.workflow.key for f in found]})
    else:
        out.print(f"{len(found)} workflows, all valid: {', '.join(f.workflow.key for f in found)}")


@workflows.command()
def apply(
    context: typer.Context,
    folder: Folder,
    project: Project = "default",
    force: Annotated[bool, typer.Option("--force", help="Also over edits made through the API.")] = False,
    as_json: AsJson = False,
) -> None:
    """Stores new versions of the workflows whose files changed. Runs that began keep their version."""

    async def work() -> list[tuple[str, int]]:
        files = load_folder(_there(folder))
        async with context.ensure_object(Context).clarion() as clarion:
            number = await clarion.keys.project_number(project)
            plains = tuple(f.plain for f in files)
            now = clarion.clock.now()
            command = StoreWorkflows(project=number, now=now, plains=plains, source="file", force=force)
            return [(s.workflow.key, s.workflow.version) for s in await clarion.bus.send(command)]

    rows = asyncio.run(work())
    if as_json:
        say_json({"items": [{"key": key, "version": version} for key, version in rows]})
    else:
        table(("WORKFLOW", "VERSION"), rows, "the folder holds no workflows")


def _there(folder: Path) -> Path:
    if not folder.is_dir():
        raise NotFound(f"{folder} isn't a folder: name the one with the workflow files")
    return folder


@keys.command("create")
def create_key(
    context: typer.Context,
    role: Annotated[Role, typer.Option("--role", help="What the key may do.")],
    name: Annotated[str, typer.Option("--name", help="What it is for.")] = "",
    project: Annotated[
        str | None,
        typer.Option("--project", help="The project; without it an admin key is for all, others for default."),
    ] = None,
    expires: Annotated[str | None, typer.Option("--expires", help="When it ends: 2027-03-14T00:00:00Z.")] = None,
    as_json: AsJson = False,
) -> None:
    """Makes an API key and shows it, this once.

    Example: clarion keys create --role producer --name shop
    """

    async def work() -> tuple[ids.Id, str, str | None]:
        async with context.ensure_object(Context).clarion() as clarion:
            everywhere = project is None and role is Role.ADMIN
            number = ALL_PROJECTS if everywhere else await clarion.keys.project_number(project or "default")
            until = None if expires is None else _instant(expires)
            command = CreateKey(project=number, now=clarion.clock.now(), role=role, name=name, expires_at=until)
            return *(await clarion.bus.send(command)), None if everywhere else (project or "default")

    new, text, of = asyncio.run(work())
    if as_json:
        say_json({"id": ids.show(ids.API_KEY, new), "key": text, "role": role.value, "project": of})
    else:
        out.print(f"{text}\n\nrole {role.value}, {'all projects' if of is None else 'project ' + of}; not shown again")


def _instant(text: str) -> int:
    try:
        return from_rfc3339(text)
    except ValueError as error:
        raise Invalid("invalid_time", f"--expires: {error}") from None


@providers.command("list")
def list_providers(context: typer.Context, as_json: AsJson = False) -> None:
    """Lists the providers of the settings with how they stand and their delivery rate.

    Without Redis the rate is known to the serving process alone: ask `GET /v1/providers`.
    """

    async def work(clarion: Clarion) -> list[dict[str, Any]]:
        return await clarion.standing()

    found = asyncio.run(_with(context, work))
    if as_json:
        say_json({"items": found})
        return
    rows = [
        (
            p["channel"],
            p["name"],
            p["kind"],
            p["state"],
            f"{p['success_rate']:.1%} of {p['samples']}" if p["samples"] else "",
        )
        for p in found
    ]
    table(("CHANNEL", "PROVIDER", "KIND", "STATE", "RATE"), sorted(rows), "no providers")


@providers.command("test")
def test_provider(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The provider's name in the settings.")],
    to: Annotated[str, typer.Option("--to", help="The address, number or token to send to.")],
    as_json: AsJson = False,
) -> None:
    """Sends a test message through one provider, past every rule, and shows what it answered."""

    async def work(clarion: Clarion) -> Outcome:
        provider = clarion.providers.get(name)
        if provider is None:
            raise NotFound(f"no provider is named {name!r}: there are {', '.join(clarion.providers)}")
        message = _test_message(provider, to)
        outcomes: list[Outcome] = []
        await deliver(provider, [message], clarion.clock.now(), lambda _id, outcome: outcomes.append(outcome))
        return outcomes[0]

    outcome = asyncio.run(_with(context, work))
    fields = {
        "outcome": outcome.kind.value,
        "reference": outcome.reference,
        "code": outcome.code,
        "detail": outcome.detail,
    }
    if as_json:
        say_json(fields)
    else:
        out.print("\n".join(f"{k:<10} {v}" for k, v in fields.items() if v is not None))
    sys.exit(0 if outcome.accepted else 1)


def _test_message(provider: Provider, to: str) -> Message:
    from clarion.model.words import CHANNEL_OF

    now = SystemClock().now()
    event = ids.new_id(now, randomness(10))
    notification = ids.notification_id(event, "test", "test")
    reached = [kind for kind, carried in CHANNEL_OF.items() if carried is provider.channel and kind in provider.kinds]
    text = "This is a test message of Clarion."
    return Message(
        project=1,
        delivery_id=ids.delivery_id(notification, 0, None),
        notification_id=notification,
        recipient="test",
        channel=provider.channel,
        kind=reached[0] if reached else None,
        address=to,
        parts={"subject": "Clarion test", "title": "Clarion test", "text": text, "body": text},
        attempt=1,
        workflow="test",
        event_type="clarion.test",
        accepted_at=now,
    )


@projections.command("rebuild")
def rebuild(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="One projection; without it, all of them.")] = None,
    as_json: AsJson = False,
) -> None:
    """Builds read models anew from the ledger; works beside a running server."""

    async def work(clarion: Clarion) -> dict[str, int]:
        names = [name] if name else [lag.projection for lag in await clarion.projections.lags()]
        done = {}
        for each in names:
            with progress(each) as report:
                done[each] = await clarion.projections.rebuild(each, None if as_json else report)
        return done

    done = asyncio.run(_with(context, work))
    if as_json:
        say_json({"items": [{"projection": each, "facts": count} for each, count in done.items()]})
    else:
        table(("PROJECTION", "FACTS"), list(done.items()), "there are no projections")


def retention(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only says what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Drops what is older than [retention] says, as a running server does by itself; works beside one."""

    async def work(clarion: Clarion) -> list[Dropped]:
        return await clarion.retention.run(dry_run, (lambda _: None) if as_json else _tell)

    found = asyncio.run(_with(context, work))
    if as_json:
        say_json({"items": [{**d._asdict(), "week": rfc3339(d.week)} for d in found]})
    elif not found:
        out.print("nothing is old enough")


def _tell(dropped: Dropped) -> None:
    said = "stays, something in it waits to be sent" if dropped.live else "goes"
    out.print(f"{dropped.kind:<14} the week from {rfc3339(dropped.week)}: {said}")


async def _with(context: typer.Context, work):  # type: ignore[no-untyped-def]
    async with context.ensure_object(Context).clarion() as clarion:
        return await work(clarion)
