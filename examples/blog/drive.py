"""Drives a few hundred actions of two dozen people through the blog, and checks who was told of what, and why not.

    python drive.py [--clarion PATH] [--actions N] [--seed N] [--keep]

Starts Clarion, the blog and a mail server of its own in a temporary folder, and stops them. What should come out is
worked out from the actions alone, and compared with the mailbox and with the reasons that Clarion gives. Exit status 1
if anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

from blog.notices import TYPES
from blog.store import Store
from driving import processes
from driving.browser import Refused, Site
from driving.checking import CHANNELS, Findings, Seen, check
from driving.crowd import Settings, Story, Write, story
from driving.expectation import SENT, Ids, expected
from driving.mailbox import Mailbox

from clarion.client import Clarion, InboxItem

ADMIN_KEY = os.urandom(24).hex()
UNFINISHED = ("pending", "sending")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    beside = Path(sys.executable).with_name("clarion")
    parser.add_argument("--clarion", default=shutil.which("clarion") or str(beside), help="the clarion command")
    parser.add_argument("--actions", type=int, default=400)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--keep", action="store_true", help="keep the folder with the databases and the logs")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="clarion-blog-"))
    try:
        found = drive(str(Path(args.clarion).absolute()), folder, story(args.seed, args.actions))
    except processes.DidNotStart as error:
        print(error)
        return 1
    finally:
        if args.keep:
            print(f"kept {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    report(found)
    return 1 if found.wrong else 0


def drive(command: str, folder: Path, told: Story) -> Findings:
    """Plays the story on a fresh site with a fresh Clarion, and compares."""
    port, site_port = processes.free_port(), processes.free_port()
    url, site_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{site_port}"
    with Mailbox() as mailbox, processes.clarion(command, folder, port, mailbox.port, ADMIN_KEY) as server:
        key = _producer_key(command, folder, port)
        with processes.blog(folder, site_port, url, key), Clarion(url, ADMIN_KEY) as clarion:
            site, store = Site(site_url, told.members), Store(folder / "blog.db")
            with closing(store):
                _play(told, site, store, clarion)
                inboxes = {member.id: _inbox(clarion, url, member.id) for member in told.members}
                ids = Ids(site_url, site.articles, site.comments)
                seen = Seen(store.notices(), list(clarion.notifications(page_size=500)), mailbox.mails, inboxes)
                found = check(expected(told, ids), told.members, seen)
                server.stop()
                found.wrong += _without_clarion(site)
                return found


def _inbox(clarion: Clarion, url: str, person: str) -> list[InboxItem]:
    with Clarion(url, clarion.token(person, "inbox").token) as reader:
        return list(reader.inbox(page_size=500))


def _without_clarion(site: Site) -> list[str]:
    """The blog goes on when Clarion is down: comments are saved; what people choose is refused, not half-saved."""
    comment = Write(0, 1, site.members[0].id, "Is anybody there?", None)
    site.do(comment)
    saved = comment.text in site.read(f"/articles/{site.articles[1]}")
    wrong = [] if saved else ["a comment was lost when Clarion was down"]
    try:
        site.do(Settings(site.members[0].id, "new@example.org", frozenset()))
    except Refused as refused:
        return wrong if refused.status == 503 else [*wrong, str(refused)]
    return [*wrong, "settings were saved when Clarion was down"]


def _producer_key(command: str, folder: Path, port: int) -> str:
    """A key for the site, which may report events and keep people up to date, and nothing else."""
    arguments = [command, "keys", "create", "--role", "producer", "--name", "blog", "--json"]
    env = processes.environment(processes.settings(port, ADMIN_KEY))
    made = subprocess.run(arguments, cwd=folder, env=env, check=True, capture_output=True, text=True)
    key: str = json.loads(made.stdout)["key"]
    return key


def _play(told: Story, site: Site, store: Store, clarion: Clarion) -> None:
    started = time.monotonic()
    settled: set[str] = set()
    for member in told.members:
        site.join(member)
    for number, part in enumerate(told.rounds, 1):
        site.play(part)
        settled |= settle(clarion, set(store.notices().values()) - settled)
        print(f"round {number:2} of {len(told.rounds)}: {len(part.changes)} changes, {len(part.actions)} actions")
    for path in ("/", "/articles/1", f"/people/{told.members[0].id}", "/inbox", "/settings"):
        site.read(path, told.members[0].id)
    print(f"{told.size} actions of {len(told.members)} people in {time.monotonic() - started:.1f} s\n")


def settle(clarion: Clarion, events: set[str], seconds: float = 60.0) -> set[str]:
    """Waits until these events are decided and out: what comes next must not overtake them."""
    deadline = time.monotonic() + seconds
    waiting = events
    while waiting := {event for event in waiting if not _settled(clarion, event)}:
        if time.monotonic() > deadline:
            raise SystemExit(f"after {seconds:.0f} s still not settled: {[clarion.event(e) for e in waiting][:3]}")
        time.sleep(0.02)
    return events


def _settled(clarion: Clarion, event: str) -> bool:
    status = clarion.event(event)
    return status.status == "decided" and not any(status.deliveries.get(state) for state in UNFINISHED)


def report(found: Findings) -> None:
    """Who got what, why others didn't, and what is wrong."""
    for kind in TYPES:
        print(kind)
        for channel in CHANNELS:
            became = Counter({o: n for (k, c, o), n in found.became.items() if (k, c) == (kind, channel)})
            others = ", ".join(f"{count} {outcome}" for outcome, count in became.most_common() if outcome != SENT)
            print(f"  {channel:7} {became[SENT]:4} sent" + (f"; not sent: {others}" if others else ""))
    print(f"\nmails that arrived: {found.mails}\n\nfor example")
    for reason, example in sorted(found.examples.items()):
        print(f"  {reason:17} {example}")
    for line in found.wrong[:40]:
        print(f"WRONG  {line}")
    print(
        f"\n{len(found.wrong)} differences"
        if found.wrong
        else "\nEverybody was told what they should be, and only that."
    )


if __name__ == "__main__":
    sys.exit(main())
