"""Reads YAML into plain values and remembers the line of every one of them.

Stricter and plainer than YAML 1.1: `on`, `off`, `yes` and `22:00` are texts, dates too; keys are texts; a tag, or a key
that stands twice, is a problem. Small and shallow, so that no file can exhaust the memory by its aliases.
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

import yaml

from clarion.workflows.problems import Path, Place, Problem, shown

MAX_BYTES = 1_000_000
MAX_VALUES = 20_000
MAX_DEPTH = 40

_SCALARS = frozenset({"str", "null", "bool", "int", "float"})
_CORE = "tag:yaml.org,2002:"
_QUOTES = "texts with {{ }} or {% %}, and those with ': ' or ' #', need quotes around them"


class Document(NamedTuple):
    """What a file says, and where."""

    plain: Any
    places: dict[Path, Place]


class Unreadable(ValueError):
    """A file that is no usable YAML."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class _Loader(yaml.SafeLoader):
    """SafeLoader with the JSON-like scalars of YAML 1.2 only."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(?:0|[1-9][0-9]{0,17})", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]{1,3})?", "-+.0123456789"),
):
    _Loader.add_implicit_resolver(_CORE + _tag, re.compile(f"(?:{_pattern})$"), list(_first))


def read_yaml(data: bytes, file: str) -> Document:
    """The one document of a file. Raises Unreadable."""
    if len(data) > MAX_BYTES:
        raise Unreadable(Problem("", None, f"has {len(data):,} bytes: at most {MAX_BYTES:,} are allowed", file))
    try:
        node = yaml.compose(data.decode("utf-8-sig"), _Loader)
    except UnicodeDecodeError as error:
        raise Unreadable(Problem("", None, "isn't UTF-8: save it as UTF-8", file)) from error
    except RecursionError as error:
        raise Unreadable(Problem("", None, "is nested too deep", file)) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = f"not valid YAML: {error.problem or error.context}: check the indentation and the quotes; {_QUOTES}"
        raise Unreadable(Problem("", mark.line + 1 if mark else None, message, file)) from error
    except yaml.YAMLError as error:
        raise Unreadable(Problem("", None, f"not valid YAML: {str(error).splitlines()[0]}", file)) from error
    if node is None:
        raise Unreadable(Problem("", 1, "is empty", file))
    reader = _Reader(file)
    plain = reader.value(node, (), node.start_mark.line + 1)
    return Document(plain, reader.places)


class _Reader:
    """Walks the nodes of a document."""

    def __init__(self, file: str) -> None:
        self.file, self.places = file, dict[Path, Place]()
        self._count = 0

    def value(self, node: yaml.Node, path: Path, line: int) -> Any:
        """The plain value of a node whose key is on `line`."""
        self._count += 1
        if self._count > MAX_VALUES or len(path) > MAX_DEPTH:
            raise self._fault(path, node, f"too much: at most {MAX_VALUES:,} values, {MAX_DEPTH} deep, aliases counted")
        first = node.start_mark.line + (2 if getattr(node, "style", None) in ("|", ">") else 1)
        self.places[path] = Place(self.file, line, first)
        kind = node.tag.removeprefix(_CORE)
        if isinstance(node, yaml.MappingNode) and kind == "map":
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            return [self.value(one, (*path, at), one.start_mark.line + 1) for at, one in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and kind in _SCALARS:
            return self._scalar(node, kind, path)
        raise self._fault(path, node, f"the tag {node.tag} isn't allowed: leave it out, or put the value into quotes")

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        read: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self._fault(path, key, f"a key must be a text: {_QUOTES}")
            if key.value in read:
                raise self._fault((*path, key.value), key, "this key stands there twice: leave one out")
            read[key.value] = self.value(value, (*path, key.value), key.start_mark.line + 1)
        return read

    def _scalar(self, node: yaml.ScalarNode, kind: str, path: Path) -> Any:
        text: str = node.value
        try:
            if kind == "null":
                return None
            if kind == "bool":
                return {"true": True, "false": False}[text.lower()]
            if kind == "int":
                return int(text)
            if kind == "float" and not math.isfinite(float(text)):
                raise ValueError
            return float(text) if kind == "float" else text
        except (ValueError, KeyError) as error:
            raise self._fault(path, node, f"'{text[:40]}' isn't a {kind}: put it into quotes") from error

    def _fault(self, path: Path, node: yaml.Node, message: str) -> Unreadable:
        return Unreadable(Problem(shown(path), node.start_mark.line + 1, message, self.file))
