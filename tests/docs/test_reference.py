"""What the documents say of workflows, words, settings and calls is what the code says."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from clarion.deliveries.providers import KINDS
from clarion.model.words import Channel, Reason
from clarion.settings import load
from clarion.workflows.definition import parse
from clarion.workflows.problems import WorkflowErrors
from clarion.workflows.yaml_source import read_yaml
from tests.docs.documents import DOCUMENTS, ROOT, Block, blocks, name_of

DOCS = ROOT / "docs"
WORKFLOWS = blocks(DOCS / "workflows.md")


def _build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build", DOCS / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BUILD = _build()
GENERATED = dict(BUILD.documents())


@pytest.mark.parametrize("path", GENERATED, ids=name_of)
def test_what_is_made_from_the_code_is_up_to_date(path: Path) -> None:
    assert path.read_text() == GENERATED[path], "run `make docs`"


def test_every_maker_is_used_and_says_something() -> None:
    used = {name for path in GENERATED for name in re.findall(r"<!-- begin (\w+) -->", path.read_text())}
    assert used == set(BUILD.MAKERS)
    assert all(len(make()) > 100 for make in BUILD.MAKERS.values())


def test_every_reason_stands_in_the_concepts() -> None:
    text = (DOCS / "concepts.md").read_text()
    assert [r for r in Reason if f"| `{r.value}` |" not in text] == []


@pytest.mark.parametrize("block", [b for b in WORKFLOWS if b.info.startswith("yaml")], ids=lambda b: f"line {b.line}")
def test_a_workflow_that_is_shown_is_valid(block: Block) -> None:
    assert block.info == "yaml workflow"
    assert parse(read_yaml(block.text.encode(), "workflows.md").plain).steps


def test_every_key_of_a_workflow_is_described_and_no_other() -> None:
    with pytest.raises(WorkflowErrors) as caught:
        parse({"key": "a", "on": ["a"], "steps": [{"channel": "sms", "body": "a"}], "zzz": 1})
    (problem,) = caught.value.problems
    known = set(re.findall(r"\w+", problem.message.partition("there are ")[2]))
    table = (DOCS / "workflows.md").read_text().partition("## Keys")[2].partition("\n\nDurations")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == known


def test_every_channel_and_every_kind_of_provider_is_described() -> None:
    steps = (DOCS / "workflows.md").read_text().partition("## Steps")[2].partition("## Conditions")[0]
    assert [c for c in Channel if f"`{c.value}`" not in steps] == []
    offered = (DOCS / "providers.md").read_text().partition("## `config`")[0]
    assert set(re.findall(r"^\| `(\w+)`", offered, re.MULTILINE)) == set(KINDS)


@pytest.mark.parametrize(
    "path,block",
    [(path, block) for path in DOCUMENTS for block in blocks(path) if block.info == "toml"],
    ids=lambda value: name_of(value) if isinstance(value, Path) else f"line {value.line}",
)
def test_settings_that_are_shown_are_accepted(path: Path, block: Block, tmp_path: Path) -> None:
    file = tmp_path / "clarion.toml"
    file.write_text(block.text)
    assert load(file, {}).providers
