from __future__ import annotations

from pathlib import Path

import pytest

from clarion.model.people import Profile
from clarion.model.words import Priority
from clarion.sandbox.processes import Sandbox
from clarion.templates.budget import BudgetedTemplates
from clarion.templates.preview import render_preview
from clarion.templates.rendering import referenced
from clarion.templates.scope import NAMES
from clarion.workflows.files import load_folder
from clarion.workflows.samples import copy_samples
from clarion.workflows.schema import check_data

KITCHEN = BudgetedTemplates(Sandbox(1.0))

ADA = Profile(id="ada", locale="en", timezone="Europe/Lisbon", attributes={"name": "Ada"})
DATA = {
    "welcome": {"name": "Ada"},
    "security_alert": {"device": "Firefox", "place": "Lisbon"},
    "comment_reply": {"author": "Grace", "text": "Nice <catch>!", "comment_id": "4 2", "post_title": "Ships"},
}
URLS = {"preferences": "https://x.example/p", "unsubscribe": "https://x.example/u"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copy_samples(tmp_path / "workflows")
    return tmp_path / "workflows"


def test_the_samples_load_and_use_only_what_templates_see(folder: Path) -> None:
    workflows = [loaded.workflow for loaded in load_folder(folder)]
    assert {workflow.key for workflow in workflows} == set(DATA)
    for workflow in workflows:
        assert referenced(workflow) <= NAMES
        assert workflow.digest is None
        check_data(workflow, DATA[workflow.key])


@pytest.mark.parametrize("locale", ["en", "de"])
async def test_the_samples_render(folder: Path, locale: str) -> None:
    for loaded in load_folder(folder):
        for step in await render_preview(KITCHEN, loaded.workflow, ADA, DATA[loaded.workflow.key], locale, urls=URLS):
            for part, text in step["parts"].items():
                assert text, (loaded.workflow.key, step["channel"], part)
                assert "{{" not in text


async def test_what_the_samples_say(folder: Path) -> None:
    workflows = {loaded.workflow.key: loaded.workflow for loaded in load_folder(folder)}

    async def parts(key: str, locale: str = "en") -> dict[str, dict[str, str]]:
        return {
            step["channel"]: step["parts"]
            for step in await render_preview(KITCHEN, workflows[key], ADA, DATA[key], locale, urls=URLS)
        }

    assert workflows["welcome"].on == ("user.signed_up",)
    assert (await parts("welcome"))["in_app"]["title"] == "Hello Ada"
    assert (await parts("welcome"))["email"]["text"].startswith("Hello Ada,\n")
    assert (await parts("comment_reply"))["push"]["title"] == "Grace replied to you"
    assert (await parts("comment_reply", "de-AT"))["push"]["title"] == "Grace hat dir geantwortet"
    assert "Nice &lt;catch&gt;!" in (await parts("comment_reply"))["email"]["html"]
    assert 'href="https://example.com/c/4+2"' in (await parts("comment_reply", "de"))["email"]["html"]
    assert workflows["comment_reply"].names == {"de": "Antworten auf deine Kommentare"}
    assert workflows["security_alert"].ignores_opt_out
    assert workflows["security_alert"].priority is Priority.critical


def test_samples_are_copied_only_where_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("key: mine")
    assert copy_samples(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]
