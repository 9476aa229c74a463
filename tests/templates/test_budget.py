from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from time import process_time
from typing import Any

import pytest
from liquid.exceptions import LiquidError, ResourceLimitError

from clarion.model.events import Event
from clarion.model.words import Channel
from clarion.model.workflow import AttachedFile, Step, Workflow
from clarion.sandbox.processes import Sandbox
from clarion.templates import budget
from clarion.templates.budget import BudgetedTemplates
from clarion.templates.liquid import _PLAIN, SHORT, Slow, compiled
from clarion.templates.rendering import KEY_WORK, RenderFailed, render_key

WORDS = " ".join(str(n) for n in range(9_999))
#: A list of little length, and of much within.
DEEP: Any = [json.loads("[" + ",".join(["[" * 60 + "]" * 60] * 1_500) + "]")]
ROWS = [{"n": n, "t": "x"} for n in range(3_500)]
SCOPE = {"event": {"data": {"words": WORDS, "others": WORDS + ".", "rows": ROWS, "nest": [[]] * 80_000, "deep": DEEP}}}


@pytest.fixture
async def templates() -> AsyncIterator[BudgetedTemplates]:
    sandbox = Sandbox(0.3)
    yield BudgetedTemplates(sandbox)
    await sandbox.close()


def workflow(**parts: str) -> Workflow:
    step = Step(index=0, channel=Channel.EMAIL, parts={"subject": "s", **parts})
    return Workflow(key="w", version=1, steps=(step,))


async def render(templates: BudgetedTemplates, made: Workflow, scope: dict[str, Any] = SCOPE) -> str:
    return (await templates.render(1, made, made.steps[0], None, scope)).parts["text"]


@pytest.mark.parametrize(
    "source",
    [
        "{% for row in event.data.rows %}{{ row.n }}{% endfor %}",
        "{% for i in (1..20) %}{% assign w = event.data.words | split: ' ' %}{% endfor %}",
        "{% for i in (1..9000) %}{% if 1 == 2 %}{% endif %}{% endfor %}",
        "{% tablerow i in (1..4000) %}{% endtablerow %}",
        "{{ event.data.nest }}",
        "{{ event.data.deep }}",
        *(
            f"{{% for i in (1..400) %}}{{% assign y = event.data.deep | {name} %}}{{% endfor %}}"
            for name in (
                "truncate: 5",
                "uniq",
                "truncatewords: 2",
                "base64_decode",
                "split: ','",
                "where: 'a'",
                "join",
                "map: 'a'",
                "sort",
                "json",
                "replace: 'a', 'b'",
                "concat: event.data.deep",
                "compact",
                "append: event.data.deep",
            )
        ),
        "{% for i in (1..400) %}{% if event.data.deep contains event.data.deep %}{% endif %}{% endfor %}",
        "{{ event.data.nest | join }}",
        "{{ event.data.words }}{{ event.data.words | upcase }}" * 20,
        "{% for i in (1..900) %}{% if event.data.words contains 'x' %}{% endif %}{% endfor %}",
        "{% for i in (1..900) %}{% if event.data.words == event.data.others %}{% endif %}{% endfor %}",
        "{% for i in (1..900) %}{% if event.data.rows != event.data.nest %}{% endif %}{% endfor %}",
        "{% for i in (1..900) %}{% case event.data.words %}{% when 1, event.data.others %}{% endcase %}{% endfor %}",
        "{% capture x %}{{ event.data.words }}{% endcapture %}" * 190,
    ],
)
def test_what_is_much_work_is_not_done_where_others_wait(source: str) -> None:
    with pytest.raises(Slow):
        compiled(source, False).render(SCOPE, SHORT)


