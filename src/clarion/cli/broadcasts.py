"""`clarion events`: how far a large event has come; pausing it, going on with it, cancelling it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import typer

from clarion.bootstrap import Clarion
from clarion.cli.context import Context
from clarion.cli.printing import AsJson, out, progress, say_json
from clarion.clock import rfc3339
from clarion.events.holding import HoldEvent
from clarion.model import ids
from clarion.model.errors import Invalid

events = typer.Typer(no_args_is_help=True, help="Accepted events: how far they have come, pausing and cancelling.")

EventId = Annotated[str, typer.Argument(help="evt_..., as POST /v1/events answered.")]
Project = Annotated[str, typer.Option("--project", help="The project, by its key.")]

#: Nothing more happens by itself, or not for long.
_RESTING = ("done", "waiting", "paused", "cancelled")
LOOK = 1.0  #: s between looks


def add(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(events, name="events")


@events.command()
def show(context: typer.Context, event_id: EventId, project: Project = "default", as_json: AsJson = False) -> None:
    """Shows how far an event has come."""
    found = asyncio.run(_do(context, project, event_id, _read))
    if as_json:
        say_json(found)
        return
    for line in _told(found):
        out.print(line)


@events.command()
def watch(context: typer.Context, event_id: EventId, project: Project = "default") -> None:
    """Follows an event until nothing of it is on its way any more."""

    async def follow(clarion: Clarion, number: int, event: ids.Id) -> dict[str, Any]:
        with progress(event_id) as report:
            while True:
                found = await _read(clarion, number, event)
                p = found["progress"]
                if p["phase"] in ("counting", "deciding"):
                    report(p["decided"], p["of"] or found["recipients"])
                else:
                    report(p["settled"], p["settled"] + p["moving"])
                if p["phase"] in _RESTING:
                    return found
                await asyncio.sleep(LOOK)

    for line in _told(asyncio.run(_do(context, project, event_id, follow))):
        out.print(line)


@events.command()
def pause(context: typer.Context, event_id: EventId, project: Project = "default") -> None:
    """Has nothing more of an event decided or sent until it is resumed. What is in flight still goes out."""

    async def work(clarion: Clarion, number: int, event: ids.Id) -> bool:
        return await clarion.bus.send(HoldEvent(project=number, now=clarion.clock.now(), event=event))

    out.print("paused" if asyncio.run(_do(context, project, event_id, work)) else "it was paused already")


@events.command()
def resume(context: typer.Context, event_id: EventId, project: Project = "default") -> None:
    """Goes on with a paused event; what waits is decided again, with what holds now."""
    done = asyncio.run(_do(context, project, event_id, Clarion.resume))
    out.print("goes on" if done else "it wasn't paused")


@events.command()
def cancel(context: typer.Context, event_id: EventId, project: Project = "default") -> None:
    """Cancels what of an event hasn't been sent."""
    out.print(f"cancelled {asyncio.run(_do(context, project, event_id, Clarion.cancel))}")


async def _read(clarion: Clarion, project: int, event: ids.Id) -> dict[str, Any]:
    found = await clarion.event(project, event, wait=True)
    times = ("accepted_at", "send_at", "expires_at", "paused_at", "counted_at")
    return {**found, **{name: rfc3339(found[name]) for name in times}}


async def _do(
    context: typer.Context, project: str, text: str, work: Callable[[Clarion, int, ids.Id], Awaitable[Any]]
) -> Any:
    try:
        event = ids.read(ids.EVENT, text)
    except ids.InvalidId as error:
        raise Invalid("not_found", f"{text!r}: {error}") from None
    async with context.ensure_object(Context).clarion() as clarion:
        return await work(clarion, await clarion.keys.project_number(project), event)


def _told(found: dict[str, Any]) -> list[str]:
    p = found["progress"]
    of = "?" if p["of"] is None else p["of"]
    people = f"{p['decided']} of {of} people decided"
    return [
        f"{found['id']}  {found['type']}, accepted {found['accepted_at']}",
        f"  {p['phase']}: {people}; {p['settled']} messages settled, {p['moving']} moving, {p['waiting']} waiting",
        *(f"  {state:<11} {count}" for state, count in sorted(found["deliveries"].items())),
        *(f"  why         {why['detail']}" for why in p["why"]),
    ]
