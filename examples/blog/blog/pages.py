"""The blog's pages as HTML. What people wrote goes through `escape`; nothing here knows of requests or of data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

from blog.notices import CHANNELS, TYPES, Choices
from blog.store import Article, Comment, Person
from clarion.client import InboxItem

Names = Mapping[str, str]


def page(title: str, me: Person | None, body: str) -> str:
    """The frame around every page."""
    links = '<a href="/join">Join</a>'
    if me:
        links = '<a href="/write">Write</a><a href="/inbox">Inbox</a><a href="/settings">Settings</a>'
        links += _name(me.id, {me.id: me.name})
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<title>{escape(title)}</title><link rel="stylesheet" href="/style.css">'
        f'<header><strong><a href="/">The Blog</a></strong>{links}</header><main>{body}</main></html>'
    )


def _button(action: str, label: str) -> str:
    return f'<form class="inline" method="post" action="{escape(action)}"><button>{label}</button></form>'


def _name(person: str, names: Names) -> str:
    return f'<a href="/people/{escape(person)}">{escape(names.get(person, person))}</a>'


def articles(found: Iterable[Article], names: Names) -> str:
    """A list of articles, newest first."""
    shown = [
        f'<article><h2><a href="/articles/{a.id}">{escape(a.title)}</a></h2>'
        f'<div class="meta">by {_name(a.author, names)}</div><p>{escape(a.body[:200])}</p></article>'
        for a in found
    ]
    return "".join(shown) or "<p>Nothing here yet.</p>"


def article(a: Article, comments: list[Comment], upvotes: set[str], me: Person | None, names: Names) -> str:
    """An article with its comments, the answers below what they answer."""
    vote, form = "", '<p><a href="/join">Join</a> to comment.</p>'
    if me:
        vote = _button(f"/articles/{a.id}/upvote", "Take it back" if me.id in upvotes else "I like it")
        form = _comment_form(a.id, None, "Your comment")
    threads = "".join(_thread(c, comments, me, names) for c in comments if c.parent is None)
    return (
        f"<article><h1>{escape(a.title)}</h1>"
        f'<div class="meta">by {_name(a.author, names)} · {len(upvotes)} like it {vote}</div>'
        f"<p>{escape(a.body)}</p></article><h2>Comments</h2>{threads}{form}"
    )


def _thread(comment: Comment, comments: list[Comment], me: Person | None, names: Names) -> str:
    answers = "".join(_thread(c, comments, me, names) for c in comments if c.parent == comment.id)
    form = _comment_form(comment.article, comment.id, "Your answer") if me else ""
    fold = f'<details><summary class="meta">Answer</summary>{form}</details>' if form else ""
    return (
        f'<div class="comment{" reply" if comment.parent else ""}" id="c{comment.id}">'
        f'<div class="meta">{_name(comment.author, names)}</div><p>{escape(comment.text)}</p>{fold}{answers}</div>'
    )


def _comment_form(article: int, parent: int | None, label: str) -> str:
    hidden = "" if parent is None else f'<input type="hidden" name="parent" value="{parent}">'
    return (
        f'<form method="post" action="/articles/{article}/comments">{hidden}'
        f'<label>{label}<textarea name="text" rows="3" required></textarea></label><button>Send</button></form>'
    )


def profile(person: Person, found: list[Article], followers: set[str], me: Person | None, names: Names) -> str:
    """A person's articles, and a button to follow them."""
    follow = ""
    if me and me.id != person.id:
        follow = _button(f"/people/{person.id}/follow", "Unfollow" if me.id in followers else "Follow")
    meta = f'<div class="meta">{len(followers)} followers {follow}</div>'
    return f"<h1>{escape(person.name)}</h1>{meta}{articles(found, names)}"


def join(wrong: str = "") -> str:
    """The form to take part."""
    return (
        f'<h1>Join</h1><p>{escape(wrong)}</p><form method="post" action="/join">'
        '<label>Your name<input name="name" required maxlength="60"></label>'
        '<label>Your mail address, if you want mail<input name="email" type="email"></label>'
        "<button>Join</button></form>"
    )


def write() -> str:
    """The form for an article."""
    return (
        '<h1>Write</h1><form method="post" action="/articles">'
        '<label>Title<input name="title" required maxlength="120"></label>'
        '<label>Text<textarea name="body" rows="10" required></textarea></label>'
        '<label><input type="checkbox" name="quiet"> Publish without telling anyone</label>'
        "<button>Publish</button></form>"
    )


def inbox(items: Iterable[InboxItem]) -> str:
    """What Clarion told a person here."""
    shown = [
        f'<div class="comment"><a href="{escape(item.action_url or "/")}">{escape(item.title or "")}</a>'
        f"<p>{escape(item.body or '')}</p></div>"
        for item in items
    ]
    return "<h1>Inbox</h1>" + ("".join(shown) or "<p>Nothing here yet.</p>")


def settings(me: Person, choices: Choices) -> str:
    """What a person wants to hear of, and where."""
    head = "".join(f"<td>{where}</td>" for where in CHANNELS.values())
    rows = "".join(f"<tr><th>{label}</th>{_choices_of(kind, label, choices)}</tr>" for kind, label in TYPES.items())
    limit = "" if choices.mails_an_hour is None else choices.mails_an_hour
    return (
        f'<h1>Settings</h1><form method="post" action="/settings">'
        f'<label>Mail address<input name="email" type="email" value="{escape(me.email or "")}"></label>'
        f"<table><tr><th></th>{head}</tr>{rows}</table>"
        f'<label>Mails an hour at most<input name="mails_an_hour" type="number" min="0" value="{limit}"></label>'
        "<button>Save</button></form>"
    )


def _choices_of(kind: str, label: str, choices: Choices) -> str:
    return "".join(
        f'<td><input type="checkbox" name="{kind}.{channel}" aria-label="{label}: {where}"'
        f"{' checked' if (kind, channel) in choices.wanted else ''}></td>"
        for channel, where in CHANNELS.items()
    )