#: What an event may hold at most, wide, long or deep; a text of what costs filters most, numbers with many digits.
HOSTILE: dict[str, Any] = {
    "deep": DEEP,
    "wide": [[]] * 80_000,
    "flat": list(range(40_000)),
    "words": [["a" * 20] * 9_000],
    "rows": [{"a": {"b": ["x" * 100] * 10}, "c": n} for n in range(180)],
    "object": {f"key{n}": [n] for n in range(15_000)},
    "text": "a " * 95_000,
    "marks": "&a<b%c" * 30_000,
    "long": 10**4_200,
    "longs": [10**4_200] * 60,
    "nothing": None,
}
_ARGUMENTS = ["", ": 'a'", ": 1", ": event.data.x", ": 'a', event.data.x", ": event.data.x, event.data.x"]


@pytest.mark.parametrize("name", sorted(_PLAIN.filters))
def test_no_filter_does_much_where_others_wait_whatever_it_is_given(name: str) -> None:
    for kind, value in HOSTILE.items():
        scope = {"event": {"data": {"x": value}}, "now": "2026-01-01T00:00:00Z"}
        for arguments in _ARGUMENTS:
            for left in ("event.data.x", "'a b'", "(1..9999)"):
                source = f"{{% for i in (1..800) %}}{{% assign y = {left} | {name}{arguments} %}}{{% endfor %}}"
                # Generous: 10 to 30 ms; without bounds it was seconds
                assert spent(source, scope) < 0.15, (kind, left, arguments)


def spent(source: str, scope: dict[str, Any]) -> float:
    """Seconds of processor time, at best of three if it is long."""
    template, times = compiled(source, False), [1.0]
    while times[-1] > 0.1 and len(times) < 4:
        began = process_time()
        with suppress(Slow, LiquidError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError):
            template.render(scope, SHORT)
        times.append(process_time() - began)
    return min(times)


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in (1..500) %}{% assign y = (1..9999) | sum %}{% endfor %}",
        "{% for i in (1..900) %}{% assign y = event.data.long | truncate: 3 %}{% endfor %}",
        "{% for i in (1..200) %}{{ event.data.long }}{% endfor %}",
        "{% for i in (1..900) %}{% assign y = event.data.long | plus: 1.5 %}{% endfor %}",
        "{% for i in (1..900) %}{% assign y = 'a' | truncate: num: 5, end: event.data.deep %}{% endfor %}",
        "{% for i in (1..900) %}{% assign y = event.data.longs | join %}{% endfor %}",
        "{{ event.data.marks | escape_once }}",
    ],
)
def test_ranges_long_numbers_and_named_arguments_are_work_too(source: str) -> None:
    with pytest.raises(Slow):
        compiled(source, False).render({"event": {"data": HOSTILE}}, SHORT)


@pytest.mark.parametrize("call", ["replace: 'a', sub: event.data.x", "replace: seq: 'a', sub: event.data.x"])
def test_a_named_argument_makes_nothing_huge_either(call: str) -> None:
    with pytest.raises(ResourceLimitError, match="replace: over 1,000,000 characters"):
        compiled(f"{{{{ event.data.x | {call} }}}}", False).render({"event": {"data": {"x": "a" * 20_000}}})


def test_what_filters_do_not_look_at_is_no_work() -> None:
    items = [{"actor": f"a{n}", "data": {"text": "word " * 400, "tags": ["x"] * 50}} for n in range(100)]
    source = "{{ digest.items | size }}{% assign a = digest.items | map: 'actor' | uniq | first %}{{ a }}"
    source += "{% assign b = digest.items | sort: 'actor' | last %}{{ b.actor }}{% assign c = b | default: a %}"
    scope = {"digest": {"items": items}}
    assert compiled(source * 10, False).render(scope, SHORT) == "100a0a99" * 10


def test_what_messages_usually_say_is_little_work() -> None:
    items = [{"actor": "a", "data": {"text": "word " * 100}} for _ in range(50)]
    source = "{% for item in digest.items %}{{ item.actor }}: {{ item.data.text | truncate: 80 | upcase }}{% endfor %}"
    assert compiled(source * 5, True).render({"digest": {"items": items}}, SHORT)


