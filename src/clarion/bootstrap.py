"""The composition root: builds the whole application from its settings, top-down in the order of starting up."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import structlog

from clarion import zones
from clarion.clock import HOUR, SECOND, Clock, monotonic
from clarion.decisions.closing import Closer
from clarion.decisions.contexts import Contexts
from clarion.decisions.driver import Decider
from clarion.decisions.following import FollowPolicy, FollowTouches
from clarion.decisions.preview import Previewer
from clarion.decisions.review import Reviewer
from clarion.deliveries import recalls
from clarion.deliveries.board import Board, SwitchProvider, switch_provider
from clarion.deliveries.chain import ChainPolicy
from clarion.deliveries.dispatch import Dispatcher
from clarion.deliveries.http import HttpClient
from clarion.deliveries.interface import Provider, Services
from clarion.deliveries.links import Links
from clarion.deliveries.outbox import Outbox
from clarion.deliveries.outcomes import Outcomes
from clarion.deliveries.pace import Pace
from clarion.deliveries.recalls import Recaller
from clarion.deliveries.receipts import Receipts, RecordReceipts
from clarion.deliveries.reception import Reception
from clarion.deliveries.rendering import Renderer
from clarion.deliveries.reroute import Detour
from clarion.deliveries.routes import RouteRule, Routes
from clarion.deliveries.unusable import UnusableAddresses
from clarion.directory import api_keys, preferences, suppressions, tenants, topics
from clarion.directory.contacts import AddContacts, Contacts, RemoveContacts
from clarion.directory.recipients import EraseRecipients, PutRecipients, Recipients
from clarion.directory.vault import Vault
from clarion.engine import Engine, retention
from clarion.engine.embedded import EmbeddedEngine, take_lock
from clarion.engine.lanes import Chore, Lanes
from clarion.engine.readiness import Check, Readiness
from clarion.engine.scheduler import Scheduler
from clarion.engine.sweeper import Sweeper
from clarion.engine.timekeeping import Timekeeper
from clarion.engine.work import Deciding, Work
from clarion.engine.workers import Workers
from clarion.events import holding
from clarion.events.accept import Acceptance, Accepted, AcceptEvents, GroupCommit
from clarion.events.cancelling import CancelEvent, Cancelling
from clarion.events.counting import EventCounts
from clarion.events.door import Door
from clarion.events.reading import event_with_counts
from clarion.inbox.acts import Act, Acted, ReadAll, TouchNotifications, read_all, touch
from clarion.inbox.live import LiveInboxes
from clarion.inbox.store import InboxStore
from clarion.ledger.bus import Command, CommandBus, Handler
from clarion.limits.interface import LimitsStore
from clarion.limits.rates import ApiRates
from clarion.model.delivery import Receipt
from clarion.model.errors import Unavailable
from clarion.model.ids import Id
from clarion.model.jobs import DECIDE, Job
from clarion.model.words import Priority
from clarion.opening import (
    build_providers,
    first_rows,
    health_policy,
    make_sandboxes,
    open_keys,
    open_limits,
    open_lookup,
    set_up_tracing,
)
from clarion.projections.queries import recent_latency
from clarion.projections.runner import PROJECTORS, Projections
from clarion.security.encryption import (
    KeyRing,
    Lookup,
    Purpose,
    binding,
)
from clarion.settings import Settings
from clarion.storage import Database, Lane, Tx, open_database, statistics
from clarion.storage.schema import prepare
from clarion.storage.writing import check_writing
from clarion.templates.rendering import render_key
from clarion.workflows.catalogue import Catalogue, StoreWorkflows
from clarion.workflows.files import load_folder

log = structlog.get_logger("clarion")

REFRESH = 1.0  #: s between looks for workflow versions that other processes stored
FINISH = 1.0  #: s between looks for events that were paused, resumed or cancelled

PATIENCE = 60.0  #: s that a start waits for databases that aren't there yet
PAUSE = 0.5  #: s between looks whether they are

#: What a process is there for. With the embedded engine, `serve` does everything.
Part = Literal["serve", "worker", "scheduler"]


def settle() -> None:
    """For a process that has opened its application: what was made so far stays, so that the garbage collector needn't
    look at it again; batches make so many objects that it would otherwise look after every few events."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


