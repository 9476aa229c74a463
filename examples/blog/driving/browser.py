"""Does on the site what a person does in a browser: fills in forms, presses buttons, follows where they lead."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urlsplit

from driving.crowd import TYPES, Action, Change, Follow, Member, Publish, Round, Settings, Unfollow, Upvote, Write

CHANNELS = ("in_app", "email")


class Refused(Exception):
    """The site answered with an error."""

    def __init__(self, status: int, asked: str, text: str) -> None:
        super().__init__(f"the blog answered {status} to {asked}: {text[:300]}")
        self.status = status


class Site:
    """The site as a crowd uses it; remembers which id each article and comment was given."""

    def __init__(self, url: str, members: list[Member]) -> None:
        self._host = urlsplit(url).netloc
        self.members = members
        self._limits = {member.id: member.mails_an_hour for member in members}
        self.articles: dict[int, int] = {}
        self.comments: dict[int, int] = {}

    def _ask(self, method: str, path: str, person: str | None, form: str | None = None) -> tuple[HTTPResponse, str]:
        headers = {"Cookie": f"person={person}"} if person else {}
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        with closing(HTTPConnection(self._host, timeout=30)) as connection:
            connection.request(method, path, form, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        if answer.status >= 400:
            raise Refused(answer.status, f"{method} {path}", text)
        return answer, text

    def read(self, path: str, person: str | None = None) -> str:
        """A page's text."""
        return self._ask("GET", path, person)[1]

    def _post(self, path: str, person: str, **form: str) -> str:
        """Sends a form and tells where that leads."""
        return self._ask("POST", path, person, urlencode(form))[0].headers["Location"]

    def join(self, member: Member) -> None:
        answer, _ = self._ask("POST", "/join", None, urlencode({"name": member.name, "email": member.email or ""}))
        assert SimpleCookie(answer.headers["Set-Cookie"])["person"].value == member.id
        if member.mails_an_hour is not None:
            self.do(Settings(member.id, member.email, member.unwanted))

    def play(self, part: Round) -> None:
        """The changes one after the other, then the actions from four browsers at once."""
        for change in part.changes:
            self.do(change)
        with ThreadPoolExecutor(4) as browsers:
            list(browsers.map(self.do, part.actions))

    def do(self, action: Change | Action) -> None:
        match action:
            case Settings(person, email, unwanted):
                wanted = {f"{t}.{c}": "on" for t in TYPES for c in CHANNELS if (t, c) not in unwanted}
                limit = self._limits[person]
                self._post(
                    "/settings", person, email=email or "", mails_an_hour="" if limit is None else str(limit), **wanted
                )
            case Follow(follower, author) | Unfollow(follower, author):
                self._post(f"/people/{author}/follow", follower)
            case Publish(number, author, title, text, quiet):
                form = {"title": title, "body": text, **({"quiet": "on"} if quiet else {})}
                location = self._post("/articles", author, **form)
                self.articles[number] = int(location.rpartition("/")[2])
            case Write(number, article, author, text, parent):
                form = {"text": text, **({"parent": str(self.comments[parent])} if parent else {})}
                location = self._post(f"/articles/{self.articles[article]}/comments", author, **form)
                self.comments[number] = int(location.rpartition("#c")[2])
            case Upvote(article, person, times):
                for _ in range(times):
                    self._post(f"/articles/{self.articles[article]}/upvote", person)
