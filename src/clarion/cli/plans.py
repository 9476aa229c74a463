"""`clarion workflows plan`: what applying a folder would change, in the files and in what would have been sent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from clarion.bootstrap import Clarion
from clarion.cli.context import Context
from clarion.cli.printing import AsJson, out, progress, say_json, table
from clarion.clock import rfc3339
from clarion.decisions import replay
from clarion.decisions.replay import Kind, Outcome, Replay, Sample
from clarion.decisions.shadow import Fate
from clarion.model import ids
from clarion.model.errors import Invalid, NotFound
from clarion.model.words import SENTENCES, Reason
from clarion.model.workflow import Workflow
from clarion.templates.rendering import render_key
from clarion.workflows.catalogue import conflicts
from clarion.workflows.definition import content_hash
from clarion.workflows.difference import Difference, differences
from clarion.workflows.files import LoadedFile, load_folder
from clarion.workflows.times import duration

COMPARES = (
    "the current workflows and the planned ones, both in the shadow: the same events for the same people, "
    "with today's preferences and addresses, from the same counters. Nothing was sent or counted."
)
#: How outcomes are told.
_OUTCOMES = {
    "sent": "sent",
    "gathered": "gathered into a digest",
    "suppressed": "not sent",
    "waiting": "still waiting",
    "refused": "refused with its event: the data doesn't fit data_schema",
    "absent": "no such step",
}
#: Characters of a value that a difference shows.
_SHOWN = 60


class Planned(NamedTuple):
    """A workflow of the folder beside the current one."""

    key: str
    change: str  #: new, changed, unchanged, or conflict with what that means
    version: int | None  #: the current one
    differences: list[Difference]


def plan(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="The folder with the workflow files.")],
    project: Annotated[str, typer.Option("--project", help="The project, by its key.")] = "default",
    replayed: Annotated[
        str | None,
        typer.Option("--replay", help="Runs the events of this time (7d) through both, and shows the difference."),
    ] = None,
    sample: Annotated[int, typer.Option("--sample", min=1, help="With --replay: for about this many people.")] = 5_000,
    attention_budget: Annotated[
        int | None,
        typer.Option("--attention-budget", min=0, help="With --replay: planned for those without one of their own."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Shows what `apply` would change; with --replay also whom it would have told more, less or later, and why.

    Example: clarion workflows plan workflows --replay 7d
    """
    if not folder.is_dir():
        raise NotFound(f"{folder} isn't a folder: name the one with the workflow files")
    span = None if replayed is None else _span(replayed)

    async def work() -> tuple[list[Planned], list[str], dict[str, Any] | None]:
        files = load_folder(folder)
        async with context.ensure_object(Context).clarion() as clarion:
            number = await clarion.keys.project_number(project)
            edited = set(await clarion.db.read(lambda tx: conflicts(tx, number)))
            current = {s.workflow.key: s for s in clarion.catalogue.current(number)}
            planned = [_planned(f, current.get(f.workflow.key), f.workflow.key in edited) for f in files]
            kept = sorted(current.keys() - {f.workflow.key for f in files})
            if span is None:
                return planned, kept, None
            before = {key: stored.workflow for key, stored in current.items()}
            after = {**before, **{f.workflow.key: f.workflow for f in files}}
            told = await _replay(clarion, number, before, after, span, sample, attention_budget, as_json)
            return planned, kept, told

    planned, kept, told = asyncio.run(work())
    if as_json:
        shown = {"items": [_plain(p) for p in planned], "kept": kept}
        say_json(shown if told is None else {**shown, "replay": told})
        return
    _show_plan(planned, kept)
    if told is not None:
        _show_replay(told)


def _span(text: str) -> int:
    try:
        span = duration(text)
    except ValueError as error:
        raise Invalid("invalid_duration", f"--replay: {error}") from None
    if not span:
        raise Invalid("invalid_duration", "--replay: longer than no time: write 7d")
    return span


# --- the plan ---------------------------------------------------------------------------------------------------------


