"""Compiles Liquid once and renders it: strict about syntax and filters, lenient about missing values, bounded in all.

Templates read no files, no clock and nothing but the scope they are given. Which values that scope holds is
`clarion.templates.scope`'s business, what a rendered part may look like `clarion.templates.rendering`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import lru_cache, partial
from io import StringIO
from sys import getsizeof
from typing import Any, ClassVar

from liquid import BoundTemplate, Environment, RenderContext
from liquid import escape as safe
from liquid.ast import Node
from liquid.builtin.content import ContentNode
from liquid.builtin.expressions import FilteredExpression, Path
from liquid.builtin.expressions.logical import ContainsExpression, EqExpression, NeExpression
from liquid.builtin.expressions.primitive import RangeLiteral
from liquid.builtin.output import Output, OutputNode
from liquid.builtin.tags.case_tag import _AnyExpression
from liquid.builtin.tags.for_tag import ForNode, ForTag
from liquid.builtin.tags.tablerow_tag import TablerowNode, TablerowTag
from liquid.exceptions import (
    LiquidError,
    LocalNamespaceLimitError,
    LoopIterationLimitError,
    OutputStreamLimitError,
    ResourceLimitError,
    UnknownFilterError,
)
from liquid.expression import Expression
from liquid.output import LimitedStringIO
from liquid.stringify import to_liquid_string
from liquid.utils import ReadOnlyChainMap

from clarion.templates import filters
from clarion.templates.tokens import MAX_SOURCE, BrokenTemplate, line_at, scan

Scope = Mapping[str, Any]


ENDLESS = filters.ENDLESS
#: The work of a render that nobody waits for: 5 to 10 ms. A unit is a node of the template, 64 characters that a filter
#: passes through, or 4 items of a list.
SHORT = 6_000


#: That of one output among others without a bound: up to 0.3 ms.
SHORT_OUTPUT = 250


class Slow(Exception):
    """More work than this render may be: it has to be done where nothing waits for it."""


class _Context(RenderContext):
    """Counts the rounds of all loops together and all work, and knows no `now` of its own."""

    __slots__ = ("body", "held", "left", "rounds")

    def __init__(self, template: BoundTemplate, work: int, **options: Any) -> None:
        super().__init__(template, **options)
        self.scope = ReadOnlyChainMap(self.locals, self.globals, self.counters)
        self.rounds, self.held, self.left = 0, 0, work
        self.body = 0  #: nodes in the loop that is about to begin

    def spend(self, work: int) -> None:
        self.left -= work
        if self.left < 0:
            raise Slow

    def raise_for_loop_limit(self, length: int = 1) -> None:
        self.rounds += length
        if self.rounds > filters.MAX_ITEMS:
            raise LoopIterationLimitError(f"over {filters.MAX_ITEMS:,} rounds of its loops", token=None)
        self.spend(length * (1 + self.body))

    def assign(self, key: str, val: Any) -> None:
        self.held += getsizeof(val, 1) - (getsizeof(self.locals[key], 1) if key in self.locals else 0)
        self.locals[key] = val
        if self.held > filters.MAX_TEXT:
            raise LocalNamespaceLimitError(f"its variables hold over {filters.MAX_TEXT:,} bytes", token=None)

    def filter(self, name: str, token: Any) -> Callable[..., object]:
        try:
            return partial(self.env.filters[name], self)
        except KeyError:
            raise UnknownFilterError(f"unknown filter '{name}'", token=token) from None

    def get_buffer(self, buf: Any = None) -> _Buffer:
        return _Buffer(self, filters.MAX_TEXT - (buf.size if isinstance(buf, LimitedStringIO) else 0))


class _Buffer(LimitedStringIO):
    """Takes long texts into account."""

    def __init__(self, context: _Context, limit: int) -> None:
        super().__init__(limit)
        self.context = context

    def write(self, text: str) -> int:
        self.size += len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
        if self.size > self.limit:
            raise OutputStreamLimitError(f"over {filters.MAX_TEXT:,} bytes of text", token=None)
        if len(text) > 1_000:
            self.context.spend(len(text) >> 10)
        return StringIO.write(self, text)


class _Looping:
    """A loop that tells its context how much is in it."""

    __slots__ = ()
    weight: int

    def render_to_output(self, context: RenderContext, buffer: Any) -> int:
        context.body = self.weight  # type: ignore[attr-defined]
        return int(super().render_to_output(context, buffer))  # type: ignore[misc]


class _ForNode(_Looping, ForNode):
    __slots__ = ("weight",)


class _TablerowNode(_Looping, TablerowNode):
    __slots__ = ("weight",)


class _OutputNode(OutputNode):
    """Lists and mappings in an output are work."""

    __slots__ = ()

    def render_to_output(self, context: RenderContext, buffer: Any) -> int:
        value = self.expression.evaluate(context)
        if isinstance(value, (list, tuple, dict)):
            context.spend(filters.extent(value, context.left))  # type: ignore[attr-defined]
            value = to_liquid_string(value, context.autoescape)
            context.spend(filters.length(value))  # type: ignore[attr-defined]
        elif isinstance(value, int):
            context.spend(filters.length(value))  # type: ignore[attr-defined]
        return buffer.write(to_liquid_string(value, context.autoescape))  # type: ignore[no-any-return]


class _For(ForTag):
    node_class = _ForNode


class _Tablerow(TablerowTag):
    node_class = _TablerowNode


class _Output(Output):
    node_class = _OutputNode


class _Environment(Environment):
    """Standard Liquid without `include` and `render`, every filter bounded, all work counted."""

    output_stream_limit: ClassVar[int | None] = filters.MAX_TEXT

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        super().setup_tags_and_filters(extra=extra)
        for tag in ("include", "render"):
            del self.tags[tag]
        for kind in (_For, _Tablerow, _Output):
            self.add_tag(kind)
        self.filters.update(date=filters.date, json=filters.json, uniq=filters.uniq)
        self.filters = {name: filters.bounded(name, filter_) for name, filter_ in self.filters.items()}


_PLAIN, _ESCAPING = _Environment(), _Environment(autoescape=True)

#: Renders a text with plain values only; the flag: within bounds.
_Quick = Callable[[Scope, bool], str]


class Template:
    """A compiled template. `render` raises whatever a filter or a limit raises."""

    __slots__ = ("_bound", "_quick", "_weight")

    def __init__(self, bound: BoundTemplate, quick: _Quick | None, weight: int) -> None:
        self._bound, self._quick, self._weight = bound, quick, weight

    def render(self, scope: Scope, work: int = ENDLESS) -> str:
        """The text. Raises Slow if it is more than so much work."""
        if self._quick is not None:
            return self._quick(scope, work < ENDLESS)
        return self.weighed(scope, work)[0]

    def weighed(self, scope: Scope, work: int) -> tuple[str, int]:
        """The text, and how much work it was: 0 for what is nearly none. Raises Slow if that is more than `work`."""
        if self._quick is not None:
            return self._quick(scope, work < ENDLESS), 0
        context = _Context(self._bound, work, globals=scope)
        context.spend(self._weight)
        buffer = context.get_buffer()
        self._bound.render_with_context(context, buffer)
        return buffer.getvalue(), work - context.left


def _parse(source: str, escape: bool) -> tuple[BoundTemplate, int]:
    """The syntax tree, and the number of its nodes."""
    scan(source)
    try:
        bound = (_ESCAPING if escape else _PLAIN).from_string(source)
    except LiquidError as error:
        raise _told(error, source) from error
    return bound, _weigh(bound.nodes, RenderContext(bound))


def _weigh(nodes: Iterable[Node], context: RenderContext) -> int:
    """The number of nodes, which loops keep for themselves.

    Also bounds the expressions that python-liquid doesn't: ranges, which it walks through when reversed, and what
    looks at the whole of a value.
    """
    count = 0
    for node in nodes:
        within = _weigh(node.children(context), context)
        if isinstance(node, (_ForNode, _TablerowNode)):
            node.weight = within
        count += 1 + within
        expressions = list(node.expressions())
        while expressions:
            expression = expressions.pop()
            expressions += expression.children()
            if isinstance(expression, (EqExpression, NeExpression, ContainsExpression)):
                expression.left, expression.right = _Side(expression.left), _Side(expression.right)
            elif (bounded := _BOUNDED.get(type(expression))) is not None:
                expression.__class__ = bounded
    return count


class _Range(RangeLiteral):
    """`(1..event.data.n)` of a sensible length."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> range:
        made = super().evaluate(context)
        if made[filters.MAX_ITEMS :]:
            raise ResourceLimitError(f"a range over {filters.MAX_ITEMS:,} long", token=None)
        return made


