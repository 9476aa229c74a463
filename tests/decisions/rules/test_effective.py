from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from clarion.decisions.rules.effective import effective
from clarion.model.people import Preference, Tenant
from clarion.model.words import Channel, OnLimit
from clarion.model.workflow import UNCAPPED, ChannelDefault
from tests.decisions.rules.samples import WORKFLOW

EMAIL = Channel.EMAIL
SCOPES: tuple[dict[str, Any], ...] = ({"type": "comment_reply"}, {"category": "social"}, {})

maybe = st.none() | st.integers(0, 50) | st.just(UNCAPPED)
words = st.fixed_dictionaries(
    {
        "enabled": st.none() | st.booleans(),
        "max_per_hour": maybe,
        "max_per_day": maybe,
        "on_limit": st.none() | st.sampled_from(OnLimit),
        "digest": st.none() | st.sampled_from(["at_once", "hourly", "daily at 9:00"]),
    }
)
levels = st.tuples(st.none() | words, st.none() | words, st.none() | words)
noise = st.lists(
    st.builds(
        lambda scope, said: Preference(**scope, **said),
        st.sampled_from(
            [
                {"channel": Channel.SMS, "type": "comment_reply"},
                {"channel": Channel.SMS},
                {"channel": EMAIL, "type": "digest"},
                {"channel": EMAIL, "category": "alerts"},
            ]
        ),
        words,
    ),
    max_size=3,
)


def preferences(said: tuple[dict[str, Any] | None, ...]) -> list[Preference]:
    return [
        Preference(channel=EMAIL, **scope, **what) for scope, what in zip(SCOPES, said, strict=True) if what is not None
    ]


def first(*values: Any) -> Any:
    """The first that isn't None."""
    return ([value for value in values if value is not None] or [None])[0]


def lesser(*values: int | None) -> int | None:
    """The least that isn't None."""
    return min((value for value in values if value is not None), default=None)


@given(
    levels,
    levels,
    noise,
    noise,
    st.none() | st.tuples(st.booleans(), maybe, maybe, st.none() | st.sampled_from(OnLimit)),
    st.randoms(),
)
def test_field_by_field_the_most_specific_word_wins(
    own: Any, theirs: Any, other: list[Preference], others: list[Preference], default: Any, lots: Any
) -> None:
    # Given words of the recipient, of the tenant and of the workflow, among others that don't matter, in any order
    mine, tenants = preferences(own) + other, preferences(theirs) + others
    lots.shuffle(mine)
    lots.shuffle(tenants)
    said = (
        ChannelDefault()
        if default is None
        else ChannelDefault(enabled=default[0], max_per_hour=default[1], max_per_day=default[2], on_limit=default[3])
    )
    workflow = replace(WORKFLOW, preferences={} if default is None else {EMAIL: said})
    # When they are resolved
    held = effective(workflow, EMAIL, mine, Tenant(id="t", preferences=tuple(tenants)))
    # Then
    in_order = [level or {} for level in (*own, *theirs)]

    def of(field: str, *more: Any) -> Any:
        return first(*(level.get(field) for level in in_order), *more)

    def typed(field: str) -> list[Any]:
        return [level.get(field) for level in (in_order[0], in_order[3])]

    def untyped(field: str) -> Any:
        return first(lesser(*(w.get(field) for w in in_order[1:3])), lesser(*(w.get(field) for w in in_order[4:6])))

    assert held.enabled is of("enabled", said.enabled)
    assert held.chosen is (of("enabled") is not None)
    assert held.on_limit is of("on_limit", said.on_limit, OnLimit.DROP)
    assert held.digest == of("digest")
    assert held.max_per_hour == open_ended(first(*typed("max_per_hour"), said.max_per_hour, 5))
    assert held.max_per_day == open_ended(first(*typed("max_per_day"), said.max_per_day, 20))
    assert held.channel_max_per_hour == open_ended(untyped("max_per_hour"))
    assert held.channel_max_per_day == open_ended(untyped("max_per_day"))