def _planned(file: LoadedFile, stored: Any, edited: bool) -> Planned:
    key = file.workflow.key
    if stored is None:
        return Planned(key, "new", None, [])
    version = stored.workflow.version
    if content_hash(stored.plain) == content_hash(file.plain):
        return Planned(key, "unchanged", version, [])
    change = "conflict: edited through the API (apply --force takes the file)" if edited else "changed"
    return Planned(key, change, version, differences(stored.plain, file.plain))


def _plain(planned: Planned) -> dict[str, Any]:
    return {
        "key": planned.key,
        "change": planned.change,
        "version": planned.version,
        "differences": [d._asdict() for d in planned.differences],
    }


def _show_plan(planned: Sequence[Planned], kept: Sequence[str]) -> None:
    rows = [(p.key, p.change, p.version) for p in planned]
    table(("WORKFLOW", "CHANGE", "CURRENT VERSION"), rows, "the folder holds no workflows")
    if kept:
        out.print(f"not in the folder, and kept as they are: {', '.join(kept)}", style="dim", markup=False)
    for p in planned:
        if p.differences:
            out.print(f"\n{p.key}", style="bold", markup=False)
        for path, before, after in p.differences:
            out.print(f"  {path}", markup=False)
            if before is not None:
                out.print(f"    - {_short(before)}", style="red", markup=False)
            if after is not None:
                out.print(f"    + {_short(after)}", style="green", markup=False)


def _short(value: Any) -> str:
    text = " ".join(value.split()) if isinstance(value, str) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


# --- the replay -------------------------------------------------------------------------------------------------------


async def _replay(
    clarion: Clarion,
    project: int,
    before: Mapping[str, Workflow],
    after: Mapping[str, Workflow],
    span: int,
    sample: int,
    budget: int | None,
    quiet: bool,
) -> dict[str, Any]:
    until = clarion.clock.now()
    runner = Replay(clarion.db, clarion.contexts, render_key, clarion.checks.fits)
    share = await runner.share_of(project, sample)
    plan = replay.Plan(project, [*before.values()], [*after.values()], until - span, until, share, budget)
    with progress("replayed events") as report:
        outcome = await runner.run(plan, None if quiet else report)
    return {
        "from": rfc3339(plan.since),
        "to": rfc3339(plan.until),
        "events": outcome.events,
        "recipients": len(outcome.people),
        "share": round(share, 6),
        "messages": outcome.messages,
        "compares": COMPARES,
        "channels": _channels(outcome),
    }


def _channels(outcome: Outcome) -> list[dict[str, Any]]:
    """By workflow and channel: both sides' figures, and what comes out otherwise, the most frequent first."""
    places = sorted({(workflow, channel) for side in outcome.sides for workflow, channel, *_ in side.outcomes})
    found = []
    for workflow, channel in places:
        kinds = [kind for kind in outcome.changes if (kind.workflow, kind.channel) == (workflow, channel)]
        kinds.sort(key=lambda kind: (-outcome.changes[kind], str(kind)))
        found.append(
            {
                "workflow": workflow,
                "channel": channel.value,
                "before": _figures(outcome.sides[0], workflow, channel),
                "after": _figures(outcome.sides[1], workflow, channel),
                "changes": [_change(kind, outcome.changes[kind], outcome.samples[kind]) for kind in kinds],
            }
        )
    return found


def _figures(side: replay.Tally, workflow: str, channel: str) -> dict[str, Any]:
    here = {key[2:]: n for key, n in side.outcomes.items() if key[:2] == (workflow, channel)}
    digests = {outcome: n for (w, c, outcome), n in side.digests.items() if (w, c) == (workflow, channel)}
    figures: dict[str, Any] = dict.fromkeys(("sent", "gathered", "waiting", "refused"), 0)
    reasons: dict[str, int] = {}
    for (outcome, reason), n in here.items():
        if outcome == "suppressed":
            reasons[reason or ""] = n
        else:
            figures[outcome] = figures.get(outcome, 0) + n
    put_off = {reason: n for (w, c, reason), n in side.put_off.items() if (w, c) == (workflow, channel)}
    return {**figures, "digests": digests.get("sent", 0), "suppressed": reasons, "put_off": put_off}


