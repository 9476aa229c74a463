from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from clarion.clock import HOUR
from clarion.decisions.rules import candidates, verdicts
from clarion.decisions.rules.pipeline import RUN_RULES, STEP_RULES
from clarion.model.conditions import parse
from clarion.model.decision import GRANTED, Bucket, Context, Grant, Told
from clarion.model.people import Preference
from clarion.model.words import Channel, ContactKind, OnLimit, Priority, Reason, VerdictKind
from clarion.model.workflow import ChannelDefault, Digest
from tests.decisions.rules.samples import ADDRESS, NOW, PHONE, all_said, contact, context, decided, one, steps, window

FULL = Grant(False, Reason.CAP_DAY, NOW + HOUR, "20 of 20 in the last day")


def test_rules_are_asked_in_the_order_of_the_design() -> None:
    # Given a step that every rule would stop
    always = window("00:00", "12:30")
    off = Preference(channel=Channel.EMAIL, enabled=False)
    of = context(
        workflow={
            "strategy": "first_available",
            "digest": Digest(mode="fixed", window=HOUR),
            "steps": steps(Channel.EMAIL, when=parse({"event.data.author": "Bob"})),
        },
        profile={"quiet_hours": (always,)},
        contacts=(),
        preferences=(off,),
        buckets={0: Bucket("k")},
        told=Told(read_at=NOW, sent_channels=frozenset({Channel.PUSH})),
    )
    # When what stops it is lifted rule by rule, then the next rule speaks
    lifted: list[tuple[dict[str, Any], str]] = [
        ({"told": Told()}, "suppress alternative_used"),
        ({"workflow": {"steps": steps(Channel.EMAIL)}}, "suppress condition_false"),
        ({"contacts": (ADDRESS,)}, "suppress no_contact_point"),
        ({"preferences": ()}, "suppress opted_out"),
        ({"released": True}, "digest digest"),
        ({"profile": {"quiet_hours": ()}}, "defer quiet_hours"),
    ]
    for change, reads in lifted:
        assert all_said(decided(of, grants={0: FULL})) == {"email": reads}
        of = context(of, **change)
    assert all_said(decided(of, grants={0: FULL})) == {"email": "suppress cap_day"}
    assert all_said(decided(of)) == {"email": "deliver"}


def test_every_rule_says_in_a_line_what_it_does() -> None:
    for rule in (*RUN_RULES, *STEP_RULES):
        assert rule.__doc__


def test_a_trace_tells_the_whole_way_of_a_message() -> None:
    of = context(
        profile={"timezone": "Europe/Berlin", "quiet_hours": (window("22:00", "08:00"),)},
        contacts=(PHONE, contact(ContactKind.APNS, 9, suppressed="unregistered"), ADDRESS),
        preferences=(Preference(channel=Channel.PUSH, category="social", enabled=True),),
    )
    assert one(decided(of), Channel.PUSH).trace == (
        ("contact", "pass", "1 of 2 usable, the others suppressed: unregistered"),
        ("preference", "pass", "on: the recipient for the category social"),
        ("windows", "pass", "14:00 Europe/Berlin is outside the quiet hours 22:00-08:00"),
        ("caps", "pass", "within 5 an hour, 20 a day"),
    )


WINDOWS = st.lists(
    st.sampled_from([window("11:00", "13:00"), window("22:00", "08:00"), window("12:00", "24:00", 1)]), max_size=2
)
CHANNELS = st.sampled_from([Channel.IN_APP, Channel.PUSH, Channel.EMAIL])
PREFERENCES = st.lists(
    st.builds(
        Preference,
        channel=CHANNELS,
        type=st.sampled_from([None, "comment_reply", "other"]),
        enabled=st.sampled_from([None, None, True, False]),
        max_per_hour=st.none() | st.integers(0, 9),
        on_limit=st.none() | st.sampled_from(OnLimit),
        digest=st.sampled_from([None, None, "hourly", "at_once", "nonsense"]),
    ),
    max_size=3,
)
STEPS = st.lists(
    CHANNELS | st.tuples(st.integers(1, 90), st.sampled_from([None, "seen", "read", "delivered"])), max_size=5
)


