"""Turns each plan of `clarion.client.calls` into a method, for a client that blocks and for one that is awaited.

One table for both: no call is written twice. Knows nothing of sockets.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import wraps
from typing import Any, Generic, ParamSpec, TypeVar, overload

from clarion.client import calls
from clarion.client.exchange import Listing, Plan

P = ParamSpec("P")
T = TypeVar("T")


class Blocking(ABC):
    """A client whose methods answer when the server has."""

    @abstractmethod
    def run_plan(self, plan: Plan[T]) -> T:
        """Carries out a plan of `clarion.client.calls`."""

    def walk(self, listing: Listing[T]) -> Iterator[T]:
        """The items of a listing, asking for its pages as they are needed."""
        cursor: str | None = None
        while True:
            page = self.run_plan(listing.page(cursor))
            yield from page.items
            if not (cursor := page.next):
                return


class Awaiting(ABC):
    """A client whose methods are awaited."""

    @abstractmethod
    async def run_plan(self, plan: Plan[T]) -> T:
        """Carries out a plan of `clarion.client.calls`."""

    async def walk(self, listing: Listing[T]) -> AsyncIterator[T]:
        """The items of a listing, asking for its pages as they are needed."""
        cursor: str | None = None
        while True:
            page = await self.run_plan(listing.page(cursor))
            for item in page.items:
                yield item
            if not (cursor := page.next):
                return


def _method(planned: Callable[P, Any], carry_out: Callable[[Any], Any]) -> Callable[P, Any]:
    @wraps(planned)
    def method(*args: P.args, **kwargs: P.kwargs) -> Any:
        return carry_out(planned(*args, **kwargs))

    return method


class _Call(Generic[P, T]):
    """A method that runs a plan and gives its value."""

    def __init__(self, plan: Callable[P, Plan[T]]) -> None:
        self._plan = plan

    @overload
    def __get__(self, face: None, owner: type) -> Callable[P, Plan[T]]: ...
    @overload
    def __get__(self, face: Blocking, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, face: Awaiting, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, face: Any, owner: type) -> Any:
        return self._plan if face is None else _method(self._plan, face.run_plan)


class _List(Generic[P, T]):
    """A method that gives the items of a listing, asking for pages as they are needed."""

    def __init__(self, listing: Callable[P, Listing[T]]) -> None:
        self._listing = listing

    @overload
    def __get__(self, face: None, owner: type) -> Callable[P, Listing[T]]: ...
    @overload
    def __get__(self, face: Blocking, owner: type) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, face: Awaiting, owner: type) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, face: Any, owner: type) -> Any:
        return self._listing if face is None else _method(self._listing, face.walk)


class Calls:
    """All that can be asked of a server."""

    send = _Call(calls.send)
    send_batch = _Call(calls.send_batch)
    event = _Call(calls.event)
    cancel = _Call(calls.cancel)
    preview = _Call(calls.preview)

    notifications = _List(calls.notifications)
    notification = _Call(calls.notification)
    timeline = _List(calls.timeline)

    put_recipient = _Call(calls.put_recipient)
    patch_recipient = _Call(calls.patch_recipient)
    get_recipient = _Call(calls.get_recipient)
    delete_recipient = _Call(calls.delete_recipient)
    put_recipients = _Call(calls.put_recipients)
    add_device = _Call(calls.add_device)
    devices = _List(calls.devices)
    remove_device = _Call(calls.remove_device)
    add_contact = _Call(calls.add_contact)
    contacts = _List(calls.contacts)
    remove_contact = _Call(calls.remove_contact)
    get_preferences = _Call(calls.get_preferences)
    put_preferences = _Call(calls.put_preferences)
    patch_preferences = _Call(calls.patch_preferences)
    token = _Call(calls.token)
    inbox = _List(calls.inbox)

    subscribe = _Call(calls.subscribe)
    unsubscribe = _Call(calls.unsubscribe)
    subscribers = _List(calls.subscribers)

    workflows = _List(calls.workflows)
    workflow = _Call(calls.workflow)
    put_workflow = _Call(calls.put_workflow)
    providers = _List(calls.providers)
    outbox = _List(calls.outbox)
    stats = _List(calls.stats)
