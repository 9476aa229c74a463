from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.templates.tokens import MAX_SOURCE, BrokenTemplate, Hidden, scan


@pytest.mark.parametrize(
    "source, line, mend",
    [
        ("Hello {{ name", 1, "add }}"),
        ("one\ntwo {% if a %}\nthree", 2, "add {% endif %}"),
        ("{% if a %}{% for i in b %}{% endif %}", 1, "the open block is {% for %}"),
        ("a\n\n{% endif %}", 3, "no block is open here"),
        ("{% raw %}{{ x }}", 1, "add {% endraw %}"),
        ("x\n{{ }}", 2, "is empty"),
        ("{{ a" + " " * 200 + "}}", 1, "over 100 blanks"),
        ("{{ a" + "b" * 5_000 + "}}", 1, "over 4,000 characters"),
        ("a" * (MAX_SOURCE + 1), 1, "at most"),
    ],
)
def test_a_source_that_the_lexer_would_choke_on_is_refused_with_its_line_and_the_mend(
    source: str, line: int, mend: str
) -> None:
    with pytest.raises(BrokenTemplate) as caught:
        scan(source)
    assert caught.value.line == line
    assert mend in caught.value.message


@pytest.mark.parametrize("stem", ["{{", "{%", "{{ x", "{% raw %}", "{{ '", "{%- ", "{{ ("])
def test_thousands_of_unclosed_tags_are_refused_in_one_pass(stem: str) -> None:
    # Given a source for which python-liquid's own lexer would take minutes (the test's time-out is the watch)
    with pytest.raises(BrokenTemplate):
        scan(stem * 25_000)


def test_what_stands_in_a_raw_block_is_no_liquid() -> None:
    source = "a {% raw %}{{ never closed {% if %}{% endraw %} b {{ c }}"
    assert [source[p.start : p.end] for p in scan(source)] == [
        "{% raw %}{{ never closed {% if %}{% endraw %}",
        "{{ c }}",
    ]


@given(st.lists(st.sampled_from(["{{ a }}", "{% assign b = 1 %}", "text", "lq0z", "lqq1z", "<b>", "\n", "é"])))
def test_hidden_liquid_comes_back_as_it_was(chunks: list[str]) -> None:
    source = "".join(chunks)
    hidden = Hidden(source)
    assert "{" not in hidden.text
    assert hidden.put_back(hidden.text) == source
