from __future__ import annotations

import copy
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.clock import DAY, HOUR, MINUTE
from clarion.model.words import Channel, OnLimit, Priority
from clarion.model.workflow import ChannelDefault, Dedupe, Digest, Step, Window, Workflow
from clarion.workflows.definition import content_hash, parse, restore
from clarion.workflows.problems import WorkflowErrors

#: Every key of the workflow file.
WHOLE: dict[str, Any] = {
    "key": "comment_reply",
    "name": "Replies to your comments",
    "enabled": True,
    "on": ["comment.created", "comment.edited"],
    "category": "social",
    "priority": "high",
    "when": {
        "event.data.private": {"ne": True},
        "any": [{"event.data.n": {"gt": 3}}, {"recipient.attributes.plan": "pro"}],
    },
    "strategy": "first_available",
    "ignores_opt_out": False,
    "expires_after": "24h",
    "on_unknown": "hold",
    "data_schema": {"type": "object", "required": ["author"], "properties": {"author": {"type": "string"}}},
    "preferences": {
        "in_app": {"enabled": False},
        "push": {"enabled": True, "max_per_hour": 5, "max_per_day": 20, "on_limit": "digest"},
    },
    "quiet_hours": "drop",
    "send_windows": [{"days": ["mon", "fri"], "start": "09:00", "end": "18:00"}, {"start": "22:00", "end": "00:00"}],
    "dedupe": {"key": "{{ event.data.comment_id }}", "window": "10m"},
    "digest": {"key": "{{ event.data.post_id }}", "mode": "lookback", "window": "5m"},
    "failover_after": "5m",
    "steps": [
        {
            "channel": "in_app",
            "title": "t",
            "body": "b",
            "action_url": "https://x.example/{{ event.id }}",
            "digest": "off",
        },
        {
            "channel": "push",
            "title": "t",
            "digest": {"mode": "calendar", "every": {"at": "09:00", "days": ["sat"]}, "min_items": 3},
        },
        {"wait": "10m", "unless": "seen"},
        {
            "channel": "email",
            "when": {"recipient.attributes.plan": "pro"},
            "subject": "s",
            "html": "<p>h</p>",
            "text": "t",
        },
        {"channel": "sms", "body": "b", "digest": {"mode": "sliding", "window": "1m", "max_window": "1h30m"}},
        {"channel": "web_push", "body": "b"},
        {"channel": "chat", "body": "b"},
        {"channel": "webhook"},
    ],
}


def changed(**changes: Any) -> dict[str, Any]:
    """A small workflow, with changes."""
    small = {"key": "w", "on": ["t"], "steps": [{"channel": "sms", "body": "hello"}]}
    return {key: value for key, value in {**small, **changes}.items() if value is not ...}


