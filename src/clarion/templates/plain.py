"""Makes the plain text of an e-mail from its HTML, as a Liquid template again: for e-mails whose author wrote no text.

The Liquid in the HTML stays what it is, so that the text says the same as the HTML to every recipient. One pass without
looking back: the standard library's parser takes hours for a few kilobytes of unclosed tags.
"""

from __future__ import annotations

import html
import re
from functools import lru_cache

from clarion.templates.tokens import Hidden

#: The elements of HTML that have no end.
VOID = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"})
_SILENT = frozenset({"style", "script", "title", "head", "noscript"})
_BREAKS = frozenset(
    {"br", "div", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "section", "table", "tr", "ul"}
)
_TAG = re.compile(r"<!--|<!|<(?P<close>/?)(?P<name>[A-Za-z][A-Za-z0-9-]*)")
_HREF = re.compile(r"\bhref=(?:\"([^\"]*)\"|'([^']*)')", re.IGNORECASE)
_INVISIBLE = re.compile(r"display:\s?none", re.IGNORECASE)
#: Filters that only make sense where HTML is shown.
_HTML_FILTERS = re.compile(r"\|\s{0,9}(?:newline_to_br|escape|escape_once)\s{0,9}(?=[|}]|-\})")
_SPACE = re.compile(r"\s+")
_BLANK_LINES = re.compile(r"[ \t]*\n[ \t]*(?:\n[ \t]*)+")
_BLANKS = re.compile(r"[ \t]+")


@lru_cache(maxsize=512)
def text_of(source: str) -> str:
    """The Liquid source of the plain text of an HTML source; render it unescaped and pass the result through `tidy`."""
    hidden = Hidden(source)
    reader, position, text = _Reader(), 0, hidden.text
    while found := _TAG.search(text, position):
        reader.say(text[position : found.start()])
        ending = "-->" if found.group() == "<!--" else ">"
        end = text.find(ending, found.end())
        if end < 0:
            break
        position = end + len(ending)
        if found["name"]:
            reader.pass_tag(found["name"].lower(), bool(found["close"]), text[found.start() : position])
    else:
        reader.say(text[position:])
    return _HTML_FILTERS.sub("", hidden.put_back("".join(reader.written)))


def tidy(text: str) -> str:
    """A rendered text without the blank lines and margins that the HTML's layout left."""
    return _BLANK_LINES.sub("\n\n", _BLANKS.sub(" ", text)).strip()


class _Reader:
    """Writes down what a person would read, links with their address behind them."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self._hidden: list[str] = []  # the open elements from the one on that isn't read
        self._links: list[str] = []

    def say(self, text: str) -> None:
        """Writes text that stands between tags."""
        if not self._hidden:
            self.written.append(html.unescape(_SPACE.sub(" ", text)))

    def pass_tag(self, name: str, close: bool, tag: str) -> None:
        """Follows a tag: lines break at it, what it holds may be invisible, a link ends with its address."""
        if name in _BREAKS and not self._hidden:
            self.written.append("\n")
        if self._hidden:
            self._pass_hidden(name, close)
        elif close:
            if name == "a" and self._links:
                link = self._links.pop()
                self.written.append(f" ({link})" if link and not link.startswith(("#", "mailto:")) else "")
        elif name == "a":
            href = _HREF.search(tag)
            self._links.append(html.unescape(href[1] or href[2] or "") if href else "")
        elif name not in VOID and not tag.endswith("/>") and (name in _SILENT or _INVISIBLE.search(tag)):
            self._hidden.append(name)

    def _pass_hidden(self, name: str, close: bool) -> None:
        if not close and name == self._hidden[0]:
            self._hidden.append(name)
        elif close and name == self._hidden[-1]:
            self._hidden.pop()
