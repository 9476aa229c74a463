"""A transactional outbox for applications: "notify" commits with the row that it is about, or not at all.

    from clarion.outbox.sqlalchemy import Outbox        # or clarion.outbox.django

    outbox = Outbox(metadata)                           # a table in your own database
    with Session(engine) as session, session.begin():
        session.add(order)
        outbox.notify(session, "order.paid", {"id": 7}, to=["ada"])

A relay (`python -m clarion.outbox`, or a thread that runs `Relay`) reports what has committed, under a key that was
drawn with it: killed at any moment, and run twice at once, it reports everything, and nothing twice.

It stands alone: of the rest of Clarion it knows the client and the clock.
"""

from clarion.outbox.relay import Entry, Relay, Store

__all__ = ["Entry", "Relay", "Store"]