@st.composite
def contexts(draw: st.DrawFn) -> Context:
    ladder = steps(*draw(STEPS))
    named = draw(st.none() | st.just(tuple(s.index for s in ladder if s.channel is not None)))
    return context(
        event={
            "send_at": draw(st.sampled_from([None, None, None, NOW - 1, NOW + HOUR])),
            "expires_at": draw(st.sampled_from([None, None, None, NOW, NOW + 1])),
            "priority": draw(st.none() | st.sampled_from(Priority)),
        },
        workflow={
            "steps": ladder,
            "strategy": draw(st.sampled_from(["all", "first_available"])),
            "quiet_hours": draw(st.sampled_from(["defer", "drop", "ignore"])),
            "ignores_opt_out": draw(st.booleans()),
            "when": draw(
                st.sampled_from([None, None, parse({"event.data.author": "Ada"}), parse({"event.actor": "x"})])
            ),
            "digest": draw(st.none() | st.just(Digest(mode="lookback", window=HOUR))),
            "preferences": draw(st.just({}) | st.just({Channel.PUSH: ChannelDefault(on_limit=OnLimit.DEFER)})),
        },
        profile={
            "id": draw(st.sampled_from(["ada", "bob", "eve"])),
            "timezone": draw(st.sampled_from([None, "Asia/Tokyo", "America/New_York"])),
            "quiet_hours": tuple(draw(WINDOWS)),
            "delivery_windows": tuple(draw(WINDOWS)),
        },
        contacts=draw(
            st.sampled_from(
                [(), (PHONE,), (PHONE, ADDRESS), (contact(ContactKind.FCM, 4, timezone="Asia/Tokyo"), ADDRESS)]
            )
        ),
        preferences=tuple(draw(PREFERENCES)),
        duplicate=draw(st.sampled_from([False, False, False, True])),
        told=Told(read_at=draw(st.none() | st.just(NOW)), sent_channels=frozenset(draw(st.sets(CHANNELS, max_size=1)))),
        steps=named or None,
        released=draw(st.booleans()),
        buckets=draw(st.sampled_from([{}, {index: Bucket("k", NOW - 1) for index in range(5)}])),
        attention_budget=draw(st.none() | st.just(3)),
    )


@settings(max_examples=300, deadline=None)
@given(st.lists(contexts(), max_size=3), st.randoms())
def test_every_decision_is_whole_and_reasoned_and_does_not_depend_on_its_neighbours(
    batch: list[Context], lots: Any
) -> None:
    # Given any batch, and any answers of the limits store
    found = candidates(batch, NOW)
    asked = [candidate.request for mine in found for candidate in mine if candidate.request is not None]
    grants = {request.owner: lots.choice([GRANTED, GRANTED, FULL, FULL._replace(free_at=None)]) for request in asked}
    # When it is decided
    all_decided = verdicts(batch, found, grants, NOW)
    # Then
    for of, mine, one_decided in zip(batch, found, all_decided, strict=True):
        # every channel step has its candidate and its verdict, in order
        wanted = [(step.index, step.channel) for step in of.workflow.steps if step.channel is not None]
        assert [(verdict.step, verdict.channel) for verdict in one_decided.verdicts] == wanted
        assert [(candidate.verdict.step, candidate.verdict.channel) for candidate in mine] == wanted
        for verdict, candidate in zip(one_decided.verdicts, mine, strict=True):
            assert verdict.trace
            assert (verdict.reason is None) == (verdict.verdict is VerdictKind.DELIVER)
            assert (verdict.until is not None) == (verdict.verdict in {VerdictKind.DEFER, VerdictKind.DIGEST})
            assert verdict.until is None or verdict.until > NOW
            # only what goes out may hold a slot, and only one that was granted
            assert verdict.owner is None or (verdict.verdict is VerdictKind.DELIVER and grants[verdict.owner].granted)
            assert candidate.request is None or candidate.verdict.verdict is VerdictKind.DELIVER
            assert verdict.verdict is not VerdictKind.DELIVER or candidate.request is None or verdict.owner
        if of.workflow.strategy == "first_available":
            assert sum(verdict.verdict is VerdictKind.DELIVER for verdict in one_decided.verdicts) <= 1
        # and deciding it alone gives the same
        assert verdicts([of], candidates([of], NOW), grants, NOW) == [one_decided]
