"""What is wrong with workflows: every problem with its place and its mend, collected before any is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from clarion.model.errors import Invalid, brief

#: Where a value stands in a workflow's plain form: ("steps", 2, "subject").
Path = tuple[str | int, ...]


class Place(NamedTuple):
    """Where a value stands in a file: the line of its key, and the line that a text begins on."""

    file: str
    line: int
    text_line: int


class Problem(NamedTuple):
    """One thing that is wrong, and how to mend it."""

    path: str
    line: int | None
    message: str
    file: str | None = None
    code: str = "invalid_workflow"

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        return ": ".join(part for part in (where, self.path, self.message) if part)


class WorkflowErrors(Invalid):
    """One or more workflows can't be used; `problems` has all there is to mend, in the order of files and lines."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        problems = sorted(problems, key=lambda problem: (problem.file or "", problem.line or 0))
        codes = {problem.code for problem in problems}
        code = codes.pop() if len(codes) == 1 else "invalid_workflow"
        super().__init__(code, "\n".join(str(problem) for problem in problems), problems[0].path or None)
        self.problems = tuple(problems)


def shown(path: Path) -> str:
    """A path as people write it: steps[2].subject."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return brief(text)


class Report:
    """Gathers the problems of one workflow, and knows where its values stand. `templates`: whether to check them."""

    def __init__(self, places: Mapping[Path, Place] | None = None, *, templates: bool = True) -> None:
        self.problems: list[Problem] = []
        self.templates = templates
        self._places = places or {}

    def add(self, path: Path, message: str, *, code: str = "invalid_workflow", text_line: int | None = None) -> None:
        """Notes a problem of the value at `path`; `text_line` (from 1) is a line inside that value."""
        known = path
        while known and known not in self._places:
            known = known[:-1]
        place = self._places.get(known)
        line = None
        if place is not None:
            inside = text_line is not None and known == path
            line = place.text_line + text_line - 1 if inside and text_line is not None else place.line
        self.problems.append(Problem(shown(path), line, message, place.file if place else None, code))

    def settle(self) -> None:
        """Raises WorkflowErrors if there was any problem."""
        if self.problems:
            raise WorkflowErrors(self.problems)
