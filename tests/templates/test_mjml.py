from __future__ import annotations

import re

import pytest

from clarion.templates.liquid import compiled
from clarion.templates.mjml import html_of
from clarion.templates.tokens import BrokenTemplate


def page(inside: str, head: str = "") -> str:
    body = f"<mj-body><mj-section><mj-column>{inside}</mj-column></mj-section></mj-body>"
    return f"<mjml><mj-head>{head}</mj-head>{body}</mjml>"


def render(source: str, **scope: object) -> str:
    html = compiled(html_of(source), True).render(scope)
    return html[html.index("<body") :]


def test_values_in_texts_and_attributes_are_filled_in_and_escaped() -> None:
    source = page('<mj-button href="{{ url | default: "https://x.example/" }}">Go, {{ name }}</mj-button>')
    html = render(source, name="<Ann>")
    assert 'href="https://x.example/"' in html
    assert "Go, &lt;Ann&gt;" in html
    assert 'href="&#34;&gt;&lt;b&gt;"' in render(source, url='"><b>')


def test_conditions_and_loops_work_between_elements_and_between_rows() -> None:
    source = page(
        "{% for item in items %}<mj-text>{{ item }}{% if item < 2 %}!{% endif %}</mj-text>{% endfor %}"
        "<mj-table>{% for item in items %}<tr><td>row {{ item }}</td></tr>{% endfor %}</mj-table>"
    )
    html = render(source, items=[1, 2, 3])
    assert re.findall(r"<div[^>]*>(\d!?)</div>", html) == ["1!", "2", "3"]
    assert "<tr><td>row 1</td></tr><tr><td>row 2</td></tr><tr><td>row 3</td></tr></table>" in html


def test_rows_stay_in_one_table_body_when_styles_are_inlined() -> None:
    head = '<mj-style inline="inline">.loud { color: red }</mj-style>'
    source = page('<mj-table>{% for i in items %}<tr class="loud"><td>{{ i }}</td></tr>{% endfor %}</mj-table>', head)
    html = render(source, items=[1, 2])
    table = html[html.index('<tr class="loud"') - 7 : html.rindex("</tr></tbody>")]
    assert table.count("<tbody>") == 1
    assert table.count('style="color: red;"') == 2


def test_liquid_works_in_titles_previews_styles_and_comments() -> None:
    head = "<mj-title>{% if a %}{{ a }}{% endif %}</mj-title><mj-preview>{{ a }}</mj-preview>"
    head += "<mj-style>.x{color:{{ a }}}</mj-style>"
    html = compiled(html_of(page("<!-- {% if a %} --><mj-text>x</mj-text><!-- {% endif %} -->", head)), True).render(
        {"a": "red"}
    )
    assert "<title>red</title>" in html
    assert ".x{color:red}" in html
    assert "{" + "%" not in html


@pytest.mark.parametrize(
    "source, line, mend",
    [
        (page("\n<mj-txt>x</mj-txt>"), 2, "did you mean <mj-text>?"),
        (page("<mj-text>x"), 1, "closes nothing that is open here"),
        (page("\n\n<mj-text>x</mj-button>"), 3, "</mj-button> closes nothing that is open here"),
        ("<mjml><mj-body>", 1, "<mj-body> is never closed"),
        (page('\n<mj-include path="/etc/passwd" />'), 2, "put its content here"),
        ("<p>hello</p>", 1, "call this part html"),
        ("hello", 1, "call this part html"),
        (page('\n<mj-image width="{{ w }}" src="x" />'), 2, "MJML drops {{ w }} here: put it into <mj-text>"),
        (page("\n<mj-imge src='x' />"), 2, "did you mean <mj-image>?"),
        (page("<mj-text>a < b</mj-text>"), 1, "&lt;"),
        (page("<mj-text><p>x</mj-text>"), 1, "not closed"),
        (page("<mj-raw>" + "<b>" * 5_000 + "</b>" * 5_000 + "</mj-raw>"), 1, "nested over 100 deep"),
        (page("<mj-raw>" + "<!--" * 5_000 + "</mj-raw>"), 1, "add -->"),
        (page("<mj-text>{{ a</mj-text>"), 1, "add }}"),
    ],
)
def test_broken_mjml_is_refused_with_its_line_and_the_mend(source: str, line: int, mend: str) -> None:
    with pytest.raises(BrokenTemplate) as caught:
        html_of(source)
    assert mend in caught.value.message
    assert caught.value.line == line


def test_a_source_is_compiled_once() -> None:
    assert html_of(page("<mj-text>once</mj-text>")) is html_of(page("<mj-text>once</mj-text>"))
