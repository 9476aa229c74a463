"""An access token that an account shares: fetched when first needed, renewed ahead of its end, one request at a time.

However many messages wait for it, a token endpoint sees one request an hour. What a token is asked for with (OAuth 2.0,
RFC 6749) is the provider's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from clarion.clock import MINUTE, SECOND
from clarion.deliveries.answers import object_in
from clarion.deliveries.interface import Http, HttpRequest, HttpResponse
from clarion.deliveries.lease import send_anytime
from clarion.deliveries.wording import fit
from clarion.model.delivery import Outcome, failed
from clarion.model.words import OutcomeKind

#: A token is renewed this long before its end, while it still serves.
AHEAD = 5 * MINUTE
#: It isn't used in its last seconds: the request has to arrive too.
MARGIN = 15 * SECOND
#: A refused token that is younger than this isn't fetched anew: the account is at fault, not the token.
YOUNG = 30 * SECOND
#: For so long an endpoint that has failed isn't asked again.
PAUSE = SECOND
#: RFC 6749 section 5.1 leaves `expires_in` out where "other means" tell it: an hour is what Google gives.
USUAL_LIFE = 60 * MINUTE


class AccessToken:
    """`grant(now)` gives the request that fetches one. What was noted at a later time than now counts for nothing: the
    clock was set back, and nobody knows how old it is."""

    def __init__(self, http: Http, grant: Callable[[int], HttpRequest]) -> None:
        self._http, self._grant = http, grant
        self._value: str | None = None
        self._fetched_at = self._failed_at = self._renew_at = self._ends_at = 0
        self._failure: Outcome | None = None
        self._fetching: asyncio.Task[None] | None = None

    async def get(self, now: int) -> str | Outcome:
        """The token, or why there is none: nothing has been sent then."""
        fetching = self._fetch_once(now) if not self._serves(now) or now >= self._renew_at else None
        if fetching is not None and not self._serves(now):
            await asyncio.shield(fetching)  # others wait for it too
        if self._value is not None and self._serves(now):
            return self._value
        return self._failure or failed(OutcomeKind.TRANSIENT, "no_token", "the access token couldn't be fetched")

    def _serves(self, now: int) -> bool:
        return self._value is not None and self._fetched_at <= now < self._ends_at

    def refused(self, token: str, now: int) -> bool:
        """Takes note that a token was refused; whether another try with `get` makes sense."""
        if token == self._value:
            if 0 <= now - self._fetched_at < YOUNG:
                return False
            self._value = None
        return True

    def _fetch_once(self, now: int) -> asyncio.Task[None] | None:
        """The fetch under way; None while an endpoint that has just failed is left alone."""
        if self._fetching is None or self._fetching.done():
            if self._failure is not None and self._failed_at <= now < self._renew_at:
                return None
            self._fetching = asyncio.create_task(self._fetch(now))
        return self._fetching

    async def _fetch(self, now: int) -> None:
        send_anytime()
        answer = await self._http.call(self._grant(now))
        grant = object_in(answer.body) if isinstance(answer, HttpResponse) and answer.status == 200 else {}
        token, life = grant.get("access_token"), grant.get("expires_in")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token:
            self._failure, self._failed_at = _failure(answer), now
            self._renew_at = now + max(PAUSE, self._failure.retry_after or 0)
            return
        ms = int(life * SECOND) if isinstance(life, int | float) and 0 < life < 1e8 else USUAL_LIFE
        self._value, self._failure, self._fetched_at = token, None, now
        self._ends_at = now + ms - min(MARGIN, ms // 4)
        self._renew_at = now + ms - min(AHEAD, ms // 2)


def _failure(answer: HttpResponse | Outcome) -> Outcome:
    """What messages come to that wait for a token that doesn't come. They haven't left, so nothing is uncertain."""
    if isinstance(answer, Outcome):
        return failed(OutcomeKind.TRANSIENT, answer.code, "no access token: its endpoint gave no answer")
    if answer.status == 429:
        return failed(OutcomeKind.THROTTLED, "429", "no access token: too many were asked for", answer.retry_after)
    if answer.status >= 500 or answer.status == 408:
        code = str(answer.status)
        return failed(OutcomeKind.TRANSIENT, code, f"no access token: its endpoint answered {code}", answer.retry_after)
    error = object_in(answer.body).get("error")  # RFC 6749 section 5.2: a word such as invalid_grant
    code = fit(error) if isinstance(error, str) and error.isidentifier() else str(answer.status)
    return failed(OutcomeKind.MISCONFIGURED, code, "no access token: the account's credentials were refused")
