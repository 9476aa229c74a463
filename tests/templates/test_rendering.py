from __future__ import annotations

import pytest

from clarion.model.events import Event
from clarion.model.people import Profile
from clarion.model.words import Channel
from clarion.model.workflow import Dedupe, Step, Workflow
from clarion.sandbox.processes import Sandbox
from clarion.templates.budget import BudgetedTemplates
from clarion.templates.preview import render_preview
from clarion.templates.rendering import RenderFailed, parts_for, referenced, render_key, render_parts
from clarion.templates.scope import scope_of

KITCHEN = BudgetedTemplates(Sandbox(1.0))

ANN = Profile(id="ann", attributes={"name": "Ann"}, locale="de-AT", timezone="Europe/Vienna")


def email(**parts: str) -> Step:
    return Step(index=0, channel=Channel.EMAIL, parts=parts)


def rendered(step: Step, locale: str | None = None, **data: object) -> dict[str, str]:
    event = Event(project=1, id=bytes(16), type="t", data=data)
    return render_parts(Workflow(key="w", steps=(step,)), step, locale, scope_of(event, ANN))


def test_html_is_escaped_and_texts_are_not() -> None:
    step = email(subject="{{ event.data.x }}", html="<p>{{ event.data.x }}</p>", text="{{ event.data.x }}")
    assert rendered(step, x="<&>") == {"subject": "<&>", "html": "<p>&lt;&amp;&gt;</p>", "text": "<&>"}


def test_mjml_comes_out_as_html_with_a_text_beside_it() -> None:
    column = "<mj-column><mj-text>Hi {{ event.data.x }}</mj-text></mj-column>"
    mjml = f"<mjml><mj-body><mj-section>{column}</mj-section></mj-body></mjml>"
    parts = rendered(email(subject="s", mjml=mjml), x="<Bo>")
    assert set(parts) == {"subject", "html", "text"}
    assert "Hi &lt;Bo&gt;" in parts["html"]
    assert parts["text"] == "Hi <Bo>"


@pytest.mark.parametrize("breaks", ["\n", "\r\n", "\r", "\x00", "\x0b", "\u2028", "\x85"])
def test_no_value_can_begin_a_new_header(breaks: str) -> None:
    value = f"hello{breaks}Bcc: everyone@example.com"
    assert (
        rendered(email(subject=" {{ event.data.x }} ", text="t"), x=value)["subject"]
        == "hello Bcc: everyone@example.com"
    )


def test_other_spaces_of_a_subject_stay() -> None:
    assert rendered(email(subject="50\u00a0€ für dich", text="t"))["subject"] == "50\u00a0€ für dich"


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", " JavaScript:alert(1)", "java\nscript:alert(1)", "data:text/html,x"]
)
def test_a_link_that_would_run_a_script_is_not_sent(url: str) -> None:
    step = Step(index=0, channel=Channel.IN_APP, parts={"title": "t", "action_url": "{{ event.data.url }}"})
    with pytest.raises(RenderFailed, match="action_url: a link that would run a script"):
        rendered(step, url=url)
    assert rendered(step, url="myapp://c/1")["action_url"] == "myapp://c/1"


LOCALISED = Step(
    index=0,
    channel=Channel.EMAIL,
    parts={"subject": "hello", "html": "<p>h</p>", "text": "t"},
    locales={"de": {"subject": "hallo", "mjml": "m"}, "de-at": {"subject": "servus"}, "pt-br": {"subject": "oi"}},
)


@pytest.mark.parametrize(
    "locale, subject",
    [
        (None, "hello"), ("en", "hello"), ("de", "hallo"), ("de-CH", "hallo"), ("de_AT", "servus"), ("de-AT", "servus"),
        ("pt", "hello"), ("pt-BR", "oi"), ("DE", "hallo"), ("de-AT-1996", "servus"),
    ],
)  # fmt: skip
def test_the_closest_locale_is_chosen(locale: str | None, subject: str) -> None:
    assert parts_for(LOCALISED, locale)["subject"] == subject


def test_a_locales_mjml_takes_the_place_of_the_html_and_of_its_text() -> None:
    assert dict(parts_for(LOCALISED, "de-AT")) == {"subject": "servus", "mjml": "m"}
    assert dict(parts_for(LOCALISED, "pt-BR")) == {"subject": "oi", "html": "<p>h</p>", "text": "t"}


def test_a_key_that_cannot_be_rendered_stands_alone() -> None:
    event = Event(project=1, id=bytes(16), type="t", data={"n": "x"})
    assert render_key("{{ event.type }}-{{ event.data.n }}", event)[0] == "t-x"
    assert render_key("{{ event.data.n | truncate: event.data.n }}", event)[0] == f"evt_{'0' * 26}"


def test_a_failure_tells_the_step_and_the_part_and_no_value() -> None:
    step = Step(index=3, channel=Channel.SMS, parts={"body": "{{ event.data.secret | truncate: event.data.secret }}"})
    with pytest.raises(RenderFailed) as caught:
        rendered(step, secret="s3cret")
    assert (caught.value.step, caught.value.part) == (3, "body")
    assert str(caught.value).startswith("w, steps[3] (sms), body: FilterArgumentError at 'truncate'")
    assert "s3cret" not in str(caught.value)


def test_what_a_workflow_refers_to_is_known_beforehand() -> None:
    step = Step(
        index=0, channel=Channel.SMS, parts={"body": "{{ urls.preferences }}"}, locales={"de": {"body": "{{ actor }}"}}
    )
    assert referenced(Workflow(key="w", steps=(step,), dedupe=Dedupe(key="{{ event.id }}", window=1))) == {
        "urls",
        "actor",
        "event",
    }


async def test_a_preview_shows_every_channel_in_the_wanted_locale() -> None:
    steps = (
        Step(
            index=0,
            channel=Channel.SMS,
            parts={"body": "{{ recipient.name }}"},
            locales={"de": {"body": "Hallo {{ recipient }}"}},
        ),
        Step(index=1, wait=1000),
        LOCALISED,
    )
    workflow = Workflow(key="w", on=("t",), steps=steps)
    assert [
        step["parts"].get("body") or step["parts"]["subject"]
        for step in await render_preview(KITCHEN, workflow, ANN, {}, "en")
    ] == ["Ann", "hello"]
    assert await render_preview(KITCHEN, Workflow(key="w", steps=steps[:2]), ANN, {}) == [
        {"channel": "sms", "parts": {"body": "Hallo ann"}}
    ]
