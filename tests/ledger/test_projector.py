from __future__ import annotations

from typing import Any

import msgspec
import pytest

from clarion.ledger import facts
from clarion.ledger.facts import FACTS, Fact
from clarion.ledger.projector import Projector


def test_a_projector_without_apply_and_reset_is_none() -> None:
    class Half(Projector):
        name = "half"
        streams = ("record",)

    with pytest.raises(TypeError, match="abstract"):
        Half()  # type: ignore[abstract]


@pytest.mark.parametrize("kind", FACTS.values(), ids=FACTS)
def test_every_fact_comes_back_from_its_stored_row_as_it_was(kind: type[Fact]) -> None:
    for fact in (_sample(kind, full=False), _sample(kind, full=True)):
        row = (kind.__name__, kind.VERSION, fact.project, fact.at, fact.subject or None, fact.recipient)
        assert facts.read(*row, facts.detail_of(fact)) == fact


def _sample(kind: type[Fact], *, full: bool) -> Fact:
    """A fact of this kind, with its required fields or with all."""
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        if full or field.required:
            values[field.name] = _VALUES[str(field.type)]
    return kind(**values)


_VALUES: dict[str, object] = {
    str(t): value
    for t, value in (
        (int, 7),
        (str, "wörd"),
        (bytes, bytes(range(16))),
        (bool, True),
        (float, 0.5),
        (int | None, 8),
        (str | None, "some"),
        (bool | None, False),
        (list[str], ["a", "b"]),
    )
}
_VALUES["list[list[typing.Any]]"] = [[0, "push", "deliver", None, None, [], [["enabled", "pass", ""]]]]
