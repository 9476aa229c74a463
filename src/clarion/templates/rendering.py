"""Renders the parts of a step for one recipient: picks the locale, escapes HTML, keeps headers on one line.

It decides nothing and sends nothing. A text that can't be rendered fails for this message alone. `work` bounds what may
be done here; `clarion.templates.budget` says what becomes of more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from html import escape
from types import TracebackType

from liquid.ast import Node
from liquid.exceptions import LiquidError, ResourceLimitError
from liquid.token import Token

from clarion.model.events import Event
from clarion.model.mail import sender_of
from clarion.model.workflow import Step, Workflow
from clarion.sandbox.child import OverBudget, at
from clarion.templates.liquid import ENDLESS, Scope, Slow, check, compiled
from clarion.templates.mjml import html_of
from clarion.templates.plain import text_of, tidy
from clarion.templates.scope import event_scope
from clarion.templates.tokens import line_at

#: The bodies of an e-mail that exclude each other.
_MARKUP = frozenset({"html", "mjml"})
#: What a locale's own markup takes the place of: a text in another language doesn't belong to it.
_BODIES = _MARKUP | {"text"}

_CONTROLS = re.compile(r"[\x00-\x20\x7f\x85\u2028\u2029]+")
_TAG_END = re.compile(r"\s*-?[%}]\}")
_UNSAFE_URL = re.compile(r"(?:javascript|vbscript|data):", re.IGNORECASE)


class RenderFailed(ValueError):
    """A part that couldn't be rendered for this recipient. Says where and why, and repeats no value of the event."""

    def __init__(self, workflow: str, step: Step, part: str, reason: str) -> None:
        super().__init__(f"{workflow}, steps[{step.index}] ({step.channel}), {part}: {reason}")
        self.step, self.part, self.reason = step.index, part, reason


def normal_locale(locale: str) -> str:
    """`de_AT` and `de-at` as `de-at`: how locales are compared."""
    return locale.replace("_", "-").lower()


def parts_for(step: Step, locale: str | None) -> Mapping[str, str]:
    """The sources of a step's parts in a locale: what de-AT lacks comes from de, and what de lacks from the default."""
    if not step.locales or not locale:
        return step.parts
    subtags = normal_locale(locale).split("-")
    parts = dict(step.parts)
    for length in range(1, len(subtags) + 1):
        differing = step.locales.get("-".join(subtags[:length]))
        if differing:
            if _MARKUP & differing.keys():
                parts = {part: source for part, source in parts.items() if part not in _BODIES}
            parts |= differing
    return parts


def render_parts(
    workflow: Workflow, step: Step, locale: str | None, scope: Scope, work: int = ENDLESS
) -> dict[str, str]:
    """The rendered texts by name. MJML comes out as `html`, a preheader inside it; an e-mail without a text gets that
    of its HTML.

    Raises RenderFailed; Slow if a part is more than so much work.
    """
    rendered: dict[str, str] = {}
    parts = parts_for(step, locale)
    for part, source in parts.items():
        if work == ENDLESS:
            at(part)
        try:
            if part in _MARKUP:
                html = html_of(source) if part == "mjml" else source
                rendered["html"] = compiled(html, True).render(scope, work)
                if "text" not in parts:
                    rendered["text"] = tidy(compiled(text_of(html), False).render(scope, work))
            else:
                rendered[part] = _FORMS.get(part, str)(compiled(source, False).render(scope, work))
        except Slow:
            raise
        except Exception as error:
            raise RenderFailed(workflow.key, step, part, reason(error)) from error
    preheader = rendered.pop("preheader", "")
    if preheader and "html" in rendered:
        rendered["html"] = with_preheader(rendered["html"], preheader)
    return rendered


def referenced(workflow: Workflow) -> frozenset[str]:
    """The names its templates take from the scope, so that nobody loads a tenant or signs a link that no text shows."""
    sources = {
        source for step in workflow.steps for texts in (step.parts, *step.locales.values()) for source in texts.values()
    }
    keys = {rule.key for rule in (workflow.dedupe, workflow.digest, *(step.digest for step in workflow.steps)) if rule}
    return frozenset().union(*(check(source) for source in sources | keys))


