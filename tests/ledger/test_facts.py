"""Facts come out of the ledger as they went in; all of them have a version and a stream."""

from __future__ import annotations

from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import pytest

from clarion.ledger.bus import Command, CommandBus, UnknownCommand
from clarion.ledger.facts import FACTS, STREAMS, EventCancelled, Fact, UnknownFact, detail_of, read


def sample(kind: type[Fact]) -> Fact:
    """A fact with every field filled."""
    fields: dict[str, Any] = {"project": 1, "at": 5, "subject": b"s" * 16, "recipient": "ada"}
    hints = get_type_hints(kind)
    for name in kind.__struct_fields__:
        if name not in fields:
            fields[name] = _value(hints[name])
    return kind(**fields)


def _value(hint: Any) -> Any:
    options = [o for o in get_args(hint) if o is not type(None)] if get_origin(hint) not in (list, dict) else []
    hint = options[0] if options else hint
    if get_origin(hint) is list:
        return ["x"] if get_args(hint)[0] is str else [["x"]]
    return {str: "x", int: 3, bool: True, float: 0.5}[hint]


@pytest.mark.parametrize("kind", FACTS.values(), ids=FACTS)
def test_every_fact_is_read_back_as_it_was(kind: type[Fact]) -> None:
    fact = sample(kind)
    detail = detail_of(fact).decode()
    assert read(kind.__name__, kind.VERSION, 1, 5, b"s" * 16, "ada", detail.encode()) == fact
    assert kind.STREAM in STREAMS
    assert kind.VERSION >= 1


def test_of_a_later_release_new_kinds_and_new_fields_are_passed_over_and_a_new_shape_is_refused() -> None:
    # Given what a newer release wrote: a kind of its own
    new = read("SomethingNew", 1, 1, 5, b"s" * 16, "ada", b'{"n": 1}')
    assert new == UnknownFact(project=1, at=5, subject=b"s" * 16, recipient="ada", kind="SomethingNew", said={"n": 1})
    assert "UnknownFact" not in FACTS

    # And one more field of a kind that is known
    cancelled = read("EventCancelled", 1, 1, 5, None, None, b'{"cancelled": 2, "since_then": 3}')
    assert cancelled == EventCancelled(project=1, at=5, cancelled=2)

    # Then only what may mean something else is refused
    with pytest.raises(ValueError, match="doesn't know"):
        read("EventAccepted", 99, 1, 5, None, None, b"{}")


def test_no_fact_has_a_place_for_an_address_or_a_text() -> None:
    for kind in FACTS.values():
        assert not {"email", "phone", "address", "value", "body", "title", "text", "token"} & set(
            kind.__struct_fields__
        )


class Greet(Command[str], frozen=True, kw_only=True):
    name: str


async def test_the_bus_finds_the_handler_and_refuses_what_none_takes() -> None:
    async def greet(tx: object, command: Greet) -> str:
        return f"hello {command.name} in {tx}"

    async def run(work: Any) -> Any:
        return await work("a transaction")

    bus = CommandBus({Greet: greet}, run)
    assert await bus.send(Greet(project=1, now=0, name="ada")) == "hello ada in a transaction"
    assert await bus.within("mine", Greet(project=1, now=0, name="ada")) == "hello ada in mine"
    with pytest.raises(UnknownCommand, match="no handler takes Greet"):
        await CommandBus({}, run).send(Greet(project=1, now=0, name="ada"))
    assert msgspec.structs.asdict(Greet(project=1, now=0, name="x"))["name"] == "x"
