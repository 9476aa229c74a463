from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from textwrap import dedent

import pytest

from clarion.clock import MINUTE
from clarion.model.workflow import Digest
from clarion.workflows.definition import content_hash, parse
from clarion.workflows.files import load_folder
from clarion.workflows.problems import WorkflowErrors

GOOD = """\
key: reply
on: [comment.created]
steps:
  - channel: email
    subject: "{{ event.data.author }} replied"
    html: reply.html
"""


EXAMPLE = """\
# workflows/comment_reply.yaml
key: comment_reply          # the notification type in preferences
name: Replies to your comments
enabled: true
on: [comment.created]
category: social
priority: normal            # critical high normal bulk
when: { event.data.private: { ne: true } }
strategy: all               # all | first_available
ignores_opt_out: false      # security and legal notices only
expires_after: 24h
on_unknown: resend          # resend | hold
data_schema: { type: object, required: [author], properties: { author: { type: string } } }
preferences:                # the type's defaults, by channel; these limits count this type on this channel only
  in_app: { enabled: true }
  push: { enabled: true, max_per_hour: 5, max_per_day: 20, on_limit: digest }
quiet_hours: defer          # defer | drop | ignore
send_windows: [{ days: [mon, tue, wed, thu, fri], start: "09:00", end: "18:00" }]   # optional
dedupe: { key: "{{ event.data.comment_id }}", window: 10m }
digest: { key: "{{ event.data.post_id }}", mode: lookback, window: 5m }

failover_after: 5m          # optional: next provider if no receipt by then
steps:
  - channel: in_app
    title: "{{ event.data.author }} replied"
    body: "{{ event.data.text }}"
    action_url: "https://example.com/c/{{ event.data.comment_id }}"
  - channel: push
    title: "{% if digest.count > 1 %}{{ digest.count }} replies{% else %}{{ event.data.author }} replied{% endif %}"
    body: "{{ event.data.text | truncate: 80 }}"
  - wait: 10m
    unless: seen            # seen | read | delivered: ends the run if so
  - channel: email
    when: { recipient.attributes.plan: pro }
    subject: "{{ event.data.author }} replied"
    mjml: comment_reply.mjml       # or html:/text:, inline or a file beside this one
  - channel: sms
    body: "{{ event.data.author }} replied"
"""

#: A billion values by aliases of aliases.
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]\n" for before, after in pairwise("abcdefghi")
)


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(dedent(text), "utf-8")
    return folder


def problems(folder: Path) -> list[str]:
    with pytest.raises(WorkflowErrors) as caught:
        load_folder(folder)
    assert str(caught.value) == "\n".join(str(problem) for problem in caught.value.problems)
    return str(caught.value).splitlines()


def test_a_file_becomes_self_contained(tmp_path: Path) -> None:
    write(tmp_path, reply__yaml=GOOD, reply__html="<p>{{ event.data.text }}</p>", notes__md="not a workflow")
    (loaded,) = load_folder(tmp_path)
    assert loaded.path.name == "reply.yaml"
    assert loaded.workflow.steps[0].parts["html"] == "<p>{{ event.data.text }}</p>"
    assert loaded.plain["on"] == ["comment.created"]
    # And what is stored says the same without any file
    assert parse(loaded.plain) == loaded.workflow


def test_the_example_of_the_contract_loads(tmp_path: Path) -> None:
    write(tmp_path, comment_reply__yaml=EXAMPLE, comment_reply__mjml="<mjml><mj-body></mj-body></mjml>")
    (loaded,) = load_folder(tmp_path)
    assert [step.channel or "wait" for step in loaded.workflow.steps] == ["in_app", "push", "wait", "email", "sms"]
    assert loaded.workflow.digest == Digest(mode="lookback", key="{{ event.data.post_id }}", window=5 * MINUTE)


def test_no_folder_is_no_workflows(tmp_path: Path) -> None:
    assert load_folder(tmp_path / "none") == []


def test_on_off_and_times_need_no_quotes(tmp_path: Path) -> None:
    write(
        tmp_path,
        a__yaml="""\
        key: a
        on: [x]
        digest: {mode: fixed, window: 5m}
        send_windows: [{start: 08:00, end: 22:00}]
        steps:
          - {channel: sms, body: 2027-01-01, digest: off}
        """,
    )
    (loaded,) = load_folder(tmp_path)
    assert loaded.workflow.steps[0].digest_off
    assert loaded.workflow.steps[0].parts == {"body": "2027-01-01"}
    assert loaded.workflow.send_windows[0].end == 22 * 60