def sms(*before: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The steps: some before, and a text message."""
    return {"steps": [*before, {"channel": "sms", "body": "x", **more}]}


def email(**parts: Any) -> dict[str, Any]:
    return {"steps": [{"channel": "email", "subject": "s", **parts}]}


def push(channel: str = "push", **options: Any) -> dict[str, Any]:
    return {"steps": [{"channel": channel, "title": "t", **options}]}


def window(**keys: Any) -> dict[str, Any]:
    return {"send_windows": [{"start": "09:00", "end": "10:00", **keys}]}


def caps(**keys: Any) -> dict[str, Any]:
    return {"preferences": {"sms": keys}}


def digest(**keys: Any) -> dict[str, Any]:
    return {"digest": keys}


def german(**steps: Any) -> dict[str, Any]:
    return {"locales": {"de": {"steps": steps}}}


def problems(plain: object, **named: Any) -> list[str]:
    with pytest.raises(WorkflowErrors) as caught:
        parse(plain, **named)
    return [str(problem) for problem in caught.value.problems]


def test_every_key_of_the_workflow_file_is_read() -> None:
    workflow = parse(WHOLE)
    key = "{{ event.data.post_id }}"
    assert workflow == Workflow(
        key="comment_reply",
        name="Replies to your comments",
        on=("comment.created", "comment.edited"),
        category="social",
        priority=Priority.high,
        when=workflow.when,
        strategy="first_available",
        expires_after=DAY,
        on_unknown="hold",
        data_schema=WHOLE["data_schema"],
        preferences={
            Channel.IN_APP: ChannelDefault(enabled=False),
            Channel.PUSH: ChannelDefault(max_per_hour=5, max_per_day=20, on_limit=OnLimit.DIGEST),
        },
        quiet_hours="drop",
        send_windows=(Window(start=540, end=1080, days=(0, 4)), Window(start=1320, end=1440)),
        dedupe=Dedupe(key="{{ event.data.comment_id }}", window=10 * MINUTE),
        digest=Digest(mode="lookback", key=key, window=5 * MINUTE),
        failover_after=5 * MINUTE,
        steps=(
            Step(
                index=0,
                channel=Channel.IN_APP,
                parts={"title": "t", "body": "b", "action_url": "https://x.example/{{ event.id }}"},
                digest_off=True,
            ),
            Step(
                index=1,
                channel=Channel.PUSH,
                parts={"title": "t"},
                digest=Digest(mode="calendar", key=key, at=(540,), days=(5,), min_items=3),
            ),
            Step(index=2, wait=10 * MINUTE, unless="seen"),
            Step(
                index=3,
                channel=Channel.EMAIL,
                when=workflow.steps[3].when,
                parts={"subject": "s", "html": "<p>h</p>", "text": "t"},
            ),
            Step(
                index=4,
                channel=Channel.SMS,
                parts={"body": "b"},
                digest=Digest(mode="sliding", key=key, window=MINUTE, max_window=HOUR + 30 * MINUTE),
            ),
            Step(index=5, channel=Channel.WEB_PUSH, parts={"body": "b"}),
            Step(index=6, channel=Channel.CHAT, parts={"body": "b"}),
            Step(index=7, channel=Channel.WEBHOOK),
        ),
    )
    assert workflow.when == (
        "all",
        (
            ("ne", ("event", "data", "private"), True),
            (
                "any",
                (
                    ("all", (("gt", ("event", "data", "n"), 3),)),
                    ("all", (("eq", ("recipient", "attributes", "plan"), "pro"),)),
                ),
            ),
        ),
    )
    assert workflow.steps[3].when == ("all", (("eq", ("recipient", "attributes", "plan"), "pro"),))


def test_what_a_push_step_says_besides_its_texts_becomes_parts() -> None:
    options: dict[str, Any] = {
        "image": "{{ event.data.image }}",
        "badge": "unread",
        "recall": True,
        "ttl": "1h",
        "collapse": "post-{{ event.data.post }}",
        "data": {"post": "{{ event.data.post }}"},
        "android": {"channel_id": "replies"},
        "ios": {"thread_id": "post"},
    }
    german = {"locales": {"de": {"steps": {"push": {"title": "T", "data": {"lang": "de"}}}}}}
    (step,) = parse(changed(**push(**options), **german)).steps
    assert step.parts == {
        "title": "t",
        "image": "{{ event.data.image }}",
        "badge": "unread",
        "recall": "true",
        "ttl": "3600",
        "collapse": "post-{{ event.data.post }}",
        "data.post": "{{ event.data.post }}",
        "android.channel_id": "replies",
        "ios.thread_id": "post",
    }
    assert step.locales == {"de": {"title": "T", "data.lang": "de"}}


def test_what_is_left_out_has_its_default() -> None:
    assert parse(changed()) == Workflow(
        key="w", name="w", on=("t",), steps=(Step(index=0, channel=Channel.SMS, parts={"body": "hello"}),)
    )


@pytest.mark.parametrize(
    "changes, told",
    [
        # keys and words
        ({"stepz": []}, "stepz: unknown key: did you mean steps?"),
        (sms(boddy="x"), "steps[0].boddy: unknown key: did you mean body?"),
        ({"key": ...}, "`key` is missing"),
        ({"key": "a b"}, "key: use letters, digits"),
        ({"key": ""}, "key: is empty"),
        ({"name": 5}, "name: expected a text, found a number: put it into quotes"),
        ({"name": "x" * 201}, "name: has 201 characters: at most 200"),
        ({"enabled": "yes"}, "enabled: expected true or false, found a text: write true"),
        ({"priority": "urgent"}, "priority: 'urgent' isn't known here: there are critical, high, normal, bulk"),
        ({"strategy": "first"}, "strategy: 'first' isn't known here: there are all, first_available"),
        ({"quiet_hours": "ignored"}, "quiet_hours: 'ignored' isn't known here: did you mean ignore?"),
        ({"on_unknown": "drop"}, "on_unknown: 'drop' isn't known here"),
        # on
        ({"on": ...}, "`on` is missing: list the event types"),
        ({"on": []}, "on: has 0 entries"),
        ({"on": ["a", "a"]}, "on[1]: a stands there twice: leave one out"),
        ({"on": "a.b"}, "on: expected a list, found a text: write [a.b]"),
        ({"on": ["a b"]}, "on[0]: not an event type"),
        # durations
        ({"expires_after": "1 day"}, "expires_after: not a duration: write it like"),
        ({"expires_after": 60}, "expires_after: a duration needs its unit: write 60s"),
        ({"failover_after": "0s"}, "failover_after: must be longer than nothing and at most 30d"),
        ({"expires_after": "31d"}, "expires_after: must be longer than nothing and at most 30d"),
        # preferences
        ({"preferences": {"mail": {}}}, "preferences.mail: unknown channel: did you mean email?"),
        (caps(max_per_hour=0), "preferences.sms.max_per_hour: 0 is out of bounds: write a whole"),
        (caps(max_per_day=-3), "preferences.sms.max_per_day: -3 is out of bounds"),
        (caps(max_per_day=True), "max_per_day: expected a number, found true or false"),
        (caps(max_per_day=1.5), "max_per_day: expected a number, found a number with a fraction"),
        (caps(max_per_hour=None), 'max_per_hour: null says nothing: write a whole number of 1 or more, "none" for no'),
        (caps(max_per_day=None), "preferences.sms.max_per_day: null says nothing"),
        (caps(on_limit="wait"), "preferences.sms.on_limit: 'wait' isn't known here: there are"),
        # windows
        (window(start="09:00", end="09:00"), 'send_windows[0]: start and end are the same: the whole day'),
        (window(start="00:00", end="00:00"), "send_windows[0]: start and end are the same"),
        (window(start="24:00", end="09:00"), "send_windows[0].start: 24:00 can only end a window"),
        (window(start="9", end="10:00"), "send_windows[0].start: not a time of the day"),
        ({"send_windows": [{"start": "09:00"}]}, "send_windows[0]: `end` is missing"),
        (window(days=["monday"]), "days[0]: 'monday' isn't a weekday: did you mean mon?"),
        (window(days=["mon", "mon"]), "days[1]: mon stands there twice"),
        (window(days=[]), "days: has 0 entries"),
        # dedupe and digest
        ({"dedupe": {"key": "{{ event.id }}"}}, "dedupe: `window` is missing: say for how long"),
        ({"dedupe": {"key": "{{ event.id", "window": "1m"}}, "dedupe.key: {{ is never closed: add }}"),
        ({"digest": {"window": "5m"}}, "digest: `mode` is missing"),
        (digest(mode="fixed"), "digest: `window` is missing"),
        (digest(mode="sliding", window="5m"), "digest: `max_window` is missing: say when a sliding window ends"),
        (digest(mode="sliding", window="5m", max_window="1m"), "digest.max_window: is shorter than the window"),
        (digest(mode="calendar"), "digest: `every` is missing"),
        ({"digest": {"mode": "calendar", "every": {"days": ["mon"]}}}, "digest.every: `at` is missing"),
        ({"digest": {"mode": "fixed", "window": "5m", "every": {}}}, "digest.every: unknown key"),
        (digest(mode="fixed", window="5m", min_items=0), "digest.min_items: 0 is out of bounds"),
        (digest(mode="fixed", window="11d", min_items=2), "digest: with min_items it waits for up to 3 windows"),
        (digest(mode="calendar", every={"at": ["09:00", "9:30"]}), "digest.every.at[1]: not a time of the day"),
        (digest(mode="calendar", every={"at": ["09:00", "09:00"]}), "digest.every.at[1]: 09:00 stands there twice"),
        ({**digest(mode="fixed", window="1h"), "expires_after": "1h"}, "digest: gathers for as long as"),
        (
            {"steps": [{"wait": "2h"}, {"channel": "sms", "body": "x"}], "expires_after": "1h"},
            "steps[1]: comes after waits as long as `expires_after`",
        ),
        # conditions
        ({"when": {"evnt.data.x": 1}}, "when.evnt.data.x: evnt.data.x: a path begins with one of"),
        ({"when": {"event.data.x": {"equals": 1}}}, "equals' is no comparison; there are eq,"),
        ({"when": "always"}, "when: expected a mapping, found a text"),
        ({"when": {"any": {}}}, "when.any: `any` takes a list"),
        # the schema
        ({"data_schema": {"type": "objekt"}}, "data_schema: not a valid JSON schema at type:"),
        ({"data_schema": {"$ref": "https://example.com/schema"}}, "data_schema: not a valid JSON schema"),
        ({"data_schema": []}, "data_schema: expected a mapping, found a list"),
        # steps
        ({"steps": ...}, "`steps` is missing: list what to send"),
        ({"steps": []}, "steps: has 0 entries"),
        ({"steps": [{"channel": "sms", "body": "x"}] * 51}, "steps: has 51 entries: 1 to 50"),
        ({"steps": ["sms"]}, "steps[0]: expected a mapping, found a text"),
        ({"steps": [{"channel": "pigeon", "body": "x"}]}, "steps[0].channel: 'pigeon' isn't known here"),
        ({"steps": [{"body": "x"}]}, "steps[0]: a step has either a `channel` or a `wait`"),
        ({"steps": [{"channel": "sms", "wait": "1m"}]}, "steps[0]: a step has either a `channel` or a `wait`"),
        ({"steps": [{"channel": "sms"}]}, "steps[0]: a step for sms without content: add body"),
        (sms(body=" "), "steps[0].body: is empty: write something, or leave the key out"),
        ({"steps": [{"channel": "push"}]}, "steps[0]: a step for push without content: add title or body"),
        ({"steps": [{"channel": "email", "text": "x"}]}, "steps[0]: a step for email without content: add subject"),
        (email(), "steps[0]: a step for email without content: add html or mjml or text"),
        (sms(subject="x"), "steps[0].subject: unknown key"),
        (sms(unless="seen"), "steps[0].unless: belongs to a wait"),
        ({"steps": [{"channel": "sms", "body": "x"}, {"wait": "1m"}]}, "steps[1]: a wait as the last step"),
        (sms({"wait": "-1m"}), "steps[0].wait: not a duration"),
        (sms({"wait": "0m"}), "steps[0].wait: must be longer than nothing"),
        (sms({"wait": "9999d"}), "steps[0].wait: must be longer than nothing and at most 30d"),
        (sms({"wait": "20d"}, {"wait": "20d"}), "steps: wait for more than 30 days in all"),
        (sms({"wait": "1m", "unless": "clicked"}), "steps[0].unless: 'clicked' isn't known here"),
        (sms({"wait": "1m", "when": {}}), "steps[0].when: unknown key"),
        # options of push
        (push(soud="x"), "steps[0].soud: unknown key: did you mean sound?"),
        (push(android={"colour": "red"}), "steps[0].android.colour: unknown key: did you mean color?"),
        (push(android={"color": "red"}), "steps[0].android.color: not a colour: write it like #3366ff"),
        (push(ios={"interruption_level": "loud"}), "steps[0].ios.interruption_level: there are passive, active"),
        (push(ios="x"), "steps[0].ios: expected a mapping, found a text"),
        (push(badge="many"), "steps[0].badge: expected a number, `unread` or a template that gives a number"),
        (push(badge=-1), "steps[0].badge: expected a number"),
        (push(badge="{{ a"), "steps[0].badge: {{ is never closed"),
        (push(ttl="29d"), "steps[0].ttl: must be longer than nothing and at most 28d"),
        (push(data={"order": 7}), "steps[0].data.order: expected a text, found a number: put it into quotes"),
        (push(data={"from": "x"}), "steps[0].data.from: can't be a key of data"),
        (push(data={"google.x": "x"}), "steps[0].data.google.x: can't be a key of data"),
        (push(data={"order": "{% if a %}"}), "steps[0].data.order: {% if %} is never closed"),
        (push(recall="yes"), "steps[0].recall: expected true or false, found a text: write true"),
        (push("web_push", recall=True), "steps[0].recall: unknown key"),
        (push("web_push", sound="x"), "steps[0].sound: unknown key"),
        (sms(badge=1), "steps[0].badge: unknown key"),
        # templates
        (sms(body="{{ a | upcse }}"), "steps[0].body: unknown filter 'upcse': did you mean upcase?"),
        (sms(body="{% if a %}"), "steps[0].body: {% if %} is never closed: add {% endif %}"),
        (email(html="<p>", mjml="<mjml></mjml>"), "steps[0].html: an e-mail has html or mjml, not both"),
        (email(mjml="<mjml><mj-txt/></mjml>"), "steps[0].mjml: unknown element <mj-txt>"),
        (email(html="a.html"), "steps[0].html: names a file, and no files are read here"),
        (email(html="{% if a %}<style>{% endif %}</style>x"), "steps[0]: no plain text can be made of the HTML"),
        # locales
        (german(sms={"title": "x"}), "locales.de.steps.sms.title: unknown key: there is body"),
        (german(smss={"body": "x"}), "locales.de.steps.smss: the workflow has no such step: did you mean sms?"),
        (german(sms={"body": "{{"}), "locales.de.steps.sms.body: {{ is never closed"),
        ({"locales": {"german language": {}}}, "locales.german language: not a locale"),
        ({"locales": {"de": {"stepz": {}}}}, "locales.de.stepz: unknown key: did you mean steps?"),
        # what no message can hold
        (sms(body="a\0b"), "steps[0].body: holds a NUL character, which no message can: take it out"),
        (email(text="t", subject="\0"), "steps[0].subject: holds a NUL character"),
        (email(html="<p>\0"), "steps[0].html: holds a NUL character"),
        ({"name": "a\0"}, "name: holds a NUL character"),
        ({"dedupe": {"key": "\0", "window": "1m"}}, "dedupe.key: holds a NUL character"),
        (digest(key="\0", mode="fixed", window="1m"), "digest.key: holds a NUL character"),
        (german(sms={"body": "\0"}), "locales.de.steps.sms.body: holds a NUL character"),
        (push(data={"a": "\0"}), "steps[0].data.a: holds a NUL character"),
        (email(text="t", headers={"X-A": "a\0"}), "steps[0].headers.X-A: holds a NUL character"),
        # sizes
        (sms(body="x" * 10_001), "steps[0].body: has 10,001 characters: at most 10,000"),
        ({"name": "\ud800"}, "holds half a character"),
        ({"data_schema": {"enum": ["x" * 1_000_000]}}, "is too large: at most 1,000,000 bytes"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place_and_its_mend(changes: dict[str, Any], told: str) -> None:
    assert any(told in problem for problem in problems(changed(**changes))), problems(changed(**changes))


def test_all_problems_are_told_at_once_and_each_once() -> None:
    plain = changed(
        key="a b",
        on=[],
        prioritty="high",
        when={"x": 1, "y": 2},
        steps=[{"channel": "sms"}, {"wait": "x"}, {"channel": "fax"}],
    )
    paths = ["steps[0]", "steps[1].wait", "steps[2].channel", "key", "on", "when.x", "when.y", "prioritty"]
    with pytest.raises(WorkflowErrors) as caught:
        parse(plain)
    assert sorted(problem.path for problem in caught.value.problems) == sorted(paths)
    assert caught.value.code == "invalid_workflow"


def test_unknown_keys_alone_have_the_code_for_it() -> None:
    with pytest.raises(WorkflowErrors) as caught:
        parse(changed(stepz=[]))
    assert (caught.value.code, caught.value.where, caught.value.status) == ("unknown_field", "stepz", 422)


@pytest.mark.parametrize("plain", [None, [], "x", 5])
def test_a_workflow_is_a_mapping(plain: object) -> None:
    assert "a workflow is a mapping" in problems(plain)[0]


def test_the_key_of_the_url_stands_for_the_workflows_own() -> None:
    assert parse(changed(key=...), key="w").key == "w"
    assert "the key is 'v' here" in problems(changed(key="w"), key="v")[0]


def test_nesting_without_end_is_refused_and_not_followed() -> None:
    deep: dict[str, Any] = {}
    for _ in range(5_000):
        deep = {"any": [deep]}
    assert problems(changed(when=deep)) == ["is nested over 40 deep"]


def test_locales_are_read_by_channel_by_place_and_by_list() -> None:
    steps = [
        {"channel": "sms", "body": "one"},
        {"wait": "1m"},
        {"channel": "sms", "body": "two"},
        {"channel": "chat", "body": "c"},
    ]
    by_place = {"name": "Eins", "steps": {"0": {"body": "eins"}, "chat": {"body": "k"}}}
    by_list = {"steps": [{"channel": "sms", "body": "uno"}, {"channel": "sms", "body": "due"}]}
    in_order = {"steps": [{}, {}, {"body": "deux"}]}
    workflow = parse(changed(steps=steps, locales={"de": by_place, "it": by_list, "fr-CA": in_order}))
    assert workflow.names == {"de": "Eins"}
    assert [step.locales.get("de") for step in workflow.steps] == [{"body": "eins"}, None, None, {"body": "k"}]
    assert [step.locales.get("it") for step in workflow.steps] == [{"body": "uno"}, None, {"body": "due"}, None]
    assert workflow.steps[2].locales["fr-ca"] == {"body": "deux"}


def test_a_channel_that_comes_twice_is_asked_for_by_its_place() -> None:
    steps = [{"channel": "sms", "body": "one"}, {"channel": "sms", "body": "two"}]
    told = problems(changed(steps=steps, locales={"de": {"steps": {"sms": {"body": "x"}}}}))
    assert told == ["locales.de.steps.sms: there are 2 steps for sms: name the one by its place, 0 or 1"]


def test_what_was_accepted_once_can_always_be_restored() -> None:
    stored = msgspec.json.decode(msgspec.json.encode(WHOLE))
    assert restore(stored) == parse(WHOLE)
    # And also if it wouldn't be accepted any more
    assert restore(changed(unheard_of=1, steps=[{"channel": "sms", "body": "{{ a | gone }}"}])).steps[0].parts == {
        "body": "{{ a | gone }}"
    }


def test_the_order_of_keys_changes_no_hash_and_everything_else_does() -> None:
    assert content_hash(dict(reversed(list(WHOLE.items())))) == content_hash(WHOLE)
    other = copy.deepcopy(WHOLE)
    other["steps"][0]["title"] = "u"
    assert content_hash(other) != content_hash(WHOLE)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "x", "5m", "sms", "{{ a }}", "{{"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*WHOLE, *WHOLE["steps"][1], "any", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.sampled_from([*WHOLE, "locales"]), json_values)
def test_any_json_is_either_a_workflow_or_told_what_is_wrong(key: str, value: object) -> None:
    with suppress(WorkflowErrors):
        assert parse({**WHOLE, key: value}).steps