def open_ended(most: int | None) -> int | None:
    """What a cap comes to that may have been said to be none."""
    return None if most == UNCAPPED else most


def test_by_default_a_type_is_capped_and_a_channel_is_not() -> None:
    held = effective(WORKFLOW, EMAIL, ())
    assert (held.max_per_hour, held.max_per_day, held.channel_max_per_hour, held.channel_max_per_day) == (
        5,
        20,
        None,
        None,
    )
    assert (held.enabled, held.on_limit, held.digest) == (True, OnLimit.DROP, None)


def test_in_app_is_uncapped_unless_set() -> None:
    held = effective(WORKFLOW, Channel.IN_APP, ())
    assert (held.max_per_hour, held.max_per_day) == (None, None)
    held = effective(
        WORKFLOW, Channel.IN_APP, [Preference(channel=Channel.IN_APP, type="comment_reply", max_per_hour=3)]
    )
    assert (held.max_per_hour, held.max_per_day) == (3, None)


def test_none_is_a_word_that_ends_the_look_for_wider_caps() -> None:
    # A person's none for a type is above the workflow's caps, and above its defaults
    workflow = replace(WORKFLOW, preferences={EMAIL: ChannelDefault(max_per_hour=1, max_per_day=2)})
    own = [Preference(channel=EMAIL, type="comment_reply", max_per_hour=UNCAPPED)]
    held = effective(workflow, EMAIL, own)
    assert (held.max_per_hour, held.max_per_day) == (None, 2)

    # A person's for the channel is above the tenant's, and leaves the type's caps alone
    tenant = Tenant(id="t", preferences=(Preference(channel=EMAIL, max_per_day=3, max_per_hour=1),))
    held = effective(WORKFLOW, EMAIL, [Preference(channel=EMAIL, max_per_day=UNCAPPED)], tenant)
    assert (held.channel_max_per_hour, held.channel_max_per_day, held.max_per_day) == (1, None, 20)

    # And the workflow's own is above the defaults
    workflow = replace(WORKFLOW, preferences={EMAIL: ChannelDefault(max_per_hour=UNCAPPED, max_per_day=UNCAPPED)})
    held = effective(workflow, EMAIL, ())
    assert (held.max_per_hour, held.max_per_day) == (None, None)


def test_a_zero_is_a_word_and_not_silence() -> None:
    said = [Preference(channel=EMAIL, type="comment_reply", max_per_day=0), Preference(channel=EMAIL, max_per_hour=0)]
    held = effective(WORKFLOW, EMAIL, said)
    assert (held.max_per_day, held.channel_max_per_hour) == (0, 0)


def test_who_decided_is_said_in_words() -> None:
    def who(own: Preference | None = None, tenants: Preference | None = None) -> str:
        tenant = None if tenants is None else Tenant(id="t", preferences=(tenants,))
        return effective(WORKFLOW, EMAIL, () if own is None else (own,), tenant).said_by

    of_type = Preference(channel=EMAIL, type="comment_reply", enabled=False)
    of_category = Preference(channel=EMAIL, category="social", enabled=False)
    of_channel = Preference(channel=EMAIL, enabled=False)
    assert who() == "the workflow's default"
    assert who(of_type) == "the recipient for comment_reply"
    assert who(of_category) == "the recipient for the category social"
    assert who(of_channel) == "the recipient for the channel"
    assert who(None, of_type) == "the tenant for comment_reply"
    assert who(replace(of_channel, enabled=None), of_category) == "the tenant for the category social"
    assert who(of_channel, of_channel) == "the recipient for the channel"


def test_a_workflow_without_a_category_heeds_no_category() -> None:
    plain = replace(WORKFLOW, category=None)
    assert effective(plain, EMAIL, [Preference(channel=EMAIL, category="social", enabled=False)]).enabled
