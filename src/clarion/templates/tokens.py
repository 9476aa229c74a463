"""Finds the Liquid tags of a source in one pass, and refuses what would make the real lexer slow or its errors vague.

The lexer of python-liquid takes minutes for a few kilobytes of unclosed braces; whoever may edit a workflow could stop
the server with them. Everything that reads a source goes through `scan` first. It parses no expression.
"""

from __future__ import annotations

import re
from typing import NamedTuple

#: The longest `{{ ... }}` or `{% ... %}`, in characters.
MAX_TAG = 4_000
#: The largest template, in characters.
MAX_SOURCE = 262_144

_OPEN = re.compile(r"\{\{|\{%")
_NAME = re.compile(r"\{%-?\s*(#|\w*)")
_BLANKS = re.compile(r"\s{101}")
_BLOCKS = frozenset({"if", "unless", "case", "for", "tablerow", "capture", "ifchanged", "comment"})
#: What stands between these isn't Liquid.
_VERBATIM = frozenset({"raw", "doc"})


class BrokenTemplate(ValueError):
    """A template that can't be compiled: the message says what is wrong and the mend, `line` counts from 1."""

    def __init__(self, message: str, line: int = 1) -> None:
        super().__init__(message)
        self.message, self.line = message, line


class Piece(NamedTuple):
    """One Liquid tag: `source[start:end]`. `name` is the tag's word, "" for an output (`{{ ... }}`)."""

    start: int
    end: int
    name: str


def line_at(source: str, position: int) -> int:
    """The line, from 1, that `position` is on."""
    return source.count("\n", 0, position) + 1


def scan(source: str) -> list[Piece]:
    """Every Liquid tag in order; raw and doc blocks are one piece each. Raises BrokenTemplate."""
    if len(source) > MAX_SOURCE:
        raise BrokenTemplate(f"the template has {len(source):,} characters: at most {MAX_SOURCE:,} are allowed")
    pieces: list[Piece] = []
    unclosed: list[Piece] = []
    position = 0
    while found := _OPEN.search(source, position):
        piece = _piece(source, found.start())
        pieces.append(piece)
        _follow_blocks(source, piece, unclosed)
        position = piece.end
    if unclosed:
        first = unclosed[0]
        line = line_at(source, first.start)
        raise BrokenTemplate(f"{{% {first.name} %}} is never closed: add {{% end{first.name} %}}", line)
    return pieces


def _piece(source: str, start: int) -> Piece:
    opening = source[start : start + 2]
    closing = "}}" if opening == "{{" else "%}"
    end = source.find(closing, start + 2) + 2
    if end == 1:
        message = f"{opening} is never closed: add {closing}"
    elif end - start > MAX_TAG:
        message = f"this {opening} ... {closing} is over {MAX_TAG:,} characters long: is an earlier {closing} missing?"
    elif not source[start + 2 : end - 2].strip("- \t\r\n"):
        message = f"{opening} {closing} is empty: name a value, or leave it out"
    elif _BLANKS.search(source, start, end):
        message = f"this {opening} ... {closing} holds over 100 blanks in a row: take them out"
    else:
        name = _NAME.match(source, start)
        word = name.group(1) if name else ""
        return Piece(start, _end_of_verbatim(source, word, start, end) if word in _VERBATIM else end, word)
    raise BrokenTemplate(message, line_at(source, start))


def _end_of_verbatim(source: str, word: str, start: int, end: int) -> int:
    found = re.compile(rf"\{{%-?\s{{0,100}}end{word}\s{{0,100}}-?%\}}").search(source, end)
    if not found:
        raise BrokenTemplate(f"{{% {word} %}} is never closed: add {{% end{word} %}}", line_at(source, start))
    return found.end()


def _follow_blocks(source: str, piece: Piece, unclosed: list[Piece]) -> None:
    if piece.name in _BLOCKS:
        unclosed.append(piece)
    elif piece.name.startswith("end"):
        if not unclosed or piece.name != f"end{unclosed[-1].name}":
            wanted = f"the open block is {{% {unclosed[-1].name} %}}" if unclosed else "no block is open here"
            message = f"{{% {piece.name} %}} closes nothing: {wanted}"
            raise BrokenTemplate(message, line_at(source, piece.start))
        unclosed.pop()


class Hidden:
    """A source with a mark in place of each Liquid tag, so that a parser of another language can work on `text`."""

    def __init__(self, source: str) -> None:
        self.source, self.pieces = source, scan(source)
        stem = "lq"
        while stem in source:
            stem += "q"
        self.mark = re.compile(rf"<!--{stem}(\d+)z-->|{stem}(\d+)z")
        chunks: list[str] = []
        end = 0
        for number, piece in enumerate(self.pieces):
            chunk = source[end : piece.start]
            chunks += [chunk, self.marked(chunk, piece, f"{stem}{number}z")]
            end = piece.end
        self.text = "".join([*chunks, source[end:]])

    def marked(self, before: str, piece: Piece, mark: str) -> str:
        """What stands in the text for `piece`: `mark`, or `<!--mark-->`. `before` is the text since the last one."""
        del before, piece
        return mark

    def put_back(self, text: str) -> str:
        """Any text made from this one, with its Liquid back in place."""
        return self.mark.sub(lambda m: self.source[slice(*self.pieces[int(m[1] or m[2])][:2])], text)
