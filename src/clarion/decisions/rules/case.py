"""What the rules work on, a run and each channel step of it, and what they answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from clarion import zones
from clarion.decisions.rules.plan import Plan, StepPlan
from clarion.model.decision import Context, Trace
from clarion.model.ids import Id
from clarion.model.people import ContactPoint
from clarion.model.words import Priority, Reason, VerdictKind


class Ruling(NamedTuple):
    """A rule's word that settles a channel step: nothing after it is asked."""

    verdict: VerdictKind
    reason: Reason
    trace: Trace
    until: int | None = None


def suppress(rule: str, reason: Reason, detail: str) -> Ruling:
    """It doesn't go out."""
    return Ruling(VerdictKind.SUPPRESS, reason, Trace(rule, "suppress", detail))


def defer(rule: str, reason: Reason, until: int, detail: str) -> Ruling:
    """It is decided again at `until`."""
    return Ruling(VerdictKind.DEFER, reason, Trace(rule, "defer", detail), until)


class Run:
    """One workflow run for one recipient."""

    __slots__ = ("_home", "_notification", "context", "critical", "now", "plan", "steps")

    def __init__(self, context: Context, plan: Plan, now: int) -> None:
        self.context, self.plan, self.steps, self.now = context, plan, plan.steps, now
        self.critical = context.priority is Priority.critical
        self._notification = context.notification
        self._home: str | None = None

    @property
    def notification(self) -> Id:
        """The id of the notification that is decided."""
        if self._notification is None:
            self._notification = self.context.notification_id
        return self._notification

    @property
    def home(self) -> str:
        """The person's time zone."""
        if self._home is None:
            self._home = zones.first_known(self.context.profile.timezone)
        return self._home


class Case:
    """One channel step of a run on its way through the rules. What a rule finds out, the later ones use."""

    __slots__ = ("bucket", "bucket_until", "contacts", "preference", "run", "slides", "step", "trace")

    def __init__(self, run: Run, step: StepPlan) -> None:
        self.run, self.step = run, step
        self.contacts: tuple[ContactPoint, ...] = ()  #: where it goes: rule 3
        self.preference = step.default  #: what holds for this person: rule 4
        self.bucket: str | None = None  #: the bucket it joins or opens: rule 5
        self.bucket_until: int | None = None  #: when that closes
        self.slides = False  #: later, because of this message
        self.trace: list[Trace] = []

    def passes(self, rule: str, detail: str) -> None:
        """Notes that `rule` let it pass, and why."""
        self.trace.append(Trace(rule, "pass", detail))

    def notes(self, rule: str, detail: str) -> None:
        """Says something that settles nothing."""
        self.trace.append(Trace(rule, "note", detail))


RunRule = Callable[[Run], Ruling | None]
StepRule = Callable[[Case], Ruling | None]
