"""What tasks and threads share isn't pulled from under their feet: rules over the source that a review would forget.

While a coroutine waits, others run; and on SQLite a piece of work with a transaction runs in a thread of its own. Who
loops over shared state meanwhile gets "changed size during iteration", now and then, on a machine that is busy.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import clarion

SOURCE = Path(clarion.__file__).parent
#: Methods by which a list, dict, set or deque is changed.
CHANGING = frozenset({
    "add", "append", "appendleft", "clear", "discard", "extend", "insert", "move_to_end", "pop", "popitem", "popleft",
    "remove", "setdefault", "update",
})  # fmt: skip
#: Functions whose answer is a copy.
COPYING = frozenset({"list", "tuple", "dict", "set", "frozenset", "sorted", "Counter"})
#: What a piece of work with a transaction may change beside it, with the reason.
CACHES = {
    "_early": "workflow versions never change: whoever puts one there puts the same",
    "_events": "what of events never changes; entries are looked up, put in and dropped one by one",
    "_epoch": "only set to None, which has it read again",
}
#: Classes whose objects nobody shares, with the reason.
ALONE = {"Changes": "is made, filled and stored by one command"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def inside(node: ast.AST) -> Iterator[ast.AST]:
    """Everything that runs when it runs: what a function within does isn't part of that."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from inside(child)


def own_attribute(node: ast.AST) -> str | None:
    """`x` of `self.x`, of `self.x[...]` and so on."""
    while isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
        return node.attr
    return None


def changes(body: Iterable[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    """The attributes of `self` that are changed, or whose content is."""
    for node in body:
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AugAssign | ast.AnnAssign):
            targets = [node.target]
        elif isinstance(node, ast.Delete):
            targets = node.targets
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGING:
            targets = [node.func.value]
        for target in targets:
            for one in target.elts if isinstance(target, ast.Tuple) else [target]:
                if name := own_attribute(one):
                    yield name, node


def looped_over(node: ast.expr) -> str | None:
    """The attribute of `self` that a loop goes over as it is; None if it goes over a copy, or something else."""
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name) and node.func.id not in COPYING:  # enumerate, zip, filter ...
            return next(filter(None, map(looped_over, node.args)), None)
        if isinstance(node.func, ast.Attribute) and node.func.attr in {"items", "values", "keys"}:
            return looped_over(node.func.value)
        return None
    return own_attribute(node)


def waits(nodes: Iterable[ast.AST]) -> bool:
    """Whether others may run meanwhile."""
    for node in nodes:
        for one in (node, *inside(node)):
            if isinstance(one, ast.Await | ast.AsyncFor | ast.AsyncWith | ast.Yield | ast.YieldFrom):
                return True
            if isinstance(one, ast.comprehension) and one.is_async:
                return True
    return False


def loops(function: ast.AST) -> Iterator[tuple[ast.expr, list[ast.AST]]]:
    """What the loops and comprehensions of a function go over, each with what is done meanwhile."""
    for node in inside(function):
        if isinstance(node, ast.For):
            yield node.iter, [*node.body]
        elif isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
            done: list[ast.AST] = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
            for generator in node.generators:
                yield generator.iter, [*done, *generator.ifs]


def in_a_transaction(function: Function | ast.Lambda) -> bool:
    arguments = function.args
    return any(a.arg == "tx" for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs))


def faults_in(text: str, file: str) -> Iterator[str]:
    for made in ast.walk(ast.parse(text)):
        if isinstance(made, ast.ClassDef) and made.name not in ALONE:
            yield from _faults_of(made, file)


def _faults_of(made: ast.ClassDef, file: str) -> Iterator[str]:
    methods = [m for m in made.body if isinstance(m, ast.FunctionDef | ast.AsyncFunctionDef)]
    later = [node for m in methods if m.name != "__init__" for node in ast.walk(m)]
    shared = {name for name, _ in changes(later)}
    functions = [n for n in later if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)]
    for function in functions:
        transacting = in_a_transaction(function)
        for over, meanwhile in loops(function):
            name = looped_over(over)
            if name in shared and (transacting or waits(meanwhile)):
                yield f"{file}:{over.lineno}: goes over self.{name}, which others change meanwhile: go over a copy"
        for name, node in changes(inside(function)) if transacting else ():
            if name not in CACHES:
                at = getattr(node, "lineno", 0)
                yield f"{file}:{at}: a transaction changes self.{name}: it may run again, or in a thread; do it after"
        if isinstance(function, ast.AsyncFunctionDef):
            for name, node in changes(inside(function)):
                if isinstance(node, ast.Assign | ast.AugAssign) and _reads_before_it_waits(node, name):
                    yield f"{file}:{node.lineno}: self.{name} is read before an await and set after it"


def _reads_before_it_waits(node: ast.Assign | ast.AugAssign, name: str) -> bool:
    value = node.value
    if not any(isinstance(one, ast.Await) for one in (value, *inside(value))):
        return False
    return isinstance(node, ast.AugAssign) or any(own_attribute(one) == name for one in inside(value))


def test_nothing_shared_is_looped_over_or_changed_while_others_may_do_the_same() -> None:
    faults = [
        fault
        for path in sorted(SOURCE.rglob("*.py"))
        for fault in faults_in(path.read_text(), str(path.relative_to(SOURCE.parent)))
    ]
    assert not faults, "\n".join(faults)


SHARED = """
class Shared:
    def __init__(self):
        self._things, self._count, self._fixed = {}, 0, ()

    def put(self, thing):
        self._things[thing] = 1

"""


@pytest.mark.parametrize(
    "method, fault",
    [
        ("async def m(self):\n  for a, b in self._things.items():\n   await b()", True),
        ("async def m(self):\n  for a, b in list(self._things.items()):\n   await b()", False),
        ("async def m(self):\n  for a, b in self._things.items():\n   b()", False),
        ("async def m(self):\n  return [await a() for a in self._things]", True),
        ("async def m(self):\n  return {a: await b() for a, b in enumerate(self._things.values())}", True),
        ("async def m(self):\n  for a in self._things:\n   async with a: pass", True),
        ("async def m(self):\n  for a in self._fixed:\n   await a()", False),
        ("async def m(self, tx):\n  return [a for a in self._things]", True),
        ("async def m(self):\n  await db.read(lambda tx: [a for a in self._things])", True),
        ("async def m(self):\n  async def work(tx):\n   self._count += 1\n  await db.write(work)", True),
        ("async def m(self):\n  self._count += await a()", True),
        ("async def m(self):\n  self._count = self._count + await a()", True),
        ("async def m(self):\n  found = await a()\n  self._count += found", False),
    ],
)
def test_the_rules_find_what_they_are_for(method: str, fault: bool) -> None:
    assert bool(list(faults_in(SHARED + textwrap.indent(method, "    "), "x.py"))) is fault
