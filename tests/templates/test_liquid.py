from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from liquid.exceptions import LiquidError, ResourceLimitError

from clarion.templates import liquid
from clarion.templates.liquid import BrokenTemplate, check, compiled, render_text


@pytest.mark.parametrize(
    "source, expected",
    [
        ("{{ event.data.author }} replied", "Ann replied"),
        ("{{ event.data.nothing.at.all }}|{{ nobody }}|{{ event.data.author.x }}", "||"),
        ("{% if digest.count > 1 %}{{ digest.count }} replies{% else %}one{% endif %}", "3 replies"),
        ("{{ event.data.text | truncate: 10 }}", "a long ..."),
        ("{% for i in event.data.items %}{{ forloop.index }}{{ i }}{% endfor %}", "1x2y"),
        ("{{ event.data | json }}", '{"author":"Ann","text":"a long text","items":["x","y"]}'),
        ("{% raw %}{{ x }}{% endraw %}", "{{ x }}"),
    ],
)
def test_templates_render(source: str, expected: str) -> None:
    data = {"author": "Ann", "text": "a long text", "items": ["x", "y"]}
    assert render_text(source, {"event": {"data": data}, "digest": {"count": 3}}) == expected


def test_values_are_made_safe_only_where_html_is_written() -> None:
    source, scope = "{{ name }}{{ name | append: '&' }}{{ name | safe }}", {"name": "<b>"}
    assert compiled(source, True).render(scope) == "&lt;b&gt;&lt;b&gt;&<b>"  # what the author wrote is trusted
    assert compiled(source, False).render(scope) == "<b><b>&<b>"


@pytest.mark.parametrize(
    "source, line, mend",
    [
        ("{{ a | upcasee }}", 1, "did you mean upcase?"),
        ("x\n{{ a | zzz }}", 2, "unknown filter 'zzz': there are abs,"),
        ("x\n\n{% fro i in a %}", 3, "did you mean {% for %}?"),
        ("{% include 'secrets' %}", 1, "unknown tag {% include %}"),
        ("{% render 'secrets' %}", 1, "unknown tag {% render %}"),
        ("a\n{{ a == b }}", 2, "compare with == inside {% if %}"),
        ("{{ a b c }}", 1, "{{ a b c }}"),
        ("{% if a %}", 1, "add {% endif %}"),
    ],
)
def test_what_cannot_be_rendered_is_refused_when_it_is_loaded(source: str, line: int, mend: str) -> None:
    with pytest.raises(BrokenTemplate) as caught:
        check(source)
    assert mend in caught.value.message
    assert caught.value.line == line
    assert "\n" not in caught.value.message


def test_a_check_tells_the_names_that_a_template_takes_from_its_scope() -> None:
    source = (
        "{% assign a = event.x %}{% for i in recipient.l %}{{ i }}{{ forloop.index }}{{ a }}{% endfor %}{{ urls.u }}"
    )
    assert check(source) == {"event", "recipient", "urls"}


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in (1..100000000) %}x{% endfor %}",
        "{% for i in (1..100000000) reversed %}x{% endfor %}",
        "{% for i in (1..200) %}{% for j in (1..200) %}{% endfor %}{% endfor %}",
        "{% for i in (1..6000) %}{% endfor %}{% for i in (1..6000) %}{% endfor %}",
        "{% tablerow i in (1..99999) %}{% endtablerow %}",
        "{{ (1..100000000) | join: ',' }}",
        "{% for i in (1..9000) %}{{ text }}{% endfor %}",
        "{{ text }}" * 3_000,
        "{% capture c %}{% for i in (1..9000) %}{{ text }}{% endfor %}{% endcapture %}",
        "{% assign x = text %}{% for i in (1..40) %}{% assign x = x | append: x %}{% endfor %}",
        "{% assign x = 'aaaaaaaaaa' %}{% for i in (1..9) %}{% assign x = x | replace: 'a', x %}{% endfor %}",
        "{% assign x = items %}{% for i in (1..40) %}{% assign x = x | concat: x %}{% endfor %}",
        "{% assign x = 'a,a,a,a' %}{% for i in (1..20) %}{% assign x = x | split: ',' | join: x %}{% endfor %}",
        "{% assign x = 9 %}{% for i in (1..99) %}{% assign x = x | times: x %}{% endfor %}",
    ],
)
def test_no_template_runs_or_grows_without_end(source: str) -> None:
    with pytest.raises(ResourceLimitError):
        render_text(source, {"text": "x" * 1_000, "items": ["x" * 100] * 10})


