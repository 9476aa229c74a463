"""Compiles Liquid once and renders it: strict about syntax and filters, lenient about missing values, bounded in all.

Templates read no files, no clock and nothing but the scope they are given. Which values that scope holds is
`clarion.templates.scope`'s business, what a rendered part may look like `clarion.templates.rendering`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, ClassVar

from liquid import BoundTemplate, Environment, RenderContext
from liquid.ast import Node
from liquid.builtin.content import ContentNode
from liquid.builtin.expressions import FilteredExpression, Path
from liquid.builtin.expressions.primitive import RangeLiteral
from liquid.builtin.output import OutputNode
from liquid.exceptions import LiquidError, LoopIterationLimitError, ResourceLimitError
from liquid.stringify import to_liquid_string
from liquid.utils import ReadOnlyChainMap

from clarion.templates import filters
from clarion.templates.tokens import MAX_SOURCE, BrokenTemplate, line_at, scan

Scope = Mapping[str, Any]


class _Context(RenderContext):
    """Counts the rounds of all loops together, and knows no `now` of its own."""

    __slots__ = ("rounds",)

    def __init__(self, template: BoundTemplate, **options: Any) -> None:
        super().__init__(template, **options)
        self.scope = ReadOnlyChainMap(self.locals, self.globals, self.counters)
        self.rounds = 0

    def raise_for_loop_limit(self, length: int = 1) -> None:
        self.rounds += length
        if self.rounds > filters.MAX_ITEMS:
            raise LoopIterationLimitError(f"over {filters.MAX_ITEMS:,} rounds of its loops", token=None)


class _Environment(Environment):
    """Standard Liquid without `include` and `render`, every filter bounded."""

    output_stream_limit: ClassVar[int | None] = filters.MAX_TEXT
    local_namespace_limit: ClassVar[int | None] = filters.MAX_TEXT

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        super().setup_tags_and_filters(extra=extra)
        for tag in ("include", "render"):
            del self.tags[tag]
        self.filters.update(date=filters.date, json=filters.json)
        self.filters = {name: filters.bounded(name, filter_) for name, filter_ in self.filters.items()}


_PLAIN, _ESCAPING = _Environment(), _Environment(autoescape=True)


class Template:
    """A compiled template. `render` raises whatever a filter or a limit raises."""

    __slots__ = ("_bound", "_quick")

    def __init__(self, bound: BoundTemplate, quick: Callable[[Scope], str] | None) -> None:
        self._bound, self._quick = bound, quick

    def render(self, scope: Scope) -> str:
        if self._quick is not None:
            return self._quick(scope)
        context = _Context(self._bound, globals=scope)
        buffer = context.get_buffer()
        self._bound.render_with_context(context, buffer)
        return buffer.getvalue()


def _parse(source: str, escape: bool) -> BoundTemplate:
    scan(source)
    try:
        bound = (_ESCAPING if escape else _PLAIN).from_string(source)
    except LiquidError as error:
        raise _told(error, source) from error
    if ".." in source:
        _bound_ranges(bound.nodes, RenderContext(bound))
    return bound


def _bound_ranges(nodes: Iterable[Node], context: RenderContext) -> None:
    """Gives every range of a syntax tree its limit: python-liquid has none, and walks them through when reversed."""
    for node in nodes:
        expressions = list(node.expressions())
        while expressions:
            expression = expressions.pop()
            expressions += expression.children()
            if isinstance(expression, RangeLiteral):
                expression.__class__ = _Range
        _bound_ranges(node.children(context), context)


class _Range(RangeLiteral):
    """`(1..event.data.n)` of a sensible length."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> range:
        made = super().evaluate(context)
        if made[filters.MAX_ITEMS :]:
            raise ResourceLimitError(f"a range over {filters.MAX_ITEMS:,} long", token=None)
        return made


def _told(error: LiquidError, source: str) -> BrokenTemplate:
    """python-liquid's syntax error in one line, with the line it stands on and a mend where one is known."""
    message = str(error.message)
    position = error.token.start_index if error.token is not None else -1
    if not 0 <= position < len(source):
        return BrokenTemplate(message)
    line = line_at(source, position)
    word = error.token.value if error.token is not None else ""
    if message.startswith("unexpected tag"):
        known = sorted(tag for tag in _PLAIN.tags if tag.isidentifier())
        close = get_close_matches(word, known, 1)
        mend = f"did you mean {{% {close[0]} %}}?" if close else f"there are {', '.join(known)}"
        return BrokenTemplate(f"unknown tag {{% {word} %}}: {mend}", line)
    if "found '='" in message or "found '=='" in message:
        message += " (compare with == inside {% if %}; an output takes a value and filters only)"
    return BrokenTemplate(f"{message}: {source.splitlines()[line - 1].strip()[:120]}", line)


def _quick(nodes: list[Node], escape: bool) -> Callable[[Scope], str] | None:
    """A renderer for texts with plain values only (`{{ event.data.author }} replied`), seven times as fast.

    None where any Liquid beyond that is used, or so many values that they need a bound. It must come out as
    python-liquid's own does; a property test holds it.
    """
    parts: list[str | tuple[str, ...]] = []
    for node in nodes:
        if isinstance(node, ContentNode):
            parts.append(node.text)
        elif (path := _plain_path(node)) is not None:
            parts.append(path)
        else:
            return None
    if len(parts) > 64:
        return None

    def value_at(scope: Scope, path: tuple[str, ...]) -> str:
        value: Any = scope
        try:
            for segment in path:
                value = value[segment]
        except (KeyError, TypeError, IndexError):
            return ""
        return to_liquid_string(value, escape)

    return lambda scope: "".join([part if isinstance(part, str) else value_at(scope, part) for part in parts])


def _plain_path(node: Node) -> tuple[str, ...] | None:
    expression = node.expression if isinstance(node, OutputNode) else None
    if not isinstance(expression, FilteredExpression) or expression.filters or not isinstance(expression.left, Path):
        return None
    segments = [s for s in expression.left.path if isinstance(s, str) and s not in {"size", "first", "last"}]
    return tuple(segments) if len(segments) == len(expression.left.path) else None


@lru_cache(maxsize=2_048)
def compiled(source: str, escape: bool) -> Template:
    """The template, compiled at most once while it is in use. `escape`: values are made safe for HTML.

    Raises BrokenTemplate.
    """
    bound = _parse(source, escape)
    return Template(bound, _quick(bound.nodes, escape))


def check(source: str) -> frozenset[str]:
    """Refuses what can't be rendered, unknown filters included; gives the names that it takes from its scope.

    Raises BrokenTemplate. For the moment a workflow is loaded: it is slower than `compiled`.
    """
    analysis = _parse(source, False).analyze()
    for name, spans in analysis.filters.items():
        if name not in _PLAIN.filters:
            close = get_close_matches(name, _PLAIN.filters, 1)
            mend = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(_PLAIN.filters))}"
            line = line_at(source, min(span.index for span in spans))
            raise BrokenTemplate(f"unknown filter '{name}': {mend}", line)
    return frozenset(analysis.globals)


def render_text(source: str, scope: Scope) -> str:
    """Renders a one-off text (a dedupe or digest key), unescaped. Raises what `Template.render` raises."""
    return compiled(source, False).render(scope)


__all__ = ["MAX_SOURCE", "BrokenTemplate", "Scope", "Template", "check", "compiled", "render_text"]
