"""The blog as a FastAPI application: reads forms, saves, tells Clarion, shows pages.

Signing in is only a name here (a cookie, no password): this is an example of notifications, not of accounts.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, NamedTuple
from unicodedata import normalize
from urllib.parse import parse_qs

from fastapi import APIRouter, Cookie, Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from blog import pages
from blog.notices import CHANNELS, TYPES, Choices, Notices
from blog.store import Article, Person, Store
from clarion.client import ClarionClientError

log = logging.getLogger(__name__)
routes = APIRouter(default_response_class=HTMLResponse)


class Parts(NamedTuple):
    """What the pages work with."""

    store: Store
    notices: Notices

    def names(self) -> dict[str, str]:
        return {person.id: person.name for person in self.store.people()}


def parts(request: Request) -> Parts:
    found: Parts = request.app.state.parts
    return found


Blog = Annotated[Parts, Depends(parts)]


async def form_of(request: Request) -> dict[str, str]:
    """A form's fields; of repeated ones the last."""
    fields = parse_qs((await request.body()).decode(), keep_blank_values=True)
    return {name: values[-1].strip() for name, values in fields.items()}


def visitor(blog: Blog, person: Annotated[str | None, Cookie()] = None) -> Person | None:
    return blog.store.person(person) if person else None


def member(me: Annotated[Person | None, Depends(visitor)]) -> Person:
    if me is None:
        raise HTTPException(403, "Join first: /join")
    return me


def article_of(id: int, blog: Blog) -> Article:
    if (found := blog.store.article(id)) is None:
        raise HTTPException(404, "No such article")
    return found


Form = Annotated[dict[str, str], Depends(form_of)]
Visitor = Annotated[Person | None, Depends(visitor)]
Member = Annotated[Person, Depends(member)]
Found = Annotated[Article, Depends(article_of)]


def back_to(path: str) -> RedirectResponse:
    return RedirectResponse(path, 303)


@routes.get("/style.css")
def style() -> Response:
    return FileResponse(Path(__file__).with_name("style.css"))


@routes.get("/")
def front(blog: Blog, me: Visitor) -> str:
    return pages.page("The Blog", me, pages.articles(blog.store.articles(), blog.names()))


@routes.get("/join")
def join_form(me: Visitor) -> str:
    return pages.page("Join", me, pages.join())


@routes.post("/join")
def join(blog: Blog, form: Form) -> Response:
    name = form.get("name", "")
    plain = normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    handle = re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or f"reader-{len(blog.store.people()) + 1}"
    if not name or blog.store.person(handle):
        return HTMLResponse(pages.page("Join", None, pages.join("This name is taken, or is none.")), 409)
    me = Person(handle, name, form.get("email") or None)
    blog.notices.person_saved(me)
    blog.store.save_person(me)
    answer = back_to("/")
    answer.set_cookie("person", handle, httponly=True, samesite="lax")
    return answer


@routes.get("/write")
def write_form(me: Member) -> str:
    return pages.page("Write", me, pages.write())


@routes.post("/articles")
def publish(blog: Blog, me: Member, form: Form) -> Response:
    if not form.get("title") or not form.get("body"):
        raise HTTPException(422, "An article needs a title and a text")
    made = blog.store.add_article(me.id, form["title"], form["body"], "quiet" in form)
    blog.notices.article_published(made, me)
    return back_to(f"/articles/{made.id}")


@routes.get("/articles/{id}")
def read(blog: Blog, article: Found, me: Visitor) -> str:
    comments, upvotes = blog.store.comments(article.id), blog.store.upvotes(article.id)
    return pages.page(article.title, me, pages.article(article, comments, upvotes, me, blog.names()))


@routes.post("/articles/{id}/comments")
def comment(blog: Blog, article: Found, me: Member, form: Form) -> Response:
    parent = blog.store.comment(int(form["parent"])) if form.get("parent", "").isdigit() else None
    if not form.get("text") or (parent and parent.article != article.id):
        raise HTTPException(422, "A comment needs a text, and answers one below the same article")
    made = blog.store.add_comment(article.id, me.id, parent.id if parent else None, form["text"])
    blog.notices.commented(made, article, me, parent)
    return back_to(f"/articles/{article.id}#c{made.id}")


@routes.post("/articles/{id}/upvote")
def upvote(blog: Blog, article: Found, me: Member) -> Response:
    if blog.store.upvote(article.id, me.id):
        blog.notices.upvoted(article, me)
    else:
        blog.store.take_upvote_back(article.id, me.id)
    return back_to(f"/articles/{article.id}")


@routes.get("/people/{id}")
def profile(id: str, blog: Blog, me: Visitor) -> str:
    if (person := blog.store.person(id)) is None:
        raise HTTPException(404, "No such person")
    found, followers = blog.store.articles(id), blog.store.followers(id)
    return pages.page(person.name, me, pages.profile(person, found, followers, me, blog.names()))


@routes.post("/people/{id}/follow")
def follow(id: str, blog: Blog, me: Member) -> Response:
    if id == me.id or blog.store.person(id) is None:
        raise HTTPException(404, "Nobody to follow")
    if me.id in blog.store.followers(id):
        blog.notices.unfollowed(id, me.id)
        blog.store.unfollow(id, me.id)
    else:
        blog.notices.followed(id, me)
        blog.store.follow(id, me.id)
    return back_to(f"/people/{id}")


@routes.get("/inbox")
def inbox(blog: Blog, me: Member) -> str:
    return pages.page("Inbox", me, pages.inbox(blog.notices.inbox(me.id)))


@routes.get("/settings")
def settings_form(blog: Blog, me: Member) -> str:
    return pages.page("Settings", me, pages.settings(me, blog.notices.choices(me.id)))


@routes.post("/settings")
def settings(blog: Blog, me: Member, form: Form) -> Response:
    limit = form.get("mails_an_hour", "")
    wanted = {(kind, channel) for kind in TYPES for channel in CHANNELS if f"{kind}.{channel}" in form}
    changed = me._replace(email=form.get("email") or None)
    blog.notices.person_saved(changed)
    blog.notices.chosen(me.id, Choices(wanted, int(limit) if limit.isdigit() else None))
    blog.store.save_person(changed)
    return back_to("/settings")


def away(_: Request, error: Exception) -> Response:
    """What people choose must reach Clarion or not be saved at all: better an error than mail they don't want."""
    log.error("Clarion: %s", error)
    body = "<h1>Not now</h1><p>This could not be saved. Please try again in a moment.</p>"
    return HTMLResponse(pages.page("Not now", None, body), 503)


def create_app(store: Store, notices: Notices) -> FastAPI:
    """The site, over its data and its line to Clarion."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        notices.close()
        store.close()

    app = FastAPI(lifespan=lifespan, title="The Blog", openapi_url=None)
    app.state.parts = Parts(store, notices)
    app.include_router(routes)
    app.add_exception_handler(ClarionClientError, away)
    return app


def from_environment() -> FastAPI:
    """The site as `uvicorn --factory blog.app:from_environment` starts it; README.md names the variables."""
    store = Store(os.environ.get("BLOG_DATABASE", "blog.db"))
    url, key = os.environ.get("CLARION_URL", "http://127.0.0.1:8000"), os.environ["CLARION_KEY"]
    return create_app(store, Notices(url, key, store, os.environ.get("BLOG_URL", "http://127.0.0.1:8080")))
