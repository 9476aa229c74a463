"""Who should hear of what, worked out from what the crowd did alone: it knows nothing of the blog's code or Clarion's.

What is certain beforehand is a reason or SENT. Which mails of a person a limit stops depends on the order in which
things that happened at once were decided: there only the number is certain, and the channel is LIMITED.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from driving.crowd import Follow, Member, Publish, Settings, Story, Unfollow, Upvote, Write

SENT, LIMITED = "sent", "sent or cap_hour"

#: How many mails an hour of each type the workflows allow.
HOURLY = {"article_published": 8, "comment_created": 6, "comment_reply": 10, "article_upvoted": 2, "new_follower": 5}


class Told(NamedTuple):
    """What should become of an event for one person: a reason, SENT or LIMITED by channel; and where a mail goes."""

    in_app: str
    email: str
    to: str | None


@dataclass(frozen=True)
class Expected:
    """An event that the blog must have reported, and what should become of it."""

    key: str
    type: str
    subject: str
    link: str
    shown: tuple[str, ...]  #: texts that the mail must show as they were written
    told: Mapping[str, Told]


@dataclass
class _Person:
    member: Member
    email: str | None
    unwanted: frozenset[tuple[str, str]]

    def told(self, type: str, silent: bool) -> Told:
        """In the order of the rules: the condition, the address, the preference, the limits."""
        if silent:
            return Told("condition_false", "condition_false", None)
        in_app = "opted_out" if (type, "in_app") in self.unwanted else SENT
        if self.email is None:
            return Told(in_app, "no_contact_point", None)
        if (type, "email") in self.unwanted:
            return Told(in_app, "opted_out", None)
        return Told(in_app, LIMITED, self.email)


class Ids(NamedTuple):
    """What the site calls the crowd's articles and comments, and where it is."""

    site: str
    articles: Mapping[int, int]
    comments: Mapping[int, int]


@dataclass
class _World:
    people: dict[str, _Person]
    ids: Ids
    articles: dict[int, Publish] = field(default_factory=dict)
    comments: dict[int, Write] = field(default_factory=dict)
    followers: dict[str, set[str]] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)

    def name(self, person: str) -> str:
        return self.people[person].member.name

    def about(self, article: int) -> tuple[Publish, str]:
        return self.articles[article], f"{self.ids.site}/articles/{self.ids.articles[article]}"

    def expect(
        self, key: str, type: str, to: set[str], subject: str, link: str, *shown: str, silent: bool = False
    ) -> Iterator[Expected]:
        """The same thing is told once, however often it happens."""
        if key not in self.seen:
            self.seen.add(key)
            told = {person: self.people[person].told(type, silent) for person in to}
            yield Expected(key, type, subject, link, shown, told)


def expected(story: Story, ids: Ids) -> list[Expected]:
    """Every event that the blog must have reported."""
    world = _World({m.id: _Person(m, m.email, m.unwanted) for m in story.members}, ids)
    return [
        expectation
        for played in story.rounds
        for action in (*played.changes, *played.actions)
        for expectation in _after(world, action)
    ]


def _after(world: _World, action: object) -> Iterator[Expected]:
    match action:
        case Settings(person, email, unwanted):
            world.people[person].email, world.people[person].unwanted = email, unwanted
        case Unfollow(follower, author):
            world.followers[author].remove(follower)
        case Follow(follower, author):
            world.followers.setdefault(author, set()).add(follower)
            key, link = f"follow:{author}:{follower}", f"{world.ids.site}/people/{follower}"
            yield from world.expect(key, "new_follower", {author}, f"{world.name(follower)} follows you", link)
        case Publish(number, author, title, text, quiet):
            world.articles[number] = action
            _, link = world.about(number)
            subject, key = f"{world.name(author)} published “{title}”", f"article:{world.ids.articles[number]}"
            followers = set(world.followers.get(author, ()))
            yield from world.expect(key, "article_published", followers, subject, link, text, silent=quiet)
        case Write():
            world.comments[action.comment] = action
            yield from _after_comment(world, action)
        case Upvote(article, person, _):
            about, link = world.about(article)
            subject, key = (
                f"{world.name(person)} likes “{about.title}”",
                f"upvote:{world.ids.articles[article]}:{person}",
            )
            own = about.author == person
            yield from world.expect(key, "article_upvoted", {about.author}, subject, link, silent=own)


def _after_comment(world: _World, comment: Write) -> Iterator[Expected]:
    about, link = world.about(comment.article)
    number, writer = world.ids.comments[comment.comment], world.name(comment.author)
    link = f"{link}#c{number}"
    answered = world.comments[comment.parent].author if comment.parent else None
    if answered and answered != comment.author:
        subject = f"{writer} replied to you on “{about.title}”"
        yield from world.expect(f"reply:{number}", "comment_reply", {answered}, subject, link, comment.text)
    if answered != about.author:
        subject, own = f"{writer} commented on “{about.title}”", about.author == comment.author
        yield from world.expect(
            f"comment:{number}", "comment_created", {about.author}, subject, link, comment.text, silent=own
        )


def within_limits(member: Member, wanted: Counter[str], sent: Counter[str]) -> bool:
    """Whether so many mails were sent of so many that might have been: as many as the limits allow, and not one more.

    All mails of a type and, if the person has set one, of all types together, are limited per hour; the whole run
    takes less than one.
    """
    allowed = {kind: min(count, HOURLY[kind]) for kind, count in wanted.items()}
    if any(count > allowed.get(kind, 0) for kind, count in sent.items()):
        return False
    most = sum(allowed.values())
    return sent.total() == (most if member.mails_an_hour is None else min(most, member.mails_an_hour))
