"""A Clarion for the tests of an application: a simulated clock, scripted providers, assertions. Blocking.

It works in a thread and loop of its own, so that synchronous and awaited tests use it alike. Nothing leaves the
process; time stands still but for `advance`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

import msgspec
import uvicorn

from clarion.deliveries.interface import Report
from clarion.directory.drafts import draft_of
from clarion.directory.preferences import PreferenceChange, SetPreferences, preferences_of
from clarion.directory.recipients import PutRecipients
from clarion.model import ids
from clarion.model.delivery import Message
from clarion.model.words import Channel
from clarion.testing.clock import SimulatedClock
from clarion.testing.installation import PROJECT, Installation, compose
from clarion.testing.scripted import Scripted
from clarion.testing.stories import Stories, Verdict
from clarion.web.app import create_app

T = TypeVar("T")

KEY = "the-key-of-clarion-in-tests-0123456789"
#: The provider of each channel; in_app needs none.
CHANNELS = tuple(channel for channel in Channel if channel is not Channel.IN_APP)


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A message that a provider accepted, or that came to the inbox."""

    recipient: str
    channel: str
    to: str  #: the address; "" for in_app
    workflow: str
    parts: Mapping[str, str]  #: the rendered texts by name: subject, text, html, title, body ...
    event_data: Mapping[str, Any] = {}

    def says(self, text: str) -> bool:
        """Whether one of its texts holds this."""
        return any(text in part for part in self.parts.values())


