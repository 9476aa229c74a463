"""Compiles MJML to the HTML of an e-mail, once per source; its Liquid comes out unharmed and is rendered afterwards.

Before mrml sees a source, each Liquid tag is replaced by a mark that XML can't trip over (`{{ a | default: "b" }}`
holds quotes, `{% if a < b %}` a bracket), and put back after. `{% ... %}` between elements becomes a comment, which may
stand anywhere, also between the rows of a table. `<mj-style inline="inline">` is inlined by mrml itself. Nothing is
loaded from files or the network.

mrml's parser recurses: nesting is bounded here first, because an overflow of its stack would end the process.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import lru_cache

from clarion.templates.plain import VOID
from clarion.templates.tokens import BrokenTemplate, Hidden, Piece, line_at

MAX_DEPTH = 100

_NAMES = (
    "mjml mj-accordion mj-accordion-element mj-accordion-text mj-accordion-title mj-all mj-attributes mj-body"
    " mj-breakpoint mj-button mj-carousel mj-carousel-image mj-class mj-column mj-divider mj-font mj-group mj-head"
    " mj-hero mj-html-attribute mj-html-attributes mj-image mj-navbar mj-navbar-link mj-preview mj-raw mj-section"
    " mj-selector mj-social mj-social-element mj-spacer mj-style mj-table mj-text mj-title mj-wrapper"
)
_ELEMENTS = frozenset(_NAMES.split())
#: What changes how a Liquid tag has to be hidden: inside markup, comments and raw text it can't be a comment.
_STATES = re.compile(r"<!--|-->|<(?:mj-title|mj-preview|mj-style)\b|</(?:mj-title|mj-preview|mj-style)\b|<(?=[/\w])|>")
_TAG = re.compile(r"<!--|<(?P<close>/?)(?P<name>[A-Za-z][\w-]*)")
_POSITION = re.compile(r" in root template(?: at position (\d+):\d+)?")


@lru_cache(maxsize=512)
def html_of(source: str) -> str:
    """The HTML of a MJML source, its Liquid still in place. Raises BrokenTemplate."""
    hidden = _Hidden(source)
    _check_elements(hidden)
    html = _compile(hidden)
    if "inline=" in source and "<tbody" not in source:
        # Inlining parses the HTML and adds the <tbody> that a table lacks behind the loop that begins in front of it.
        html = re.sub(rf"((?:{hidden.mark.pattern})+)<tbody>", r"<tbody>\g<1>", html)
    return hidden.restored(html)


class _Hidden(Hidden):
    """A MJML source with its Liquid hidden so that MJML keeps it."""

    def __init__(self, source: str) -> None:
        self._state = ""
        super().__init__(source)

    def marked(self, before: str, piece: Piece, mark: str) -> str:
        for found in _STATES.finditer(before):
            self._state = _next_state(self._state, found.group())
        return f"<!--{mark}-->" if piece.name and not self._state else mark

    def line(self, position: int) -> int:
        """The line of the source that a position in the hidden text is on."""
        return self.put_back(self.text[:position]).count("\n") + 1

    def restored(self, html: str) -> str:
        """The compiled HTML with its Liquid back in place. Raises BrokenTemplate for what MJML has dropped."""
        kept = {int(m[1] or m[2]) for m in self.mark.finditer(html)}
        for number, piece in enumerate(self.pieces):
            if number not in kept:
                tag = self.source[piece.start : piece.end]
                message = f"MJML drops {tag} here: put it into <mj-text> or <mj-raw>, or into the value of an attribute"
                raise BrokenTemplate(message, line_at(self.source, piece.start))
        return self.put_back(html)


def _next_state(state: str, seen: str) -> str:
    """What the source is inside of: "" between elements, else a comment, markup, or raw text and its markup."""
    if state == "comment":
        return "" if seen == "-->" else state
    if state == "raw":
        return "markup" if seen.startswith("</") else state
    if seen == ">":
        return "raw" if state == "raw markup" else ""
    if seen == "<!--":
        return "comment"
    if seen == "-->":
        return state
    return "raw markup" if seen.startswith("<mj") else "markup"


def _check_elements(hidden: _Hidden) -> None:
    """Refuses what mrml would pass over in silence: unknown elements, wrong closing tags; and depth without end."""
    text, position, depth = hidden.text, 0, 0
    opened: list[tuple[str, int]] = []
    while found := _TAG.search(text, position):
        start, name = found.start(), found["name"]
        ending = ">" if name else "-->"
        position = text.find(ending, found.end()) + len(ending)
        if position < len(ending):
            raise BrokenTemplate(f"{found.group()} is never closed: add {ending}", hidden.line(start))
        if name is None:
            continue
        empty = text[position - 2] == "/" or name.lower() in VOID
        if name.startswith("mj") and (fault := _fault(found, empty, opened)):
            raise BrokenTemplate(fault, hidden.line(start))
        depth += 0 if empty else -1 if found["close"] else 1
        if depth > MAX_DEPTH:
            raise BrokenTemplate(f"elements are nested over {MAX_DEPTH} deep", hidden.line(start))
    if opened:
        raise BrokenTemplate("<{0}> is never closed: add </{0}>".format(opened[-1][0]), hidden.line(opened[-1][1]))
    if not text.lstrip().startswith(("<mjml", "<!--")):
        raise BrokenTemplate("a MJML source starts with <mjml>: write it so, or call this part html")


def _fault(found: re.Match[str], empty: bool, opened: list[tuple[str, int]]) -> str | None:
    """What is wrong with the tag of an element; keeps account of the open ones."""
    name = found["name"]
    if name == "mj-include":
        return "<mj-include> isn't read: put its content here"
    if name not in _ELEMENTS:
        close = get_close_matches(name, _ELEMENTS, 1)
        return f"unknown element <{name}>" + (f": did you mean <{close[0]}>?" if close else "")
    if empty:
        return None
    if not found["close"]:
        opened.append((name, found.start()))
    elif not opened or opened.pop()[0] != name:
        return f"</{name}> closes nothing that is open here"
    return None


def _compile(hidden: _Hidden) -> str:
    import mrml  # only who has MJML loads its compiler

    try:
        return mrml.to_html(hidden.text).content
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # mrml's own panics are no Exceptions
        found = _POSITION.search(str(error))
        before = hidden.text.encode()[: int(found[1])].decode(errors="ignore") if found and found[1] else ""
        what = _POSITION.sub("", str(error))
        message = f"MJML: {what}: is an element or a quote not closed, or a < not written as &lt;?"
        raise BrokenTemplate(message, hidden.line(len(before))) from error
