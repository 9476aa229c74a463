"""Renders the parts of a step for one recipient: picks the locale, escapes HTML, keeps headers on one line.

It decides nothing and sends nothing. A text that can't be rendered fails for this message alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from liquid.exceptions import LiquidError, ResourceLimitError

from clarion.model.workflow import Step, Workflow
from clarion.templates.liquid import Scope, check, compiled
from clarion.templates.mjml import html_of
from clarion.templates.plain import text_of, tidy

#: Parts that end up in a header or a single line of a screen: a line break in a value must not begin a new header.
SINGLE_LINE = frozenset({"subject", "title", "action_url"})
#: The bodies of an e-mail that exclude each other: a locale that gives one replaces the other.
_MARKUP = frozenset({"html", "mjml"})

_CONTROLS = re.compile(r"[\x00-\x20\x7f\x85\u2028\u2029]+")
_UNSAFE_URL = re.compile(r"(?:javascript|vbscript|data):", re.IGNORECASE)


class RenderFailed(ValueError):
    """A part that couldn't be rendered for this recipient. Says where and why, and repeats no value of the event."""

    def __init__(self, workflow: str, step: Step, part: str, reason: str) -> None:
        super().__init__(f"{workflow}, steps[{step.index}] ({step.channel}), {part}: {reason}")
        self.step, self.part, self.reason = step.index, part, reason


class Job(NamedTuple):
    """One message to render."""

    workflow: Workflow
    step: Step
    locale: str | None
    scope: Scope


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
                parts = {part: source for part, source in parts.items() if part not in _MARKUP}
            parts |= differing
    return parts


def render_parts(workflow: Workflow, step: Step, locale: str | None, scope: Scope) -> dict[str, str]:
    """The rendered texts by name. MJML comes out as `html`; an e-mail without a text gets that of its HTML.

    Raises RenderFailed.
    """
    rendered: dict[str, str] = {}
    parts = parts_for(step, locale)
    for part, source in parts.items():
        attempt = _RENDERERS.get(part, _verbatim)
        try:
            rendered["html" if part == "mjml" else part] = attempt(source, scope)
            if part in _MARKUP and "text" not in parts:
                rendered["text"] = tidy(compiled(text_of(_html(part, source)), False).render(scope))
        except Exception as error:
            raise RenderFailed(workflow.key, step, part, _reason(error)) from error
    return rendered


def render_many(jobs: Iterable[Job]) -> list[dict[str, str] | RenderFailed]:
    """Renders a batch; a job that fails gives its failure and stops no other."""
    done: list[dict[str, str] | RenderFailed] = []
    for job in jobs:
        try:
            done.append(render_parts(*job))
        except RenderFailed as failure:
            done.append(failure)
    return done


def referenced(workflow: Workflow) -> frozenset[str]:
    """The names its templates take from the scope, so that nobody loads a tenant or signs a link that no text shows."""
    sources = {
        source for step in workflow.steps for texts in (step.parts, *step.locales.values()) for source in texts.values()
    }
    keys = {rule.key for rule in (workflow.dedupe, workflow.digest, *(step.digest for step in workflow.steps)) if rule}
    return frozenset().union(*(check(source) for source in sources | keys))


def _html(part: str, source: str) -> str:
    return html_of(source) if part == "mjml" else source


def _verbatim(source: str, scope: Scope) -> str:
    return compiled(source, False).render(scope)


def _markup(source: str, scope: Scope) -> str:
    return compiled(source, True).render(scope)


def _line(source: str, scope: Scope) -> str:
    return _CONTROLS.sub(" ", compiled(source, False).render(scope)).strip()


def _url(source: str, scope: Scope) -> str:
    url = _CONTROLS.sub("", compiled(source, False).render(scope))
    if _UNSAFE_URL.match(url):
        raise UnsafeUrl("a link that would run a script")
    return url


class UnsafeUrl(ValueError):
    """A rendered link whose scheme runs or smuggles content."""


_RENDERERS: dict[str, Callable[[str, Scope], str]] = {
    "subject": _line,
    "title": _line,
    "action_url": _url,
    "html": _markup,
    "mjml": lambda source, scope: _markup(html_of(source), scope),
}


def _reason(error: Exception) -> str:
    """Why it failed, without what a filter says of its values: reasons are stored and logged."""
    if isinstance(error, (ResourceLimitError, UnsafeUrl)):
        return str(error.args[0])
    token = error.token if isinstance(error, LiquidError) else None
    at = f" at '{token.value[:40]}'" if token is not None and token.start_index >= 0 else ""
    return f"{type(error).__name__}{at}"
