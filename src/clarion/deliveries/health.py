"""A provider's health: when it is demoted, probed and brought back. Pure.

    rate = accepted / (accepted + transient + uncertain + misconfigured), over a sliding window, over all workers

A receipt by which the provider itself failed turns its accepted around. Below `min_success_rate`, with `min_samples` at
least, it is demoted: what is decided from then on, and what waits for it, goes to others. Every `probe_interval` one
delivery is tried with it, once and without retries; after a success the next probe follows soon, and PROBES in a row
bring it back. It stays demoted until then, also when the window has run empty. Restored, it is counted anew.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from clarion.clock import SECOND
from clarion.limits.interface import Health
from clarion.model.words import OutcomeKind, ProviderStanding

#: Accepted probes in a row that bring a provider back.
PROBES = 2
#: ms until the next probe after one that was accepted.
PROBE_AGAIN = SECOND

#: What counts against a provider. A throttled one isn't ill, and what it says of an address or a message is an answer.
FAULTS = frozenset({OutcomeKind.TRANSIENT, OutcomeKind.UNCERTAIN, OutcomeKind.MISCONFIGURED})


class HealthPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """`[chain_policy]` of the settings, as far as it concerns providers."""

    min_success_rate: float = 0.95
    min_samples: int = 20
    probe_interval_ms: int = 5 * SECOND


class ProviderState(NamedTuple):
    """How a provider stands; the row of `provider_states`. Instants in ms."""

    name: str
    state: ProviderStanding = ProviderStanding.HEALTHY
    generation: int = 0  #: raised when it is restored
    since: int = 0  #: the last switch
    probe_at: int = 0
    probes: int = 0  #: accepted ones in a row
    paused_until: int = 0
    accepted: int = 0  #: the figures of the last switch
    failed: int = 0

    @property
    def counted_as(self) -> str:
        """The name under which the limits store counts its outcomes: a new one after each restoration."""
        return f"{self.name}#{self.generation}" if self.generation else self.name


def is_ill(health: Health, policy: HealthPolicy) -> bool:
    """Whether these figures demote a provider."""
    return health.samples >= policy.min_samples and health.rate < policy.min_success_rate


def demoted(state: ProviderState, health: Health, policy: HealthPolicy, now: int) -> ProviderState:
    """How it stands from now on: the next probe comes after an interval."""
    return state._replace(
        state=ProviderStanding.DEMOTED,
        since=now,
        probe_at=now + policy.probe_interval_ms,
        probes=0,
        accepted=health.accepted,
        failed=health.failed,
    )


def after_probe(state: ProviderState, outcome: OutcomeKind, policy: HealthPolicy, now: int) -> ProviderState:
    """How a demoted provider stands after a probe. What tells nothing of its health leaves the next one due at once."""
    if outcome is OutcomeKind.ACCEPTED:
        if state.probes + 1 >= PROBES:
            return state._replace(
                state=ProviderStanding.HEALTHY, generation=state.generation + 1, since=now, probe_at=0, probes=0
            )
        soon = min(PROBE_AGAIN, policy.probe_interval_ms)
        return state._replace(state=ProviderStanding.PROBING, probes=state.probes + 1, probe_at=now + soon)
    if outcome in FAULTS or outcome is OutcomeKind.THROTTLED:
        return state._replace(state=ProviderStanding.DEMOTED, probes=0, probe_at=now + policy.probe_interval_ms)
    return state._replace(probe_at=now)