class Layers(NamedTuple):
    """What works on decisions and deliveries."""

    deciding: Deciding
    dispatcher: Dispatcher
    outcomes: Outcomes
    recaller: Recaller


class Clarion:
    """The composed application. `open` makes it, `work` starts its engine, `close` ends it."""

    _readiness: Readiness | None = None

    def __init__(
        self,
        settings: Settings,
        db: Database,
        limits: LimitsStore,
        ring: KeyRing,
        lookup: Lookup,
        keeper: Timekeeper,
        providers: Mapping[str, Provider],
    ) -> None:
        self.settings, self.db, self.ring, self.lookup, self.keeper, self.clock = (
            settings, db, ring, lookup, keeper, (clock := keeper.clock)
        )  # fmt: skip
        self.vault = Vault(ring, lookup)
        self.catalogue = Catalogue(db)
        self.limits = limits
        self.api_rates = ApiRates(limits, settings.api.rate_per_second, settings.api.burst)
        self.addresses = UnusableAddresses(self.vault, settings.deliveries.disable_endpoints_after_hours * HOUR)
        self._cancelling = Cancelling(limits)
        self.bus = CommandBus(self._handlers(), db.write)
        self.keys = api_keys.Keys(db, clock)
        self.links = Links(settings.url, ring, clock)
        self.outbox = Outbox(db, self.vault)
        self.live = LiveInboxes(db, self.vault, limits, clock)
        self.http = HttpClient(clock)
        services = Services(
            http=self.http, store_inbox=InboxStore(db, self.vault, self.live.nudge).store,
            store_outbox=self.outbox.store, callback_url=self.callback_url, receive=self.receive,
        )  # fmt: skip
        self.providers = build_providers(settings, services, providers)
        disabled = frozenset(p.name for p in settings.providers if not p.enabled)
        self.board = Board(db, clock, limits, self.providers, health_policy(settings), self.bus.send, disabled)
        self.reception = Reception(db, self.bus, clock, self.board.observe)
        rules = {p.name: RouteRule(weight=p.weight, when=p.when) for p in settings.providers}
        self.routes = Routes(self.providers, settings.chains, self.board, rules, clock.now)
        self.detour = Detour(db, clock, self.routes, self.catalogue, self.providers, self.announce)
        self.contexts = Contexts(
            self.catalogue,
            self._open_data,
            self.routes.reaches,
            render_key,
            settings.decisions.attention_budget or None,
        )
        decisions = settings.decisions
        common = (
            db, self.limits, self.contexts, self.routes.first, clock, self.announce, decisions.batch,
            round(decisions.release_spread_seconds * SECOND),
        )  # fmt: skip
        self.deciding = Deciding(Decider(*common), Reviewer(*common), Closer(*common))
        self._rates = {p.name: p.rate_per_second for p in settings.providers if p.rate_per_second}
        self.deciding.decider.share_fairly(decisions.weights, decisions.ahead, self._rates)
        self.previewer = Previewer(db, self.limits, self.contexts)
        self.workers = Workers(db, clock, lambda: keeper.skew, keeper.set)
        followers = (FollowPolicy(self.contexts), FollowTouches(self.contexts))
        self.projections = Projections(db, clock, (*PROJECTORS, *followers))
        kept = settings.retention
        self.retention = retention.Retention(
            db, clock, self.projections,
            retention.kinds(kept.event_days, kept.notification_days, kept.fact_days, kept.outbox_days),
            lambda: keeper.settled,
        )  # fmt: skip
        self.engine: Engine | None = None
        self._sandboxes, self.templates, self.previews, self.checks = make_sandboxes(settings)
        self.door = Door(self.catalogue.for_type, self.checks, self.catalogue.known_types, self.catalogue.refresh)
        self._commit = GroupCommit(db, self.bus, clock, self._announce_events)
        self.accept = self._commit.accept
        self._counts = EventCounts(db, clock)
        self.admin_key: str | None = None  #: made at this start, to be shown once

    # --- the one table of commands ------------------------------------------------------------------------------------

    def _handlers(self) -> Mapping[type[Command[Any]], Handler]:
        recipients, contacts = Recipients(self.vault), Contacts(self.vault)
        acceptance = Acceptance(self._seal_data, recipients.put, self.settings.retention.idempotency_days)
        return {
            AcceptEvents: acceptance.handle,
            CancelEvent: self._cancelling.cancel,
            holding.HoldEvent: holding.hold,
            holding.ResumeEvent: holding.resume,
            PutRecipients: recipients.put,
            EraseRecipients: recipients.erase,
            AddContacts: contacts.add,
            RemoveContacts: contacts.remove,
            preferences.SetPreferences: preferences.set_preferences,
            topics.Subscribe: topics.subscribe,
            topics.Unsubscribe: topics.unsubscribe,
            suppressions.AddSuppressions: suppressions.Suppressions(self.vault).add,
            suppressions.EnableEndpoints: suppressions.Endpoints(self.vault).enable,
            suppressions.LiftSuppressions: suppressions.lift_suppressions,
            tenants.PutTenants: tenants.put_tenants,
            RecordReceipts: Receipts(self.addresses).record,
            SwitchProvider: switch_provider,
            TouchNotifications: self._touch,
            ReadAll: self._read_all,
            StoreWorkflows: self.catalogue.store,
            api_keys.CreateKey: api_keys.create_key,
            api_keys.RevokeKey: api_keys.revoke_key,
            api_keys.CreateProject: api_keys.create_project,
        }

    # --- starting and ending ------------------------------------------------------------------------------------------

    @classmethod
    async def open(
        cls,
        settings: Settings,
        clock: Clock | None = None,
        providers: Mapping[str, Provider] | None = None,
        *,
        alone: bool = False,
    ) -> Clarion:
        """Opens (and if need be makes) the database, the keys and the default project.

        `providers` come before those of the settings: for tests, and for providers of one's own. `alone`: this process
        is going to work on the database, and changes nothing while another one does.
        """
        zones.pin()
        set_up_tracing(settings)
        async with AsyncExitStack() as opened:  # whatever fails, nothing of it is left open: it is tried again
            db = await open_database(settings.database_url, settings.database.pool_size)
            opened.push_async_callback(db.close)
            if alone and settings.engine == "embedded":
                await take_lock(db)
            await prepare(settings.database_url)
            keeper = await Timekeeper.begin(db, clock)
            limits = await open_limits(settings, db, keeper.clock)
            opened.push_async_callback(limits.close)
            ring = await open_keys(settings, db)
            clarion = cls(settings, db, limits, ring, await open_lookup(db, ring), keeper, providers or {})
            clarion.admin_key = await db.write(
                lambda tx: first_rows(tx, clarion.bus, settings.admin_key, clarion.clock.now())
            )
            await clarion.catalogue.refresh()
            opened.pop_all()
        return clarion

    @classmethod
    async def open_in_time(
        cls, settings: Settings, readiness: Readiness | None = None, *, alone: bool = False
    ) -> Clarion:
        """As `open`, and waits for databases that come later: after a power cut everything starts at once."""
        deadline, said = monotonic() + PATIENCE, ""
        while True:
            try:
                return await cls.open(settings, alone=alone)
            except Unavailable as error:
                if monotonic() > deadline:
                    raise
                if str(error) != said:
                    said = str(error)
                    log.warning("can't start yet, trying again", error=said)
                if readiness is not None:
                    readiness.waits(str(error))
            await asyncio.sleep(PAUSE)

    async def load_workflows(self, folder: Path) -> int:
        """Loads the workflow files of a folder into the default project; gives their number. Raises WorkflowErrors."""
        files = load_folder(folder)
        if files:
            plains = tuple(f.plain for f in files)
            command = StoreWorkflows(
                project=api_keys.DEFAULT_PROJECT, now=self.clock.now(), plains=plains, source="file", proved=True
            )
            await self.bus.send(command)
            await self.catalogue.refresh()
        return len(files)

    async def work(self, part: Part = "serve", readiness: Readiness | None = None) -> None:
        """Starts this process's part of the engine. Raises Misconfigured if it may not have it."""
        self.engine = self._embedded() if self.settings.engine == "embedded" else self._celery(part)
        self.keeper.start()
        await self.engine.start()
        if readiness is not None:
            self._readiness = readiness
            await readiness.begin(self._needs(part))

    def _needs(self, part: Part) -> Mapping[str, Check]:
        """What this process can't do its work without. Rate limits and hints have somebody to stand in for them."""
        needs: dict[str, Check] = {"database": partial(check_writing, self.db)}
        alone = self.settings.engine == "embedded"
        if alone or part != "serve":
            needs["lease"] = self.workers.check
        if alone or part == "worker":
            needs["limits"] = self.limits.check
        return needs

    def _layers(self) -> Layers:
        """The layers that work, for a process that runs them."""
        chain = self.settings.chain_policy
        policy = ChainPolicy(
            retries=chain.retries,
            base_delay_ms=round(chain.base_delay_seconds * SECOND),
            max_delay_ms=round(chain.max_delay_seconds * SECOND),
        )
        outcomes = Outcomes(
            self.db, self.clock, self.routes, policy, self.addresses, self.limits,
            self._on_unknown, self.providers, self.reception,
        )  # fmt: skip
        renderer = Renderer(self.db, self.vault, self.catalogue, self._open_data, self.links, self.templates)
        pace = Pace(self.limits, self._rates, self.board)
        dispatcher = Dispatcher(
            self.db, self.clock, self.providers, renderer, outcomes, self.workers, self.detour,
            self.settings.deliveries.max_in_flight, pace,
        )  # fmt: skip
        dispatcher.share_fairly(self.settings.decisions.weights)
        recaller = Recaller(self.db, self.clock, self.catalogue, renderer, self.providers, pace)
        return Layers(self.deciding, dispatcher, outcomes, recaller)

    def _sweeper(self, outcomes: Outcomes) -> Sweeper:
        hours = self.settings.deliveries.unknown_ttl_hours
        return Sweeper(self.db, self.clock, self.workers, outcomes, self.reception, self.detour, hours)

    def _embedded(self) -> Engine:
        """Everything in this process."""
        layers = self._layers()
        return EmbeddedEngine(
            self.db, self.clock, self.workers, layers.deciding, layers.dispatcher, self.projections,
            self._sweeper(layers.outcomes),
            (
                ("refresh workflows", self.catalogue.refresh, REFRESH),
                ("recall", layers.recaller.round, recalls.EVERY),
                *self._chores(),
            ),
        )  # fmt: skip

    def _celery(self, part: Part) -> Engine:
        """This process's part among many."""
        from clarion.engine.celery import app, engines
        from clarion.engine.celery.announcer import Announcer

        workers, own = self.settings.workers, self.settings.workers.channel_queues
        celery = app.make_app(self.settings.broker, own, workers.visibility_timeout_seconds)
        channels = {name: p.channel for name, p in self.providers.items()}
        announcer = Announcer(
            celery, lambda job: app.queue_of(job, channels.get(job.provider or ""), own), self.clock.now
        )
        if part == "serve":
            return engines.ApiEngine(self.workers, announcer, self.catalogue.refresh)
        layers = self._layers()
        if part == "scheduler":
            return engines.SchedulerEngine(
                self.db, self.workers, Scheduler(self.db, self.clock, tuple(channels)),
                self._sweeper(layers.outcomes), self.projections, announcer, self._chores(),
            )  # fmt: skip
        duties = engines.duties_of(workers.queues or app.all_queues(own), channels, own)
        lanes = Lanes()
        return engines.WorkerEngine(
            self.workers, lanes, Work(lanes, layers.deciding, layers.dispatcher), duties,
            Scheduler(self.db, self.clock, tuple(duties.delivers), duties.decides), announcer,
            (("refresh workflows", self.catalogue.refresh, REFRESH), ("recall", layers.recaller.round, recalls.EVERY)),
        )  # fmt: skip

    def _chores(self) -> tuple[Chore, ...]:
        """What one process of an installation has to do every so many seconds, beside the work itself."""
        return (
            ("finish events", self._finish_events, FINISH),
            ("retention", self.retention.round, retention.EVERY),
            ("statistics", lambda: statistics.keep_up(self.db), statistics.EVERY),
        )

    async def _finish_events(self) -> int:
        """A bite of what is left to do for paused, resumed and cancelled events; how much it was, at most."""
        if not await self.db.read(holding.any_left):
            return 0
        now = self.clock.now()
        await self.db.write(lambda tx: holding.rest(tx, now), Lane.DECISIONS)
        found, unused = await self.db.write(lambda tx: self._cancelling.finish(tx, now), Lane.DECISIONS)
        if unused:
            await self.limits.release(unused)
        return holding.BITE if found else 0

    async def close(self) -> None:
        """Stops working, ends connections."""
        if self._readiness is not None:
            await self._readiness.end()
        if self.engine is not None:
            await self.engine.stop()
        await self.keeper.stop()
        await self._counts.close()
        for sandbox in self._sandboxes:
            await sandbox.close()
        for provider in self.providers.values():
            await provider.aclose()
        await self.http.aclose()
        await self.api_rates.close()
        await self.limits.close()
        await self.db.close()

    async def event(self, project: int, event: Id, wait: bool = False) -> dict[str, Any]:
        """An event with its counts; `wait`: for exact ones, however large it is. Raises NotFound."""
        return await event_with_counts(self.db, self._counts, project, event, self.clock.now(), wait)

    async def cancel(self, project: int, event: Id) -> int:
        """Cancels what of an event hasn't been sent; gives the number of deliveries and undecided recipients."""
        cancelled = await self.bus.send(CancelEvent(project=project, now=self.clock.now(), event=event))
        if cancelled.unused:
            await self.limits.release(cancelled.unused)
        return cancelled.deliveries

    async def resume(self, project: int, event: Id) -> bool:
        """Goes on with a paused event; False: it wasn't paused."""
        resumed = await self.bus.send(holding.ResumeEvent(project=project, now=self.clock.now(), event=event))
        if resumed:
            await self.announce([Job(DECIDE, priority) for priority in Priority])
        return resumed

    # --- the wires between the layers ---------------------------------------------------------------------------------

    async def announce(self, jobs: Sequence[Job]) -> None:
        """Hints go to the engine; without one (in a command-line process) the server's sweeper finds the work."""
        if self.engine is not None and jobs:
            await self.engine.announce(jobs)

    async def _announce_events(self, accepted: Sequence[Accepted]) -> None:
        await self.announce([Job(DECIDE, priority) for priority in sorted({a.priority for a in accepted})])

    async def standing(self) -> list[dict[str, Any]]:
        """How every provider stands, now."""
        await self.board.refresh()
        now = self.clock.now()
        took = await self.db.read(lambda tx: recent_latency(tx, now))
        return [
            {
                "name": name,
                "kind": provider.kind,
                "channel": provider.channel.value,
                "state": self.board.standing(name).value,
                "success_rate": self.board.rate(name),
                "samples": self.board.health(name).samples,
                "latency_ms": took.get(name),
                "since": self.board.state(name).since or None,
                "paused_until": now + left if (left := self.board.pause_left(name, now)) else None,
            }
            for name, provider in self.providers.items()
        ]

    def callback_url(self, provider: str) -> str:
        """Where a provider of this name reports to."""
        return f"{self.settings.url}/v1/callbacks/{provider}"

    async def receive(self, provider: str, receipts: Sequence[Receipt]) -> None:
        """Records receipts of the provider of this name; answers after the commit. Raises Unavailable."""
        await self.reception.receive(provider, self.providers[provider].channel, receipts)

    async def _touch(self, tx: Tx, command: TouchNotifications) -> Acted:
        acted = await touch(tx, command)
        return await self._take_back(tx, command, acted) if command.act in (Act.READ, Act.ARCHIVED) else acted

    async def _read_all(self, tx: Tx, command: ReadAll) -> Acted:
        return await self._take_back(tx, command, await read_all(tx, command))

    async def _take_back(self, tx: Tx, command: TouchNotifications | ReadAll, acted: Acted) -> Acted:
        """What was read needs to stand on no device any more."""
        if acted.nudge is not None and acted.nudge.touched:
            await recalls.plan(tx, self.catalogue, command.project, acted.nudge.touched, command.now)
        return acted

    def _seal_data(self, project: int, event: Id, plain: bytes) -> bytes:
        return self.ring.seal(plain, binding(project, Purpose.EVENT, event))

    def _open_data(self, project: int, event: Id, sealed: bytes) -> bytes:
        return self.ring.open(sealed, binding(project, Purpose.EVENT, event))

    async def _on_unknown(self, project: int, key: str, version: int) -> str:
        workflow = await self.db.read(lambda tx: self.catalogue.version(tx, project, key, version))
        return workflow.on_unknown