@pytest.mark.parametrize("value", ["1e999999999", "nan", "x" * 10_000, ["a"], {"a": 1}, None, True, 10**40])
@pytest.mark.parametrize(
    "filter_", ["ceil", "times: 2", "date: '%Y'", "sum", "json", "size", "round: 3", "slice: 0, 9"]
)
def test_odd_values_end_in_a_text_or_an_error_but_never_in_a_stop(value: object, filter_: str) -> None:
    template = compiled(f"{{{{ value | {filter_} }}}}", False)
    with suppress(LiquidError, ArithmeticError, ValueError):
        assert isinstance(template.render({"value": value}), str)


def test_now_is_what_the_scope_says_and_never_the_clock() -> None:
    scope = {"now": "2001-02-03T04:05:06.000Z", "recipient": {"timezone": "Asia/Kathmandu"}}
    assert render_text('{{ "now" | date: "%d.%m.%Y %H:%M" }}', scope) == "03.02.2001 09:50"
    assert render_text('{{ now | date: "%Y" }}', scope) == "2001"
    assert render_text('{{ now }}{{ "now" | date: "%Y" }}', {}) == ""


@pytest.mark.parametrize(
    "value, zone, expected",
    [
        ("2027-03-14T07:00:00Z", "America/New_York", "2027-03-14 03:00"),
        ("2027-03-14T06:59:00Z", "America/New_York", "2027-03-14 01:59"),
        (1_800_000_000, "Europe/Berlin", "2027-01-15 09:00"),
        ("1800000000", None, "2027-01-15 08:00"),
        ("2027-03-14T09:00", "Europe/Berlin", "2027-03-14 09:00"),
        ("2027-03-14", "Europe/Berlin", "2027-03-14 00:00"),
        ("2027-03-14T07:00:00Z", "Mars/Olympus", "2027-03-14 07:00"),
        ("soon", "Europe/Berlin", "soon"),
        (None, "Europe/Berlin", ""),
        (True, "Europe/Berlin", "True"),
        (10**30, "Europe/Berlin", str(10**30)),
    ],
)
def test_dates_are_shown_in_the_recipients_zone(value: object, zone: str | None, expected: str) -> None:
    scope = {"value": value, "recipient": {"timezone": zone}}
    assert render_text("{{ value | date: '%Y-%m-%d %H:%M' }}", scope) == expected


def test_a_template_is_compiled_once() -> None:
    assert compiled("once {{ a }}", False) is compiled("once {{ a }}", False)
    assert compiled("once {{ a }}", False) is not compiled("once {{ a }}", True)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
paths = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(".".join)
pieces = st.lists(
    paths.map(lambda path: f"{{{{ {path} }}}}") | st.sampled_from(["<b>", " ", "x"]), min_size=1, max_size=5
)


@given(pieces, st.dictionaries(st.sampled_from("abc"), json_values), st.booleans())
def test_the_quick_way_comes_out_as_liquid_itself(chunks: list[str], scope: dict[str, Any], escape: bool) -> None:
    source = "".join(chunks)
    # Given a template with plain values only, which is rendered without python-liquid
    template = compiled(source, escape)
    assert template._quick is not None
    # Then python-liquid gives the same
    slow = liquid.Template(template._bound, None, 0)
    assert template.render(scope) == slow.render(scope)
