"""Makes the tables of the naive design and people to tell: `python -m benchmarks.naive.seed 3000`."""

from __future__ import annotations

import sys

from benchmarks.naive.models import Base, Preference, Session, User, engine


def main(people: int) -> None:
    Base.metadata.create_all(engine)
    with Session() as session:
        session.add_all(User(id=f"u{n}", name=f"User {n}", token=f"token-{n:0150}") for n in range(people))
        session.flush()
        session.add_all(Preference(user_id=f"u{n}", type="comment.created", channel="push") for n in range(people))
        session.commit()


if __name__ == "__main__":
    main(int(sys.argv[1]))