def _change(kind: Kind, count: int, samples: Sequence[Sample]) -> dict[str, Any]:
    return {
        "count": count,
        "before": {"outcome": kind.before[0], "reason": kind.before[1]},
        "after": {"outcome": kind.after[0], "reason": kind.after[1]},
        "samples": [
            {
                "event": ids.show(ids.EVENT, s.event),
                "recipient": s.recipient,
                "before": _fate(s.before),
                "after": _fate(s.after),
            }
            for s in samples
        ],
    }


def _fate(fate: Fate) -> dict[str, Any]:
    return {
        "outcome": fate.outcome,
        "reason": fate.reason and fate.reason.value,
        "put_off": [reason.value for reason in fate.put_off],
        "trace": [t._asdict() for t in fate.trace],
    }


def _show_replay(told: Mapping[str, Any]) -> None:
    part = "" if told["share"] >= 1 else f" (about {told['share']:.1%} of all: --sample)"
    out.print(
        f"\nReplayed {told['events']:,} events from {told['from']} to {told['to']}, "
        f"{told['messages']:,} messages to {told['recipients']:,} people{part}.",
        markup=False,
    )
    out.print(f"Compared: {told['compares']}\n", style="dim", markup=False)
    changed = [channel for channel in told["channels"] if channel["changes"] or channel["before"] != channel["after"]]
    rows = [
        (c["workflow"], c["channel"], *(_moved(_count(c["before"], n), _count(c["after"], n)) for n in _COUNTED))
        for c in changed
    ]
    columns = ("WORKFLOW", "CHANNEL", "SENT", "DIGESTS SENT", "GATHERED", "NOT SENT", "STILL WAITING", "TIMES PUT OFF")
    table(columns, rows, "Nothing would have come out otherwise.")
    for c in changed:
        out.print(f"\n{c['workflow']} by {c['channel']}", style="bold", markup=False)
        _show_put_off(c["before"]["put_off"], c["after"]["put_off"])
        for change in c["changes"]:
            _show_change(change)


_COUNTED = ("sent", "digests", "gathered", "suppressed", "waiting", "put_off")


def _count(figures: Mapping[str, Any], name: str) -> int:
    value = figures[name]
    return sum(value.values()) if isinstance(value, dict) else int(value)


def _moved(before: int, after: int) -> str:
    return f"{before:,}" if before == after else f"{before:,} → {after:,} ({after - before:+,})"


def _show_put_off(before: Mapping[str, int], after: Mapping[str, int]) -> None:
    for reason in sorted(before.keys() | after.keys()):
        old, new = before.get(reason, 0), after.get(reason, 0)
        if old != new:
            out.print(f"  put off for {reason}: {_moved(old, new)}", markup=False)


def _show_change(change: Mapping[str, Any]) -> None:
    before, after = change["before"], change["after"]
    out.print(f"  {change['count']:>6,}  {_words(before)} → {_words(after)}", markup=False)
    if after["reason"]:
        out.print(f"          {SENTENCES[Reason(after['reason'])]}", style="dim", markup=False)
    for s in change["samples"][:1]:
        out.print(f"          for example {s['event']} to {s['recipient']}", style="dim", markup=False)
        for name in ("before", "after"):
            said = [f"{t['rule']} {t['result']}: {t['detail']}" for t in s[name]["trace"]]
            said += [f"put off for {reason}" for reason in s[name]["put_off"]]
            out.print(f"            {name:<7} {'; '.join(said) or '-'}", style="dim", markup=False)


def _words(side: Mapping[str, Any]) -> str:
    words = _OUTCOMES[side["outcome"]]
    return f"{words} ({side['reason']})" if side["reason"] and side["outcome"] != "gathered" else words
