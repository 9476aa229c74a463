"""What happens on the blog, told to Clarion: what happened and whom it may concern, never how to tell them.

Every event's idempotency key names the action: pressing a button twice, or voting again after taking a vote back,
tells nobody twice.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from itertools import islice
from typing import Any, NamedTuple

from blog.store import Article, Comment, Person, Store
from clarion.client import Clarion, ClarionClientError, InboxItem, PreferenceFields

log = logging.getLogger(__name__)

#: The notification types that people may switch off, by their workflow's key.
TYPES = {
    "article_published": "New articles by people I follow",
    "comment_created": "Comments on my articles",
    "comment_reply": "Replies to my comments",
    "article_upvoted": "Upvotes for my articles",
    "new_follower": "New followers",
}

CHANNELS = {"in_app": "Here", "email": "By mail"}


class Choices(NamedTuple):
    """The (type, channel) pairs that a person wants, and at most how many mails an hour in all (None: any number)."""

    wanted: set[tuple[str, str]]
    mails_an_hour: int | None = None


class Notices:
    """Reports the blog's actions as events. A Clarion that is down delays no page for long and breaks none."""

    def __init__(self, url: str, key: str, store: Store, site: str) -> None:
        self._url, self._store, self._site = url, store, site
        self._clarion = Clarion(url, key)

    def close(self) -> None:
        self._clarion.close()

    def _send(self, key: str, type: str, data: Mapping[str, Any], actor: str, **audience: Any) -> None:
        try:
            accepted = self._clarion.send(type, data, actor=actor, idempotency_key=key, **audience)
        except ClarionClientError:
            log.exception("%s was not reported", key)  # the comment itself is saved: that matters more
        else:
            self._store.note(key, accepted.id)

    def article_published(self, article: Article, author: Person) -> None:
        data = {
            "author": author.name,
            "title": article.title,
            "summary": article.body,
            "url": self._link(article.id),
            "quiet": article.quiet,
        }
        topic = f"author:{author.id}"
        self._send(f"article:{article.id}", "article.published", data, author.id, topic=topic)

    def commented(self, comment: Comment, article: Article, author: Person, parent: Comment | None) -> None:
        """Tells whom the comment answers, and the article's author, each once."""
        data: dict[str, Any] = {
            "author": author.name,
            "text": comment.text,
            "title": article.title,
            "url": f"{self._link(article.id)}#c{comment.id}",
        }
        if parent is not None and parent.author != author.id:
            self._send(f"reply:{comment.id}", "comment.replied", data, author.id, to=parent.author)
        if parent is None or parent.author != article.author:
            data = {**data, "own": article.author == author.id}
            self._send(f"comment:{comment.id}", "comment.created", data, author.id, to=article.author)

    def upvoted(self, article: Article, voter: Person) -> None:
        data = {
            "voter": voter.name,
            "title": article.title,
            "url": self._link(article.id),
            "own": article.author == voter.id,
        }
        self._send(f"upvote:{article.id}:{voter.id}", "article.upvoted", data, voter.id, to=article.author)

    def followed(self, author: str, follower: Person) -> None:
        self._clarion.subscribe(f"author:{author}", follower.id)
        data = {"follower": follower.name, "url": f"{self._site}/people/{follower.id}"}
        self._send(f"follow:{author}:{follower.id}", "author.followed", data, follower.id, to=author)

    def unfollowed(self, author: str, follower: str) -> None:
        self._clarion.unsubscribe(f"author:{author}", follower)

    def person_saved(self, person: Person) -> None:
        self._clarion.put_recipient(person.id, email=person.email)

    def chosen(self, person: str, choices: Choices) -> None:
        """Stores what a person wants; what isn't wanted on a channel is switched off there."""
        said: list[PreferenceFields] = [
            {"type": kind, "channel": channel, "enabled": (kind, channel) in choices.wanted}
            for kind in TYPES
            for channel in CHANNELS
        ]
        if choices.mails_an_hour is not None:
            said.append({"channel": "email", "max_per_hour": choices.mails_an_hour})
        self._clarion.put_preferences(person, said)

    def choices(self, person: str) -> Choices:
        """What holds for a person: their own word, or else what the workflows say."""
        holds = self._clarion.get_preferences(person, effective=True)
        said = self._clarion.get_preferences(person)
        return Choices(
            wanted={(p.type, p.channel) for p in holds if p.type in TYPES and p.enabled},
            mails_an_hour=next((p.max_per_hour for p in said if (p.channel, p.type) == ("email", None)), None),
        )

    def inbox(self, person: str, most: int = 50) -> list[InboxItem]:
        """A person's latest notifications. The blog's key may not read them, a token for this person may."""
        token = self._clarion.token(person, "inbox", ttl_seconds=60)
        with Clarion(self._url, token.token) as reader:
            return list(islice(reader.inbox(page_size=most), most))

    def _link(self, article: int) -> str:
        return f"{self._site}/articles/{article}"
