"""What the blog keeps, in one SQLite file: people, articles, comments, upvotes, followers."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

SCHEMA = """
create table if not exists people (id text primary key, name text not null, email text);
create table if not exists articles (
  id integer primary key, author text not null, title text not null, body text not null, quiet integer not null);
create table if not exists comments (
  id integer primary key, article integer not null, author text not null, parent integer, text text not null);
create table if not exists upvotes (article integer, person text, primary key (article, person));
create table if not exists follows (author text, follower text, primary key (author, follower));
create table if not exists notices (key text primary key, event text not null);
"""


class Person(NamedTuple):
    id: str
    name: str
    email: str | None


class Article(NamedTuple):
    id: int
    author: str
    title: str
    body: str
    quiet: bool


class Comment(NamedTuple):
    id: int
    article: int
    author: str
    parent: int | None
    text: str


def _article(id: int, author: str, title: str, body: str, quiet: int) -> Article:
    return Article(id, author, title, body, bool(quiet))  # SQLite has no booleans


class Store:
    """The blog's own data. Threads may share it."""

    def __init__(self, path: Path | str) -> None:
        self._lock = Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.executescript(SCHEMA)

    def _rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(statement, values).fetchall()

    def _changed(self, statement: str, *values: Any) -> bool:
        with self._lock:
            return self._db.execute(statement, values).rowcount > 0

    def close(self) -> None:
        self._db.close()

    def people(self) -> list[Person]:
        return [Person(*row) for row in self._rows("select id, name, email from people order by name")]

    def person(self, id: str) -> Person | None:
        return next((Person(*row) for row in self._rows("select id, name, email from people where id = ?", id)), None)

    def save_person(self, person: Person) -> None:
        self._changed("insert or replace into people values (?, ?, ?)", *person)

    def articles(self, author: str | None = None) -> list[Article]:
        rows = self._rows("select * from articles where ?1 is null or author = ?1 order by id desc limit 50", author)
        return [_article(*row) for row in rows]

    def article(self, id: int) -> Article | None:
        return next((_article(*row) for row in self._rows("select * from articles where id = ?", id)), None)

    def add_article(self, author: str, title: str, body: str, quiet: bool) -> Article:
        made = "insert into articles (author, title, body, quiet) values (?, ?, ?, ?) returning *"
        return _article(*self._rows(made, author, title, body, quiet)[0])

    def comments(self, article: int) -> list[Comment]:
        return [Comment(*row) for row in self._rows("select * from comments where article = ? order by id", article)]

    def comment(self, id: int) -> Comment | None:
        return next((Comment(*row) for row in self._rows("select * from comments where id = ?", id)), None)

    def add_comment(self, article: int, author: str, parent: int | None, text: str) -> Comment:
        made = "insert into comments (article, author, parent, text) values (?, ?, ?, ?) returning *"
        return Comment(*self._rows(made, article, author, parent, text)[0])

    def upvotes(self, article: int) -> set[str]:
        return {person for (person,) in self._rows("select person from upvotes where article = ?", article)}

    def upvote(self, article: int, person: str) -> bool:
        """Whether it is a new one."""
        return self._changed("insert or ignore into upvotes values (?, ?)", article, person)

    def take_upvote_back(self, article: int, person: str) -> None:
        self._changed("delete from upvotes where article = ? and person = ?", article, person)

    def followers(self, author: str) -> set[str]:
        return {person for (person,) in self._rows("select follower from follows where author = ?", author)}

    def follow(self, author: str, follower: str) -> None:
        self._changed("insert or ignore into follows values (?, ?)", author, follower)

    def unfollow(self, author: str, follower: str) -> None:
        self._changed("delete from follows where author = ? and follower = ?", author, follower)

    def note(self, key: str, event: str) -> None:
        """Keeps which event an action became, so that support can look up what happened to it."""
        self._changed("insert or replace into notices values (?, ?)", key, event)

    def notices(self) -> dict[str, str]:
        return dict(self._rows("select key, event from notices"))
