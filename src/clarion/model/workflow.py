"""A workflow: the recipe for one notification type. `clarion.workflows` reads it from YAML and JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from clarion.model.words import Channel, OnLimit, Priority

#: The caps of a type on a channel where neither workflow nor preference says otherwise (in_app: none).
#: A cap of which somebody said that there is none, "none" outside; None is one of which nobody said anything. To a
#: release that doesn't know it, it is a number that nobody reaches.
UNCAPPED = 2**31 - 1
DEFAULT_MAX_PER_HOUR = 5
DEFAULT_MAX_PER_DAY = 20

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Hours of the local day, end exclusive, across midnight if `end` <= `start` (24:00 is 1440).

    `days` are the local weekdays (0 = Monday) on which the window STARTS; `channel` None means all.
    """

    start: int  #: minutes after local midnight, 0-1439
    end: int  #: minutes after local midnight, 1-1440
    days: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)
    channel: Channel | None = None


class ChannelDefault(msgspec.Struct, frozen=True, kw_only=True):
    """What the workflow says for a channel where the person says nothing. None: not said."""

    enabled: bool = True
    max_per_hour: int | None = None
    max_per_day: int | None = None
    on_limit: OnLimit | None = None


class Dedupe(msgspec.Struct, frozen=True, kw_only=True):
    """Events that render the same `key` within `window` ms are told once."""

    key: str  #: a Liquid template over `event`
    window: int


#: Windows that a digest with fewer than `min_items` waits for, its own included; then it goes out with what it has.
MOST_WINDOWS = 3


class Digest(msgspec.Struct, frozen=True, kw_only=True):
    """How events are gathered. `mode`: fixed, lookback, sliding (with `max_window`), calendar (`at`, `days`).

    With fewer than `min_items` it stays open for further windows, a bounded number of times.
    """

    mode: str
    key: str = ""  #: a Liquid template over `event`
    window: int = 0  #: ms
    max_window: int | None = None  #: ms
    at: tuple[int, ...] = ()  #: calendar: minutes after local midnight, in order
    days: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)
    min_items: int = 1


#: A condition as parsed: nested tuples that `clarion.decisions.rules.conditions` evaluates.
#: ("all", (c, ...)) | ("any", (c, ...)) | (op, path: tuple[str, ...], operand)
Condition = tuple[Any, ...]


class AttachedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that an email takes along, as its workflow says it: `content` gives base64, `text` the file as it is."""

    filename: str  #: a Liquid template
    content_type: str
    content: str | None = None  #: base64, or a Liquid template that gives it
    text: str | None = None  #: a Liquid template
    cid: str | None = None  #: shown inside the HTML under this name
    optional: bool = False  #: left out if its content is empty, which is an error otherwise


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One channel to tell, or (channel None) a wait before the steps that follow."""

    index: int  #: its place in the file, from 0: part of delivery ids
    channel: Channel | None = None
    wait: int | None = None  #: ms
    unless: str | None = None  #: seen | read | delivered: ends the run if so
    when: Condition | None = None
    digest: Digest | None = None
    digest_off: bool = False
    parts: dict[str, str] = {}  #: title body subject text html mjml action_url ... -> Liquid source
    locales: dict[str, dict[str, str]] = {}  #: locale -> the parts that differ
    headers: dict[str, str] = {}  #: email: further headers, name -> Liquid source
    tags: tuple[str, ...] = ()  #: email: Liquid sources
    attachments: tuple[AttachedFile, ...] = ()  #: email


class Workflow(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a workflow. Immutable: an edit makes a new version, a run keeps its own."""

    key: str
    version: int = 0  #: given by the catalogue when it is stored, from 1
    name: str = ""
    names: dict[str, str] = {}  #: locale -> the name there
    enabled: bool = True
    on: tuple[str, ...] = ()
    category: str | None = None
    priority: Priority = Priority.normal
    when: Condition | None = None
    strategy: str = "all"  #: all | first_available
    ignores_opt_out: bool = False
    expires_after: int | None = None  #: ms after the event's acceptance
    on_unknown: str = "resend"  #: resend | hold
    data_schema: dict[str, Any] | None = None
    preferences: dict[Channel, ChannelDefault] = {}
    quiet_hours: str = "defer"  #: defer | drop | ignore
    send_windows: tuple[Window, ...] = ()
    dedupe: Dedupe | None = None
    digest: Digest | None = None
    failover_after: int | None = None  #: ms
    steps: tuple[Step, ...] = ()

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The channels of its steps, in order, each once."""
        return tuple(dict.fromkeys(s.channel for s in self.steps if s.channel is not None))
