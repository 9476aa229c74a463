"""The consent record of a person: every change of what the person is told and where, with who asked for it and when.

It is read from the ledger's `record` stream, which is never dropped: it outlives the person's erasure, and holds ids,
words and figures only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from clarion.clock import rfc3339
from clarion.ledger.facts import (
    AddressSuppressed,
    AttentionBudgetSet,
    By,
    ContactPointChanged,
    Fact,
    PreferenceSet,
    RecipientChanged,
    RecipientErased,
    Subscribed,
    SuppressionLifted,
    UnknownFact,
    Unsubscribed,
)
from clarion.model import ids
from clarion.model.workflow import UNCAPPED
from clarion.storage.database import Tx
from clarion.storage.ledger import Place, record_of

#: Who asked, in words, by what `By` begins with.
SOURCES = {
    "key": "the application, with the API key",
    "token": "the person, with a recipient token",
    "unsubscribe": "the person, with one click in a message",
    "provider": "a provider's word",
    "event": "the application, in an event's audience",
    "cli": "an operator, on the command line",
}  # nosec B105  # no password
#: Entries that whoever reads a whole record reads at once.
TOGETHER = 500
_HIDDEN = frozenset({"project", "at", "recipient", "subject", "by"})
_NAMES = "SELECT id, name FROM api_keys WHERE id IN :keys"


class Change(NamedTuple):
    """One entry of the record."""

    place: Place
    at: int  #: ms
    fact: str
    sentence: str  #: what changed, for people
    by: By
    source: str  #: who asked, for people
    detail: dict[str, Any]  #: the fact's own fields, without those that say nothing


def shown(change: Change) -> dict[str, Any]:
    """An entry as the API and `clarion consent --json` give it."""
    return {
        "at": rfc3339(change.at),
        "fact": change.fact,
        "what": change.sentence,
        "by": change.by,
        "source": change.source,
        "detail": change.detail,
    }


async def consent_of(tx: Tx, project: int, recipient: str, after: Place, most: int) -> list[Change]:
    """The record behind a place, the oldest first."""
    recorded = await record_of(tx, project, recipient, after, most)
    names = await _key_names(tx, {by for r in recorded if (by := getattr(r.fact, "by", None)) is not None})
    return [
        Change(
            place=Place(r.xid, r.position),
            at=r.fact.at,
            fact=type(r.fact).__name__,
            sentence=sentence(r.fact),
            by=(by := getattr(r.fact, "by", None)),
            source=_source(by, names),
            detail={k: v for k, v in msgspec.structs.asdict(r.fact).items() if k not in _HIDDEN and v is not None},
        )
        for r in recorded
    ]


async def _key_names(tx: Tx, askers: set[str]) -> dict[str, str]:
    """The names of the API keys among the askers, revoked ones included."""
    keys = sorted(ids.read(ids.API_KEY, by.removeprefix("key:")) for by in askers if by.startswith("key:"))
    if not keys:
        return {}
    rows = await tx.fetch(_NAMES, keys=keys)
    return {f"key:{ids.show(ids.API_KEY, bytes(row['id']))}": row["name"] for row in rows}


def _source(by: By, names: dict[str, str]) -> str:
    if by is None:
        return "not recorded"
    kind, _, key = by.partition(":")
    said = SOURCES.get(kind, by)
    return f"{said} {names.get(by) or key}" if kind == "key" else said


def sentence(fact: Fact) -> str:
    """What changed, in words."""
    told = _SENTENCES.get(type(fact))
    return type(fact).__name__ if told is None else told(fact)


def _contact(fact: ContactPointChanged) -> str:
    return f"{fact.channel} address ({fact.kind}) {fact.act}" + (f": {fact.cause}" if fact.cause else "")


def _profile(fact: RecipientChanged) -> str:
    changed = f"profile changed: {', '.join(fact.fields)}" if fact.fields else "profile"
    return changed + (", made known" if fact.created else "")


def _budget(fact: AttentionBudgetSet) -> str:
    most = "as the settings say" if fact.budget is None else f"at most {fact.budget} messages a day"
    return f"everything together: {most}"


def _what(scope: str, channel: str) -> str:
    kind, _, name = scope.partition(":")
    if not kind:
        return f"{channel} for everything"
    return f"{channel} for {name}" if kind == "type" else f"{channel} for the category {name}"


def _said(fact: PreferenceSet) -> str:
    if fact.removed:
        return "nothing said any more"
    words = [] if fact.enabled is None else ["switched on" if fact.enabled else "switched off"]
    for most, span in ((fact.max_per_hour, "an hour"), (fact.max_per_day, "a day")):
        if most is not None:
            words.append(f"no cap {span}" if most == UNCAPPED else f"at most {most} {span}")
    if fact.on_limit is not None:
        words.append(f"over the limit: {fact.on_limit}")
    if fact.digest is not None:
        words.append(f"gathered {fact.digest.replace('_', ' ')}")
    return ", ".join(words)


_SENTENCES: dict[type[Fact], Callable[[Any], str]] = {
    PreferenceSet: lambda fact: f"{_what(fact.scope, fact.channel)}: {_said(fact)}",
    AttentionBudgetSet: _budget,
    Subscribed: lambda fact: f"subscribed to the topic {fact.topic}",
    Unsubscribed: lambda fact: f"unsubscribed from the topic {fact.topic}",
    ContactPointChanged: _contact,
    AddressSuppressed: lambda fact: f"{fact.channel} address barred: {fact.cause}",
    SuppressionLifted: lambda fact: f"{fact.channel} address no longer barred",
    RecipientChanged: _profile,
    RecipientErased: lambda _fact: "erased, with everything personal",
    UnknownFact: lambda fact: f"{fact.kind}: written by a newer release of Clarion",
}