def test_a_locale_beside_the_file_holds_what_differs(tmp_path: Path) -> None:
    write(
        tmp_path,
        reply__yaml=GOOD,
        reply__html="<p>Hello</p>",
        reply__de__yaml='name: Antworten\nsteps:\n  email: {subject: "{{ actor }} antwortet", html: reply.de.html}\n',
        reply__de__html="<p>Hallo</p>",
        reply__pt_BR__yml='key: reply\nsteps:\n  - subject: "{{ event.data.author }} respondeu"\n',
    )
    (loaded,) = load_folder(tmp_path)
    assert loaded.workflow.names == {"de": "Antworten"}
    assert loaded.workflow.steps[0].locales == {
        "de": {"subject": "{{ actor }} antwortet", "html": "<p>Hallo</p>"},
        "pt-br": {"subject": "{{ event.data.author }} respondeu"},
    }
    assert parse(loaded.plain) == loaded.workflow


def test_a_changed_locale_or_template_changes_the_content(tmp_path: Path) -> None:
    write(tmp_path, reply__yaml=GOOD, reply__html="<p>Hello</p>", reply__de__yaml="name: Antworten")
    hashes = {content_hash(load_folder(tmp_path)[0].plain)}
    for name, text in [("reply.html", "<p>Hi</p>"), ("reply.de.yaml", "name: Antwort")]:
        (tmp_path / name).write_text(text)
        hashes.add(content_hash(load_folder(tmp_path)[0].plain))
    assert len(hashes) == 3


NULL_CAP = 'null says nothing: write a whole number of 1 or more, "none" for no cap, or leave the key out'


def test_a_nul_character_is_told_with_its_line_and_a_cap_of_nothing_with_its_own(tmp_path: Path) -> None:
    write(
        tmp_path,
        a__yaml="""\
        key: a
        on: [x]
        preferences:
          email: { max_per_hour: "none", max_per_day: null }
        steps:
          - channel: email
            subject: "a\\0b"
            text: a.txt
        """,
        a__txt="one\ntwo\0\n",
    )
    assert problems(tmp_path) == [
        "a.txt:2: steps[0].text: holds a NUL character, which no message can: take it out",
        f"a.yaml:4: preferences.email.max_per_day: {NULL_CAP}",
        "a.yaml:7: steps[0].subject: holds a NUL character, which no message can: take it out",
    ]


def test_problems_have_their_file_and_line(tmp_path: Path) -> None:
    write(
        tmp_path,
        a__yaml="""\
        key: a
        on: [x]
        prioriti: high
        when:
          event.data.a: 1
          nobody.data.b: 2
        steps:
          - channel: sms
            body: |
              Hello {{ event.data.name }},

              {% if event.data.x %}
              never closed
          - channel: email
            subject: "{{ event.data.name | upcse }}"
            mjml: a.mjml
          - wait: 5
        """,
        a__mjml="<mjml>\n  <mj-body>\n    <mj-sektion></mj-sektion>\n  </mj-body>\n</mjml>\n",
        a__de__yaml='steps:\n  sms:\n    body: "{{ event.data.name"\n',
        b__yaml="key: b\non: [x]\nsteps: [{channel: sms, body: hello}]\nsteps: []\n",
    )
    assert [line.split(": ", 1)[0] + ": " + line.split(": ", 2)[1] for line in problems(tmp_path)] == [
        "a.de.yaml:3: locales.de.steps.sms.body",
        "a.mjml:3: steps[1].mjml",
        "a.yaml:3: prioriti",
        "a.yaml:6: when.nobody.data.b",
        "a.yaml:12: steps[0].body",
        "a.yaml:15: steps[1].subject",
        "a.yaml:17: steps[2].wait",
        "b.yaml:4: steps",
    ]