#: The work that a dedupe or digest key may be: decisions wait for it.
KEY_WORK = 20_000


def render_key(source: str, event: Event) -> tuple[str, int]:
    """A dedupe or digest key, a template over `event` alone; and how much work it was.

    One that can't be rendered, or takes too much work, is the event's own id: it stands alone, and stops no other
    event's decision. Work is counted, not timed: a key comes out the same whoever renders it.
    """
    return _key(source, _ByIdentity(event))


class _ByIdentity:
    """An event, compared by its place in memory: all its recipients have one."""

    __slots__ = ("event",)

    def __init__(self, event: Event) -> None:
        self.event = event

    def __hash__(self) -> int:
        return id(self.event)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and other.event is self.event


@lru_cache(maxsize=16)
def _key(source: str, event: _ByIdentity) -> tuple[str, int]:
    scope = event_scope(event.event)
    try:
        return compiled(source, False).weighed({"event": scope}, KEY_WORK)
    except Exception:  # noqa: BLE001  # whatever a filter makes of odd data
        return str(scope["id"]), KEY_WORK


class Unfit(ValueError):
    """A rendered text that can't stand in its place; the message repeats nothing of it."""


def one_line(text: str) -> str:
    """One line: a line break in a value must not begin a new header."""
    return _CONTROLS.sub(" ", text).strip()


def _url(text: str) -> str:
    url = _CONTROLS.sub("", text)
    if _UNSAFE_URL.match(url):
        raise Unfit("a link that would run a script")
    return url


def _mailbox(text: str) -> str:
    """A sender; an empty one means the provider's own."""
    text = text.strip()
    if text:
        try:
            sender_of(text)
        except ValueError:
            raise Unfit("this isn't a sender: write it as name@example.com or Name <name@example.com>") from None
    return text


#: A reader's preview of a mail shows the text after the preheader, unless there is enough that isn't seen.
_FILLING = "&#847;&zwnj;&nbsp;" * 60
_BODY = re.compile(r"<body\b[^>]*>", re.IGNORECASE)


def with_preheader(html: str, preheader: str) -> str:
    """The HTML with a text at its beginning that only lists of mails show, after the subject."""
    body = _BODY.search(html)
    at = body.end() if body else 0
    hidden = "display:none;max-height:0;max-width:0;overflow:hidden;opacity:0;mso-hide:all"
    return f'{html[:at]}<div style="{hidden}">{escape(preheader)}{_FILLING}</div>{html[at:]}'


_FORMS: dict[str, Callable[[str], str]] = {
    "subject": one_line,
    "title": one_line,
    "action_url": _url,
    "image": _url,
    "icon": _url,
    "from": _mailbox,
    "reply_to": _mailbox,
    "preheader": one_line,
}


def reason(error: BaseException) -> str:
    """Why it failed and where, without what a filter says of its values: reasons are stored and logged."""
    token = error.token if isinstance(error, LiquidError) else None
    if (over := _over_budget(error)) is not None:
        return f"it takes longer than a message may{_place(over.__traceback__)}"
    if isinstance(error, ResourceLimitError):
        return f"{error.args[0]}{_place(error.__traceback__)}"
    if isinstance(error, Unfit):
        return str(error.args[0])
    where = f" at '{token.value[:40]}'" if token is not None and token.start_index >= 0 else ""
    return f"{type(error).__name__}{where}"


def _over_budget(error: BaseException | None) -> OverBudget | None:
    while error is not None and not isinstance(error, OverBudget):
        error = error.__cause__  # python-liquid wraps what happens while it parses
    return error


def _place(trace: TracebackType | None) -> str:
    """The innermost tag of a template that was being rendered, and its line."""
    token: Token | None = None
    while trace is not None:
        node = trace.tb_frame.f_locals.get("self")
        if isinstance(node, Node):
            token = node.token
        trace = trace.tb_next
    if token is None or token.start_index < 0:
        return ""
    tag = " ".join(_TAG_END.split(token.source[token.start_index :], 1)[0].split())[:60]
    return f" (line {line_at(token.source, token.start_index)}: {tag})"
