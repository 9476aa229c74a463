"""Links lead somewhere, and no document names a package registry."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.documents import DOCUMENTS, ROOT, name_of, prose

_LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_REGISTRIES = re.compile(r"pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|registry\.|crates\.io|simple/", re.IGNORECASE)


def _anchors(path: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_link_leads_somewhere(path: Path) -> None:
    for found in _LINK.finditer(prose(path)):
        target, _, anchor = found["target"].partition("#")
        if "://" in target:
            continue
        there = (path.parent / target).resolve() if target else path
        assert there.exists(), f"{found['target']} doesn't exist"
        assert there.is_relative_to(ROOT), f"{found['target']} lies outside the repository"
        assert not anchor or anchor in _anchors(there), f"{found['target']}: there is no such heading"


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_no_document_names_a_package_registry(path: Path) -> None:
    assert not _REGISTRIES.search(path.read_text())


def test_every_document_can_be_reached_from_the_readme() -> None:
    reached, todo = set[Path](), [ROOT / "README.md"]
    while todo:
        path = todo.pop()
        reached.add(path)
        links = ((path.parent / f["target"].partition("#")[0]).resolve() for f in _LINK.finditer(prose(path)))
        todo += [there for there in links if there.suffix == ".md" and there.exists() and there not in reached]
    assert [name_of(path) for path in DOCUMENTS if path not in reached] == []


def test_the_architecture_names_modules_that_exist() -> None:
    text = prose(ROOT / "ARCHITECTURE.md")
    package = ROOT / "src/clarion"
    named = set(re.findall(r"`([\w/]+\.(?:py|toml))`", text)) | set(re.findall(r"`([\w/]+/)`", text))
    assert len(named) > 25
    missing = [name for name in named if not ((package / name).exists() or (ROOT / name).exists())]
    missing = [name for name in missing if not any(package.glob(f"*/{name}"))]
    assert missing == []
