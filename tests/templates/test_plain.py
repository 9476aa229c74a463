from __future__ import annotations

import pytest

from clarion.templates.liquid import compiled
from clarion.templates.plain import text_of, tidy


def text(html: str, **scope: object) -> str:
    return tidy(compiled(text_of(html), False).render(scope))


@pytest.mark.parametrize(
    "html, expected",
    [
        ("<h1>Hello</h1><p>one<br>two</p>", "Hello\n\none\ntwo"),
        ('<p>See <a href="https://x.example/?a=1&amp;b=2">here</a>.</p>', "See here (https://x.example/?a=1&b=2)."),
        ("<p>a &amp; b &lt;c&gt;</p>", "a & b <c>"),
        ("<style>p { color: red }</style><title>no</title>yes", "yes"),
        ('<div style="display: none"><div>no</div></div>yes', "yes"),
        ("<!-- no --><!--[if mso]><p>no</p><![endif]-->yes", "yes"),
        ('a <img src="x"> b', "a b"),
        ("<p>never closed <b", "never closed"),
    ],
)
def test_the_text_is_what_a_person_would_read(html: str, expected: str) -> None:
    assert text(html) == expected


def test_the_text_says_the_same_as_the_html_to_everyone() -> None:
    html = '{% if name %}<p>Hi {{ name | escape }}</p>{% endif %}<a href="{{ url }}">{{ body | newline_to_br }}</a>'
    assert text(html, name="<Ann>", url="u", body="a\nb") == "Hi <Ann>\na\nb (u)"
    assert text(html, body="b") == "b ()"


@pytest.mark.parametrize("stem", ["<a ", "<!--", "<a href='", "</", "<b>", "<![if ", "&", "<style>"])
def test_malformed_html_takes_no_time(stem: str) -> None:
    assert isinstance(text_of(stem * 25_000), str)
