"""Jobs: hints that there is work, with ids and never content. The database is the truth; a lost hint loses nothing."""

from __future__ import annotations

from typing import Final, NamedTuple

from clarion.model.words import Priority

#: The names of jobs carry a version, so that old and new processes can run side by side.
DECIDE: Final = "decide.v1"  #: shards are waiting to be decided
REVIEW: Final = "review.v1"  #: deliveries are waiting to be decided again
DIGEST: Final = "digest.v1"  #: digests are due to close
DELIVER: Final = "deliver.v1"  #: deliveries of `provider` are due

JOBS: Final = (DECIDE, REVIEW, DIGEST, DELIVER)  #: every kind

#: So often work is tried; then it is parked, and waits for a person.
TRIES: Final = 5


class Job(NamedTuple):
    """One hint, for the queue of its priority. `ids` are shown ids, where the one who announces knows them."""

    name: str
    queue: Priority
    provider: str | None = None
    ids: tuple[str, ...] = ()