@pytest.mark.parametrize(
    "text, told",
    [
        ("", "a.yaml:1: is empty"),
        ("- a", "a.yaml:1: a workflow is a mapping, found a list"),
        ("key: a\n  on: [x]", "a.yaml:2: not valid YAML"),
        ("key: a\ntitle: {{ event.data.x }} replied", "a.yaml:2: not valid YAML"),
        ("key: a\nname: {{ event.data.x }}", "a.yaml:2: name: a key must be a text: texts with {{ }}"),
        ("key: !!python/object/apply:os.system [ls]", "a.yaml:1: key: the tag tag:yaml.org,2002:python/object/apply"),
        ("key: !secret x", "the tag !secret isn't allowed"),
        (BOMB, "too much: at most 20,000 values"),
        ("key: &a [*a]", "too much"),
        ("key: " + "[" * 100_000, "nested too deep"),
        ("key: 'a\x07'", "a.yaml: not valid YAML"),
        ("key: a\n---\nkey: b", "a.yaml:2: not valid YAML"),
        ("key: a\n" + "#" * 1_000_001, "at most 1,000,000 are allowed"),
    ],
)  # fmt: skip
def test_what_is_no_usable_yaml_is_told(tmp_path: Path, text: str, told: str) -> None:
    write(tmp_path, a__yaml=text)
    assert any(told in problem for problem in problems(tmp_path)), problems(tmp_path)


def test_a_file_that_is_not_utf_8_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"key: \xff")
    assert problems(tmp_path) == ["a.yaml: isn't UTF-8: save it as UTF-8"]


def test_a_missing_template_is_told_once(tmp_path: Path) -> None:
    write(tmp_path, reply__yaml=GOOD.replace("html: reply.html", "mjml: reply.mjml"))
    assert problems(tmp_path) == [
        "reply.yaml:6: steps[0].mjml: the file reply.mjml is missing: put it beside the workflow, or the text here"
    ]


@pytest.mark.parametrize("name", ["../secret.html", "/etc/hostname.html", "sub/../../secret.html", "link.html"])
def test_no_template_is_read_from_outside_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.html").write_text("secret")
    folder = tmp_path / "workflows"
    (folder / "sub").mkdir(parents=True)
    (folder / "link.html").symlink_to(tmp_path / "secret.html")
    write(folder, reply__yaml=GOOD.replace("reply.html", name))
    assert "is outside the folder of the workflows" in problems(folder)[0]


def test_a_template_in_a_folder_below_is_read(tmp_path: Path) -> None:
    (tmp_path / "mails").mkdir()
    (tmp_path / "mails" / "reply.html").write_text("<p>x</p>")
    write(tmp_path, reply__yaml=GOOD.replace("reply.html", "mails/reply.html"))
    assert load_folder(tmp_path)[0].workflow.steps[0].parts["html"] == "<p>x</p>"


def test_two_files_with_the_same_key_are_refused(tmp_path: Path) -> None:
    small = "key: same\non: [x]\nsteps: [{channel: sms, body: hello}]\n"
    write(tmp_path, a__yaml=small, b__yml=small)
    assert problems(tmp_path) == ["b.yml: key: a.yaml has the key 'same' too: every workflow needs its own"]


def test_a_locale_without_its_workflow_is_told(tmp_path: Path) -> None:
    write(tmp_path, reply__de__yaml="name: x")
    assert "there is no reply.yaml beside it" in problems(tmp_path)[0]


def test_a_locale_of_a_broken_workflow_is_not_blamed(tmp_path: Path) -> None:
    write(tmp_path, reply__yaml="key: [", reply__de__yaml="name: x")
    assert len(problems(tmp_path)) == 1


def test_a_dot_in_the_name_makes_no_locale_of_a_workflow(tmp_path: Path) -> None:
    write(tmp_path, user__new__yaml="key: user.new\non: [x]\nsteps: [{channel: sms, body: hello}]\n")
    assert [loaded.workflow.key for loaded in load_folder(tmp_path)] == ["user.new"]


def test_the_same_locale_twice_is_refused(tmp_path: Path) -> None:
    small = "key: a\non: [x]\nlocales: {de: {name: A}}\nsteps: [{channel: sms, body: hello}]\n"
    write(tmp_path, a__yaml=small, a__de__yaml="name: B")
    assert problems(tmp_path) == ["a.de.yaml:1: the locale de stands in a.yaml already: leave one out"]
