"""The documents of this repository and the fenced blocks in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "examples/blog/README.md"])
_FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: what stands behind the fence, its text, and its first line in the file."""

    info: str
    text: str
    line: int


def name_of(path: Path) -> str:
    """A document as people name it; also the id of its tests."""
    return path.relative_to(ROOT).as_posix()


def blocks(path: Path) -> list[Block]:
    text = path.read_text()
    return [Block(f["info"], f["text"], text.count("\n", 0, f.start()) + 2) for f in _FENCE.finditer(text)]


def prose(path: Path) -> str:
    """A document without its fenced blocks."""
    return _FENCE.sub("", path.read_text())
