"""The board: how every provider stands, the same for all workers, and a second old at most.

The figures are in the limits store, the standing in `provider_states`. Whoever notices first switches it, by a
compare-and-set, so that each switch happens once and is a fact with its figures.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog

from clarion.clock import Clock
from clarion.deliveries.health import FAULTS, HealthPolicy, ProviderState, after_probe, demoted, is_ill
from clarion.deliveries.interface import Provider
from clarion.ledger.bus import Command
from clarion.ledger.facts import Fact, ProviderDemoted, ProviderRestored
from clarion.limits.interface import Health, LimitsStore
from clarion.model.errors import Unavailable
from clarion.model.words import OutcomeKind, ProviderStanding
from clarion.storage import Database, Lane, Tx, tables

log = structlog.get_logger("clarion.providers")

_COLUMNS = ProviderState._fields
_READ = f"SELECT {', '.join(_COLUMNS)} FROM provider_states"  # nosec B608  # names only
_SWITCH = (
    f"UPDATE provider_states SET {', '.join(f'{c} = :{c}' for c in _COLUMNS[1:] if c != 'paused_until')} "  # nosec B608  # names only
    "WHERE name = :name AND state = :was AND generation = :before AND probes = :counted"
)
_PROBE = (
    "UPDATE provider_states SET probe_at = :again WHERE name = :name AND state IN ('demoted', 'probing') "
    "AND probe_at <= :now"
)
NOBODY = Health(0, 0)


class SwitchProvider(Command[bool], frozen=True, kw_only=True):
    """Changes how a provider stands, unless somebody else has (project 0: it serves all). `to`: who takes over."""

    channel: str
    before: ProviderState
    after: ProviderState
    health: Health
    to: str | None = None


async def switch_provider(tx: Tx, command: SwitchProvider) -> bool:
    """Handles SwitchProvider; whether this one did it."""
    before, after = command.before, command.after
    await tx.insert_missing(tables.provider_states, _COLUMNS, [tuple(ProviderState(before.name))])
    values = {**after._asdict(), "state": after.state.value}
    del values["paused_until"]
    done = await tx.run(
        _SWITCH, **values, was=before.state.value, before=before.generation, counted=before.probes
    )  # fmt: skip
    if done and (fact := _fact(command)) is not None:
        await tx.append([fact])
    return bool(done)


def _fact(command: SwitchProvider) -> Fact | None:
    healthy = command.after.state is ProviderStanding.HEALTHY
    if healthy is (command.before.state is ProviderStanding.HEALTHY):
        return None  # a probe between demotion and restoration
    common: dict[str, Any] = {
        "project": command.project,
        "at": command.now,
        "provider": command.after.name,
        "channel": command.channel,
        "success_rate": round(command.health.rate, 4),
        "samples": command.health.samples,
    }
    if not healthy:
        return ProviderDemoted(**common, to=command.to)
    probes = command.before.probes + 1
    return ProviderRestored(**common, probes=probes, demoted_for=command.now - command.before.since)


def _routed_by(state: ProviderState) -> tuple[object, ...]:
    return state.state is ProviderStanding.HEALTHY, state.paused_until


class Board:
    """What a process knows of the providers' standing."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        limits: LimitsStore,
        providers: Mapping[str, Provider],
        policy: HealthPolicy,
        send: Callable[[SwitchProvider], Awaitable[bool]],
        disabled: frozenset[str] = frozenset(),
    ) -> None:
        self._db, self._clock, self._limits, self._providers = db, clock, limits, providers
        self._policy, self._send, self.disabled = policy, send, disabled
        self._states = {name: ProviderState(name) for name in providers}
        self._health: Mapping[str, Health] = {}
        self.version = 0  #: changes with any standing
        self.successor: Callable[[str], str | None] = lambda _name: None  #: who takes over, for the fact

    # --- what is known ------------------------------------------------------------------------------------------------

    def standing(self, name: str) -> ProviderStanding:
        """How a provider stands."""
        return ProviderStanding.DISABLED if name in self.disabled else self._states[name].state

    def is_demoted(self, name: str) -> bool:
        """Whether others are better for now."""
        return name in self.disabled or self._states[name].state is not ProviderStanding.HEALTHY

    def rate(self, name: str) -> float:
        """Its delivery rate as last seen."""
        return self.health(name).rate

    def health(self, name: str) -> Health:
        """Its figures as last seen; a demoted one whose window has run empty keeps those of its fall."""
        found, state = self._health.get(name, NOBODY), self._states[name]
        return Health(state.accepted, state.failed) if not found.samples and self.is_demoted(name) else found

    def state(self, name: str) -> ProviderState:
        """All that is known of how it stands."""
        return self._states[name]

    def pause_left(self, name: str, now: int) -> int:
        """ms for which a provider that said that we are too fast is left alone."""
        return max(0, self._states[name].paused_until - now)

    # --- looking ------------------------------------------------------------------------------------------------------

    async def refresh(self) -> None:
        """Reads how all of them stand, and their figures."""
        before = dict(self._states)
        rows = await self._db.read(lambda tx: tx.fetch(_READ))
        states = {name: ProviderState(name) for name in self._providers}
        for row in rows:
            if row["name"] in states:
                states[row["name"]] = ProviderState(row[0], ProviderStanding(row[1]), *list(row)[2:])
        # What this process changed while it read is newer than what it read.
        states.update((name, state) for name, state in self._states.items() if state is not before[name])
        if any(_routed_by(states[name]) != _routed_by(state) for name, state in self._states.items()):
            self.version += 1
        self._states = states
        try:
            found = await self._limits.health([s.counted_as for s in states.values()], self._clock.now())
        except Unavailable as error:  # routing goes on by what is known
            log.warning("provider health can't be read now", error=str(error))
            return
        self._health = {name: found[state.counted_as] for name, state in states.items()}

    async def judge(self) -> None:
        """Demotes those whose figures have fallen too low."""
        now = self._clock.now()
        for name, state in tuple(self._states.items()):
            health = self._health.get(name, NOBODY)
            if not self.is_demoted(name) and is_ill(health, self._policy):
                await self._switch(state, demoted(state, health, self._policy, now), health, now)

    async def _switch(self, before: ProviderState, after: ProviderState, health: Health, now: int) -> None:
        name = before.name
        healthy = after.state is ProviderStanding.HEALTHY
        self._states[name] = after  # at once for this process, and for the choice of a successor
        self.version += 1
        to = None if healthy else self.successor(name)
        done = await self._send(
            SwitchProvider(
                project=0, now=now, channel=self._providers[name].channel.value, before=before, after=after,
                health=health, to=to,
            )
        )  # fmt: skip
        if done and healthy is not (before.state is ProviderStanding.HEALTHY):
            figures = {"rate": round(health.rate, 3), "samples": health.samples}
            if healthy:
                log.info("provider restored", provider=name, **figures)
            else:
                log.warning("provider demoted", provider=name, to=to, **figures)

    # --- what attempts tell -------------------------------------------------------------------------------------------

    async def observe(self, provider: str, accepted: int, failed: int, now: int) -> None:
        """Counts outcomes; negative where a receipt turns one around."""
        if not self._counts(provider):
            return
        try:
            await self._limits.observe(self._states[provider].counted_as, accepted, failed, now)
        except Unavailable as error:  # a figure for routing, not worth an outcome or a receipt
            log.warning("provider health can't be counted now", provider=provider, error=str(error))

    async def ended(self, provider: str, outcomes: Sequence[OutcomeKind], now: int) -> None:
        """Counts the outcomes of a chunk."""
        good = outcomes.count(OutcomeKind.ACCEPTED)
        bad = sum(kind in FAULTS for kind in outcomes)
        if good or bad:
            await self.observe(provider, good, bad, now)

    def _counts(self, provider: str) -> bool:
        known = self._providers.get(provider)
        return known is not None and not known.many_servers

    async def probed(self, provider: str, outcome: OutcomeKind, now: int) -> None:
        """What a probe came to."""
        before = self._states[provider]
        if before.state is ProviderStanding.HEALTHY:
            return
        after = after_probe(before, outcome, self._policy, now)
        await self._switch(before, after, self.health(provider), now)

    async def may_probe(self, tx: Tx, provider: str, now: int) -> bool:
        """Takes the probe that is due, in the transaction that claims its delivery: one worker gets it."""
        again = now + self._policy.probe_interval_ms
        return bool(await tx.run(_PROBE, name=provider, now=now, again=again))

    @staticmethod
    async def put_off_probe(tx: Tx, provider: str, now: int) -> None:
        """There was nothing to probe with: the probe stays due."""
        await tx.run("UPDATE provider_states SET probe_at = :now WHERE name = :name", name=provider, now=now)

    def probe_due(self, now: int) -> list[str]:
        """The demoted providers whose probe is due."""
        states = [(name, s) for name, s in self._states.items() if name not in self.disabled]
        return [name for name, s in states if s.state is not ProviderStanding.HEALTHY and s.probe_at <= now]

    async def pause(self, provider: str, until: int) -> None:
        """Leaves a provider alone until then, in all workers."""
        if not self._providers[provider].throttles_as_one or until <= self._states[provider].paused_until:
            return
        self._pause(provider, until)

        async def work(tx: Tx) -> None:
            await tx.insert_missing(tables.provider_states, _COLUMNS, [tuple(ProviderState(provider))])
            await tx.run(
                "UPDATE provider_states SET paused_until = :until WHERE name = :name AND paused_until < :until",
                name=provider,
                until=until,
            )

        await self._db.write(work, Lane.OUTCOMES)
        self._pause(provider, until)  # again: what was read meanwhile didn't know of it

    def _pause(self, provider: str, until: int) -> None:
        if until > self._states[provider].paused_until:
            self._states[provider] = self._states[provider]._replace(paused_until=until)
            self.version += 1