class ClarionApp:
    """What a test does with Clarion, and what it asserts of it."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.clock = SimulatedClock()
        self.key = KEY  #: an admin key, for the application under test
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="clarion in tests", daemon=True)
        self._thread.start()
        self._server: _Server | None = None
        defaults = {
            "CLARION_DATABASE_URL": f"sqlite:///{folder}/clarion.db",
            "CLARION_ADMIN_KEY": KEY,
            "CLARION_API__RATE_PER_SECOND": "1000000",  # its bucket is filled by a clock that stands still
            "CLARION_API__BURST": "1000000",
        }
        self._delivered: list[Message] = []
        scripted = self._run(_scripted(self._delivered))
        self._providers = {channel.value: provider for channel, provider in zip(CHANNELS, scripted, strict=True)}
        by_name = {provider.name: provider for provider in scripted}
        self._installation: Installation = self._run(
            compose(folder, {**defaults, **(environment or {})}, self.clock, by_name)
        )
        _listen(self._installation, self._delivered)
        self._run(self._installation.clarion.work())

    # --- what there is ------------------------------------------------------------------------------------------------

    def workflow(self, key: str, *steps: Mapping[str, Any], **more: Any) -> None:
        """Stores a workflow that starts on the event type of its own key, unless `on` says otherwise."""
        self._run(self._installation.workflow(key, *steps, **{"quiet_hours": "defer", **more}))

    def workflows(self, folder: Path | str) -> int:
        """Loads the workflow files of a folder, as the server does; gives their number."""
        return self._run(self._installation.clarion.load_workflows(Path(folder)))

    def recipient(self, id: str, **fields: Any) -> None:
        """Merges into what is known of a person: email, phone, timezone, quiet_hours, attributes ..."""
        command = PutRecipients(project=PROJECT, now=self.clock.now(), drafts=(draft_of({"id": id, **fields}),))
        (put,) = self._run(self._installation.clarion.bus.send(command))
        if put.error is not None:
            raise put.error

    def preferences(self, recipient: str, *preferences: Mapping[str, Any]) -> None:
        """Adds to what a person has said, as PATCH does: `{"channel": "email", "enabled": False}`."""
        change = PreferenceChange(recipient=recipient, preferences=preferences_of([dict(p) for p in preferences]))
        command = SetPreferences(project=PROJECT, now=self.clock.now(), changes=(change,))
        self._run(self._installation.clarion.bus.send(command))

    def provider(self, channel: str) -> Scripted:
        """The provider that carries a channel: `provider("sms").fail_next("transient", times=2)`."""
        return self._providers[Channel(channel).value]

    # --- what happens -------------------------------------------------------------------------------------------------

    def send(self, event_type: str, **body: Any) -> str:
        """Reports an event as POST /v1/events does, and has happen what is due at once; gives the event's id."""
        event = self._run(self._installation.event(event_type, **body))
        self.settle()
        return ids.show(ids.EVENT, event)

    def settle(self) -> None:
        """Has everything happen that is due now, also what the application reported over HTTP."""
        self._run(self._installation.settle())

    def advance(self, by: str | int) -> None:
        """Moves time on ("10m", "1h30m", "7d"): what becomes due on the way happens at its instant, in order."""
        self._run(self._installation.advance(by))

    @property
    def url(self) -> str:
        """Where the application under test finds this Clarion: a server on a free port, begun when first asked for."""
        if self._server is None:
            self._server = _Server(self._installation)
            self._run(self._server.start())
        return self._server.url

    def close(self) -> None:
        """Ends the server, the engine and the thread."""
        if self._server is not None:
            self._run(self._server.stop())
        self._run(self._installation.clarion.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # --- what came of it ----------------------------------------------------------------------------------------------

    @property
    def outbox(self) -> list[Sent]:
        """Everything that was sent, in order; in_app too."""
        return self.sent()

    def sent(self, recipient: str | None = None, channel: str | None = None, workflow: str | None = None) -> list[Sent]:
        """What was sent, narrowed to a recipient, a channel, a workflow."""
        wanted = (recipient, channel, workflow)
        sent = [sent_as(message) for message in list(self._delivered)]
        return [s for s in sent if _fits((s.recipient, s.channel, s.workflow), wanted)]

    def verdicts(
        self, recipient: str | None = None, channel: str | None = None, workflow: str | None = None
    ) -> list[Verdict]:
        """The last verdict on every channel step of every notification, with its trace and the delivery's state."""
        wanted = (recipient, channel, workflow)
        found = self._run(self._stories().verdicts())
        return [v for v in found if _fits((v.recipient, v.channel, v.workflow), wanted)]

    # --- assertions ---------------------------------------------------------------------------------------------------

    def assert_sent_to(
        self, recipient: str, channel: str | None = None, *, workflow: str | None = None, times: int | None = None,
        saying: str | None = None,
    ) -> Sent:  # fmt: skip
        """Something was sent to the recipient (exactly `times`), with this text in it; gives the last one."""
        found = [s for s in self.sent(recipient, channel, workflow) if saying is None or s.says(saying)]
        if not found or (times is not None and len(found) != times):
            what = _words("message", recipient, channel, workflow) + ("" if saying is None else f" saying {saying!r}")
            wanted = "at least 1" if times is None else str(times)
            raise AssertionError(f"{len(found)} {what}, not {wanted}. {self._happened(recipient)}")
        return found[-1]

    def assert_not_sent_to(self, recipient: str, channel: str | None = None, *, workflow: str | None = None) -> None:
        """Nothing was sent to the recipient."""
        found = self.sent(recipient, channel, workflow)
        if found:
            what = _words("message", recipient, channel, workflow)
            raise AssertionError(f"{len(found)} {what}, not 0. {self._happened(recipient)}")

    def assert_suppressed(
        self, recipient: str, channel: str | None = None, *, reason: str | None = None, workflow: str | None = None
    ) -> Verdict:
        """A decision said no, for this reason (`cap_hour`, `opted_out` ...); gives the last such verdict."""
        return self._verdict("suppress", recipient, channel, reason, workflow)

    def assert_deferred(
        self, recipient: str, channel: str | None = None, *, reason: str | None = None, until: str | None = None,
        workflow: str | None = None,
    ) -> Verdict:  # fmt: skip
        """It waits, for this reason, until this instant (RFC 3339); gives the last such verdict."""
        found = self._verdict("defer", recipient, channel, reason, workflow)
        if until is not None and found.until != SimulatedClock(until).now():
            raise AssertionError(f"it waits until {found.until_text}, not {until}. {self._happened(recipient)}")
        return found

    def assert_gathered(self, recipient: str, channel: str | None = None, *, workflow: str | None = None) -> Verdict:
        """It was gathered into a digest; gives the last such verdict."""
        return self._verdict("digest", recipient, channel, None, workflow)

    def assert_traced(self, verdict: Verdict, rule: str, saying: str = "") -> None:
        """This rule spoke in the verdict's trace, with these words in its detail."""
        if not any(t.rule == rule and saying in t.detail for t in verdict.trace):
            told = "; ".join(f"{t.rule} {t.result}: {t.detail}" for t in verdict.trace)
            raise AssertionError(f"no trace of {rule} saying {saying!r}; there is: {told}")

    def explain(self, recipient: str) -> str:
        """The stories of all that was decided for a recipient, in words: what `clarion explain` tells."""
        return self._run(self._stories().told(recipient))

    def _verdict(
        self, kind: str, recipient: str, channel: str | None, reason: str | None, workflow: str | None
    ) -> Verdict:
        found = [v for v in self.verdicts(recipient, channel, workflow) if v.verdict == kind]
        found = [v for v in found if reason is None or v.reason == reason]
        if not found:
            what = _words(f"{kind} verdict", recipient, channel, workflow) + (f" for {reason}" if reason else "")
            raise AssertionError(f"no {what}. {self._happened(recipient)}")
        return found[-1]

    def _happened(self, recipient: str) -> str:
        return f"What happened to {recipient}:\n{self.explain(recipient) or '  nothing was decided'}"

    def _stories(self) -> Stories:
        return Stories(self._installation)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


class _Server:
    """uvicorn in the loop that Clarion works in."""

    def __init__(self, installation: Installation) -> None:
        app = create_app(installation.clarion)
        app.state.ready = True  # the engine runs already
        config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off", access_log=False)
        self._server = uvicorn.Server(config)
        self._serving: asyncio.Task[None] | None = None
        self.url = ""

    async def start(self) -> None:
        self._serving = asyncio.create_task(self._server.serve())
        while not self._server.started:  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # uvicorn rings no bell
        self.url = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving


async def _scripted(delivered: list[Message]) -> list[Scripted]:
    """One provider a channel, made in the loop that they work in."""
    return [Scripted(f"scripted-{channel.value}", channel, delivered) for channel in CHANNELS]


def _listen(installation: Installation, delivered: list[Message]) -> None:
    """Has what comes to inboxes noted with the rest."""
    in_app: Any = installation.clarion.providers["in_app"]
    store = in_app.send

    async def send(messages: Sequence[Message], now: int, report: Report) -> None:
        await store(messages, now, report)
        delivered.extend(messages)

    in_app.send = send


def _fits(values: Sequence[str], wanted: Sequence[str | None]) -> bool:
    return all(want is None or want == value for value, want in zip(values, wanted, strict=True))


def _words(what: str, recipient: str, channel: str | None, workflow: str | None) -> str:
    by = "" if channel is None else f" by {channel}"
    return f"{what}(s) to {recipient}{by}" + ("" if workflow is None else f" of {workflow}")


def sent_as(message: Message) -> Sent:
    """A provider's message as tests see it."""
    return Sent(
        recipient=message.recipient,
        channel=message.channel.value,
        to=message.address,
        workflow=message.workflow,
        parts=message.parts,
        event_data=message.event_data,
    )