class _Side(Expression):
    """A side of a comparison, which is as much work as its sides are long."""

    __slots__ = ("inner",)

    def __init__(self, inner: Expression) -> None:
        super().__init__(inner.token)
        self.inner = inner

    def __str__(self) -> str:
        return str(self.inner)

    def evaluate(self, context: RenderContext) -> object:
        value = self.inner.evaluate(context)
        context.spend(filters.extent(value, context.left))  # type: ignore[attr-defined]
        return value

    def children(self) -> list[Expression]:
        return [self.inner]


class _Any(_AnyExpression):
    """The values of a `when`."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> list[bool]:
        each = 1 + filters.extent(self.left.evaluate(context), context.left)  # type: ignore[attr-defined]
        context.spend(len(self.expressions) * each)  # type: ignore[attr-defined]
        return super().evaluate(context)


_BOUNDED: dict[type[Expression], type[Expression]] = {RangeLiteral: _Range, _AnyExpression: _Any}


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


def _quick(nodes: list[Node], escape: bool) -> _Quick | None:
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

    def value_at(scope: Scope, path: tuple[str, ...], bounded: bool) -> str:
        value: Any = scope
        try:
            for segment in path:
                value = value[segment]
        except (KeyError, TypeError, IndexError):
            return ""
        if type(value) is str:
            return safe(value) if escape else value
        if bounded and isinstance(value, (list, dict)):
            return _short(value, escape)
        return to_liquid_string(value, escape)

    return lambda scope, bounded: "".join(
        [part if isinstance(part, str) else value_at(scope, part, bounded) for part in parts]
    )


def _short(value: Any, escape: bool) -> str:
    """A list or mapping as a text. Raises Slow if that is long."""
    if filters.extent(value, SHORT) > SHORT_OUTPUT:
        raise Slow
    return to_liquid_string(value, escape)


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
    bound, weight = _parse(source, escape)
    return Template(bound, _quick(bound.nodes, escape), weight)


def check(source: str) -> frozenset[str]:
    """Refuses what can't be rendered, unknown filters included; gives the names that it takes from its scope.

    Raises BrokenTemplate. For the moment a workflow is loaded: it is slower than `compiled`.
    """
    analysis = _parse(source, False)[0].analyze()
    for name, spans in analysis.filters.items():
        if name not in _PLAIN.filters:
            close = get_close_matches(name, _PLAIN.filters, 1)
            mend = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(_PLAIN.filters))}"
            line = line_at(source, min(span.index for span in spans))
            raise BrokenTemplate(f"unknown filter '{name}': {mend}", line)
    return frozenset(analysis.globals)


def is_long(source: str) -> bool:
    """Whether a source takes its time to be compiled: 10 ms or more."""
    return len(source) > 50_000 or source.count("{%") + source.count("{{") > 400


def render_text(source: str, scope: Scope, work: int = ENDLESS) -> str:
    """Renders a one-off text (a dedupe or digest key), unescaped. Raises what `Template.render` raises."""
    return compiled(source, False).render(scope, work)


__all__ = [
    "ENDLESS", "MAX_SOURCE", "SHORT", "BrokenTemplate", "Scope", "Slow", "Template", "check", "compiled", "is_long",
    "render_text",
]  # fmt: skip
