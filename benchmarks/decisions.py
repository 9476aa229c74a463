"""How many pure verdicts a second one core gives: in_app + push + email, quiet hours, preferences, caps.

Contexts are ready and grants come from a mapping, as they do in the driver. A batch has 1,000 people in twenty time
zones, and every batch is decided at another second.
"""

from __future__ import annotations

from clarion.clock import HOUR, SECOND, monotonic
from clarion.decisions.rules import candidates, verdicts
from clarion.model.decision import GRANTED, Context, Grant
from clarion.model.events import Event
from clarion.model.ids import Id, new_id
from clarion.model.people import ContactPoint, Preference, Profile
from clarion.model.words import Channel, ContactKind, OnLimit, Reason
from clarion.model.workflow import ChannelDefault, Step, Window, Workflow

PEOPLE = 1_000
SECONDS = 3.0
NOON = 1_810_036_800_000  # 2027-05-11T12:00:00Z: some are in their quiet hours, some aren't

ZONES = (
    "Europe/Berlin", "Europe/London", "America/New_York", "America/Los_Angeles", "America/Sao_Paulo", "Asia/Kolkata",
    "Asia/Tokyo", "Australia/Sydney", "Pacific/Auckland", "Africa/Lagos", "America/Chicago", "Europe/Moscow",
    "Asia/Shanghai", "Asia/Kathmandu", "America/Denver", "Europe/Paris", "Asia/Singapore", "America/Santiago",
    "Asia/Beirut", "Pacific/Kiritimati",
)  # fmt: skip

WORKFLOW = Workflow(
    key="comment_reply",
    on=("comment.created",),
    category="social",
    when=("all", (("ne", ("event", "data", "private"), True),)),
    preferences={Channel.PUSH: ChannelDefault(max_per_hour=5, max_per_day=20, on_limit=OnLimit.DEFER)},
    steps=(
        Step(index=0, channel=Channel.IN_APP),
        Step(index=1, channel=Channel.PUSH),
        Step(index=2, channel=Channel.EMAIL),
    ),
)


def contexts() -> list[Context]:
    """One event to `PEOPLE` people of whom no two are quite alike."""
    event = Event(
        project=1, id=new_id(NOON, b"0123456789"), type="comment.created", data={"author": "Ada", "text": "Yes"}
    )
    return [_context(event, number) for number in range(PEOPLE)]


def _context(event: Event, number: int) -> Context:
    contacts = [
        ContactPoint(id=number.to_bytes(16, "big"), channel=Channel.PUSH, kind=ContactKind.FCM),
        ContactPoint(id=(number + PEOPLE).to_bytes(16, "big"), channel=Channel.EMAIL, kind=ContactKind.EMAIL),
    ]
    preferences = [
        Preference(channel=Channel.EMAIL, type="comment_reply", enabled=number % 5 != 0),
        Preference(channel=Channel.PUSH, category="social", max_per_day=30),
        Preference(channel=Channel.EMAIL, max_per_hour=10),
    ]
    quiet = Window(start=60 * (20 + number % 4), end=60 * (6 + number % 3))
    profile = Profile(id=f"user-{number}", timezone=ZONES[number % len(ZONES)], quiet_hours=(quiet,))
    said = tuple(preferences[: number % 4])
    return Context(event=event, workflow=WORKFLOW, profile=profile, contacts=tuple(contacts), preferences=said)


def measure(seconds: float = SECONDS) -> float:
    """Verdicts a second on one core."""
    batch = contexts()
    full = Grant(False, Reason.CAP_HOUR, NOON + HOUR, "5 of 5 in the last hour")
    owners = [c.request.owner for found in candidates(batch, NOON) for c in found if c.request is not None]
    grants: dict[Id, Grant] = {owner: full if number % 20 == 0 else GRANTED for number, owner in enumerate(owners)}
    done, now, start = 0, NOON, monotonic()
    while (took := monotonic() - start) < seconds:
        now += SECOND
        done += sum(len(one.verdicts) for one in verdicts(batch, candidates(batch, now), grants, now))
    return done / took


if __name__ == "__main__":
    print(f"{measure():,.0f} verdicts/s")