async def test_what_is_much_work_comes_out_the_same_from_a_child(templates: BudgetedTemplates) -> None:
    made = workflow(text="{% for row in event.data.rows %}{{ row.n }},{% endfor %}")
    # Given a text that is tried here, and isn't any more once it is known
    assert templates.here(1, made, made.steps[0], None, SCOPE) is None
    assert templates.cost(1, made, made.steps[0]) == budget.EXPECTED
    # Then a child makes what would have been made here, and its cost is known from then on
    assert await render(templates, made) == "".join(f"{n}," for n in range(3_500))
    cost = templates.cost(1, made, made.steps[0])
    assert cost is not None
    assert cost != budget.EXPECTED
    # And when it is little after all, it is made here again
    for _ in range(30):
        await templates.in_sandbox(1, made, made.steps[0], None, {"event": {"data": {}}})
    assert templates.cost(1, made, made.steps[0]) is None


async def test_a_large_source_is_never_compiled_where_others_wait(templates: BudgetedTemplates) -> None:
    made = workflow(text="{{ event.id }}" * 500)
    assert templates.here(1, made, made.steps[0], None, SCOPE) is None


async def test_files_come_along_from_a_child(templates: BudgetedTemplates) -> None:
    file = AttachedFile(filename="a.txt", content_type="text/plain", text="\u00e4\u20ac")
    step = Step(index=0, channel=Channel.EMAIL, parts={"subject": "s", "text": "t"}, attachments=(file,), tags=("x",))
    made = Workflow(key="w", version=1, steps=(step,))
    here = templates.here(1, made, step, None, {})
    assert await templates.in_sandbox(1, made, step, None, {}) == here


@pytest.mark.parametrize(
    "source, place",
    [
        ("a\n\n{% for i in (1..9000) %}{% assign w = event.data.words | split: ' ' | sort %}{% endfor %}", "(line 3: "),
        ("{% for i in (1..9999) %}" + "{% if 1 == 2 %}{% endif %}" * 390 + "{% endfor %}", "(line 1: "),
    ],
)
async def test_what_takes_for_ever_fails_with_its_place(templates: BudgetedTemplates, source: str, place: str) -> None:
    with pytest.raises(
        RenderFailed, match=r"w, steps\[0\] \(email\), text: it takes longer than a message may"
    ) as caught:
        await render(templates, workflow(text=source))
    assert place in str(caught.value)


async def test_a_limit_tells_its_place_too(templates: BudgetedTemplates) -> None:
    with pytest.raises(RenderFailed, match=r"over 10,000 rounds of its loops \(line 2: for i in"):
        await render(
            templates, workflow(text="x\n{% for i in (1..9000) %}{% endfor %}{% for i in (1..9000) %}{% endfor %}")
        )


def test_a_key_that_is_too_much_work_is_the_events_own_and_made_once() -> None:
    event = Event(project=1, id=bytes(16), type="t", data={"words": WORDS}, accepted_at=0)
    heavy = "{% for i in (1..900) %}{% assign w = event.data.words | split: ' ' | uniq %}{% endfor %}{{ w.size }}"
    key, work = render_key(heavy, event)
    assert key.startswith("evt_")
    assert work == KEY_WORK
    deep = Event(project=1, id=bytes(16), type="t", data={"x": DEEP}, accepted_at=0)
    began = process_time()
    assert render_key("{% for i in (1..400) %}{% assign y = event.data.x | truncate: 5 %}{% endfor %}x", deep)[0] != "x"
    assert process_time() - began < 0.3, "20 to 30 ms; seconds where only the outermost list counts"
    light = "{% assign w = event.data.words | split: ' ' | uniq %}{{ w.size }}"
    assert render_key(light, event)[0] == "9999"
    assert render_key(light, event) is render_key(light, event)
