"""Fills a Clarion installation with people who can be told things, and a topic that they all follow.

python -m benchmarks.seed PEOPLE URL        (settings from the environment and clarion.toml of the folder)
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from clarion.bootstrap import Clarion
from clarion.directory.contacts import AddContacts, contact_of
from clarion.directory.drafts import draft_of
from clarion.directory.preferences import PreferenceChange, SetPreferences, preferences_of
from clarion.directory.recipients import PutRecipients
from clarion.directory.topics import Subscribe
from clarion.settings import load

ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Sydney")
BATCH = 1_000
VIPS = 300  #: people in no topic, each with an address at which the stub notes the time


async def seed(people: int, url: str) -> None:
    """The full policy has work to do: zones, quiet hours, preferences of type and channel, caps."""
    clarion = await Clarion.open(load(None, os.environ))
    await clarion.load_workflows(Path("workflows"))
    for start in range(0, people, BATCH):
        names = [f"u{n}" for n in range(start, min(people, start + BATCH))]
        now = clarion.clock.now()
        quiet = [{"start": "00:00", "end": "00:01"}]
        drafts = [
            draft_of(
                {"id": r, "timezone": ZONES[i % 4], "quiet_hours": quiet, "phone": f"+1415{2_000_000 + start + i}"}
            )
            for i, r in enumerate(names)
        ]
        contacts = [contact_of(r, {"channel": "webhook", "kind": "url", "value": f"{url}/{r}"}) for r in names]
        said = preferences_of(
            [
                {"type": "comment", "channel": "webhook", "max_per_hour": 50, "max_per_day": 200},
                {"channel": "webhook", "max_per_day": 500},
            ]
        )
        changes = [PreferenceChange(recipient=r, preferences=said) for r in names[::2]]
        await clarion.bus.send(PutRecipients(project=1, now=now, drafts=tuple(drafts)))
        await clarion.bus.send(AddContacts(project=1, now=now, contacts=tuple(contacts)))
        await clarion.bus.send(SetPreferences(project=1, now=now, changes=tuple(changes)))
        await clarion.bus.send(Subscribe(project=1, now=now, topic="everybody", recipients=tuple(names)))
    vips = [f"vip{n}" for n in range(VIPS)]
    hooks = [contact_of(v, {"channel": "webhook", "kind": "url", "value": f"{url}/critical/{v}"}) for v in vips]
    known = tuple(draft_of({"id": v}) for v in vips)
    await clarion.bus.send(PutRecipients(project=1, now=clarion.clock.now(), drafts=known))
    await clarion.bus.send(AddContacts(project=1, now=clarion.clock.now(), contacts=tuple(hooks)))
    await clarion.close()


if __name__ == "__main__":
    asyncio.run(seed(int(sys.argv[1]), sys.argv[2]))
