"""What a crowd does on the blog: people and actions as plain values, drawn from a seed, the same at every run.

Articles and comments are named by numbers of our own; the site gives them ids when the time comes. An action speaks
only of what earlier rounds made, so that those of a round may happen at once and in any order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from random import Random
from unicodedata import normalize

NAMES = """
Ada Lovelace, Bo Li, Chidi Okafor, Dóra Kiss, Émile Roux, Fatima Zahra, Goran Ilić, Hana Sato, Ines O'Neill, Jonas Berg,
Kofi Mensah, Lena Vogt, Mira Patel, Nils Holm, Olga Petrova, Pablo Ruiz, Quinn Avery, Rosa Díaz, Sven Lund, Tala Aziz,
Uma Rao, Viktor Hugo, Wen Chen, Yara Haddad
"""

#: Some of them look like markup or like a template, and must arrive as they were written.
TITLES = (
    "Slow mornings",
    "Salt & Pepper",
    "Why <b>bold</b> isn't brave",
    'On "quotes"',
    "Größe ist relativ",
    "夜の散歩",
    "{{ curly }} thoughts",
    "Ten lines of Python",
    "The long way home, and what I found at its end when nobody was looking any more",
)
TEXTS = (
    "Well put, thank you.",
    "I don't see it that way: 2 < 3 & 3 > 2.",
    "More of this, please!",
    "{% if you %}dare{% endif %}",
    "Schön geschrieben.",
    "Could you say more about the second part?",
    "😀 made my day",
    "<script>alert('no')</script>",
)


#: What is off until somebody asks for it, as (type, channel).
OFF = frozenset({("new_follower", "email")})


@dataclass(frozen=True)
class Member:
    """A person as they join. Some set a limit over all kinds of mail at once, and then want every kind."""

    id: str
    name: str
    email: str | None
    mails_an_hour: int | None = None

    @property
    def unwanted(self) -> frozenset[tuple[str, str]]:
        return OFF if self.mails_an_hour is None else frozenset()


@dataclass(frozen=True)
class Settings:
    """A person saves their settings: an address, and the (type, channel) pairs that they don't want."""

    person: str
    email: str | None
    unwanted: frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Follow:
    follower: str
    author: str


@dataclass(frozen=True)
class Unfollow:
    follower: str
    author: str


@dataclass(frozen=True)
class Publish:
    article: int
    author: str
    title: str
    text: str
    quiet: bool


@dataclass(frozen=True)
class Write:
    """A comment below an article, or an answer to another comment of it."""

    comment: int
    article: int
    author: str
    text: str
    parent: int | None


@dataclass(frozen=True)
class Upvote:
    """Presses the button `times`: an even number ends with the vote taken back."""

    article: int
    person: str
    times: int


Change = Settings | Follow | Unfollow
Action = Publish | Write | Upvote


@dataclass
class Round:
    """First the changes, one by one; then, all at once, the actions."""

    changes: list[Change] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)

    @property
    def size(self) -> int:
        return len(self.changes) + len(self.actions)


@dataclass
class Story:
    """The people and everything that they do, in rounds."""

    members: list[Member]
    rounds: list[Round]

    @property
    def size(self) -> int:
        return len(self.members) + sum(r.size for r in self.rounds)


TYPES = ("article_published", "comment_created", "comment_reply", "article_upvoted", "new_follower")


def story(seed: int, actions: int) -> Story:
    """About so many actions of two dozen people."""
    rng = Random(seed)
    teller = _Teller(rng)
    told = Story(teller.members, [])
    while told.size < actions:
        told.rounds.append(teller.round())
    return told


class _Teller:
    """Draws rounds, and remembers what there is to comment on, to answer and to follow."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.members = [self._member(number, name) for number, name in enumerate(re.split(r",\s", NAMES.strip()))]
        self._ids = [m.id for m in self.members]
        self._authors = self._ids[:6]
        self._emails = {m.id: m.email for m in self.members}
        self._unwanted: dict[str, set[tuple[str, str]]] = {m.id: set(m.unwanted) for m in self.members}
        self._follows: set[tuple[str, str]] = set()
        self._articles: list[Publish] = []
        self._comments: list[Write] = []
        self._votes: set[tuple[int, str]] = set()

    def _member(self, number: int, name: str) -> Member:
        plain = normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
        handle = plain.replace(" ", "-").replace("'", "-")
        email = None if number % 8 == 7 else f"{handle}@example.org"
        return Member(handle, name, email, mails_an_hour=9 if number % 4 == 1 else None)

    def round(self) -> Round:
        """A few changes, then a burst of actions on what earlier rounds made."""
        articles, comments = list(self._articles), list(self._comments)
        changes: list[Change] = [self._settings() for _ in range(self._rng.randint(1, 4))]
        changes += [self._follow() for _ in range(self._rng.randint(3, 8))]
        actions: list[Action] = [self._publish() for _ in range(self._rng.randint(1, 3))]
        if articles:
            actions += [self._write(articles, comments) for _ in range(self._rng.randint(5, 15))]
            votes = [self._upvote(articles) for _ in range(self._rng.randint(5, 15))]
            actions += [vote for vote in votes if vote is not None]
        self._rng.shuffle(actions)
        return Round(changes, actions)

    def _settings(self) -> Settings:
        person = self._rng.choice(self._ids)
        pair = (self._rng.choice(TYPES), self._rng.choice(("email", "email", "in_app")))
        self._unwanted[person] ^= {pair}
        if self._rng.random() < 0.15:
            self._emails[person] = None if self._emails[person] else f"{person}.{self._rng.randint(1, 99)}@example.net"
        return Settings(person, self._emails[person], frozenset(self._unwanted[person]))

    def _follow(self) -> Change:
        author, follower = self._rng.choice(self._authors), self._rng.choice(self._ids)
        if author == follower:
            follower = self._ids[-1]
        if (follower, author) in self._follows:
            self._follows.remove((follower, author))
            return Unfollow(follower, author)
        self._follows.add((follower, author))
        return Follow(follower, author)

    def _publish(self) -> Publish:
        number = len(self._articles) + 1
        title = f"{self._rng.choice(TITLES)} #{number}"
        made = Publish(
            number, self._rng.choice(self._authors), title, self._rng.choice(TEXTS), self._rng.random() < 0.15
        )
        self._articles.append(made)
        return made

    def _write(self, articles: list[Publish], comments: list[Write]) -> Write:
        number = len(self._comments) + 1
        author, text = self._rng.choice(self._ids), self._rng.choice(TEXTS)
        if comments and self._rng.random() < 0.5:
            parent = self._rng.choice(comments)
            made = Write(number, parent.article, author, text, parent.comment)
        else:
            made = Write(number, self._rng.choice(articles).article, author, text, None)
        self._comments.append(made)
        return made

    def _upvote(self, articles: list[Publish]) -> Upvote | None:
        article, person = self._rng.choice(articles).article, self._rng.choice(self._ids)
        if (article, person) in self._votes:
            return None
        self._votes.add((article, person))
        return Upvote(article, person, self._rng.choice((1, 1, 1, 2, 3)))
