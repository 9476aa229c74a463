from __future__ import annotations

import io
import json
import logging
import re
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from clarion.model.errors import Misconfigured
from clarion.security.keys import new_key
from clarion.security.logs import _formatter, scrub, scrubbed, set_up
from clarion.security.tokens import TOKEN_PREFIX

KEY = new_key(bytes(range(20)))
TOKEN = TOKEN_PREFIX + "AQJrMQ-_x" * 8

# Paths keep what stands before an address, so that a slash in one would show its beginning: nobody has such an address.
emails = st.emails().filter(lambda e: "/" not in e)
phones = st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True)
around = st.sampled_from(
    ["", " ", "'", '"', "<", ">", "(", ")", ",", ";", ":", "=", "\n", "\t", "mailto:", "Ada ", "ü", "."]
)


class TestScrub:
    @given(emails, around, around, st.sampled_from([str, quote, lambda e: quote(quote(e))]))
    def test_no_email_address_is_left(self, email: str, before: str, after: str, write: Callable[[str], str]) -> None:
        shown = scrub(f"<{before}{write(email)}{after}>")
        assert "[email]" in shown
        assert set(shown.replace("[email]", "")) <= set(f"<{before}{after}>")

    @given(phones, around, around, st.sampled_from([str, quote]))
    def test_no_phone_number_is_left(self, phone: str, before: str, after: str, write: Callable[[str], str]) -> None:
        shown = scrub(f"<{before}{write(phone)}{after}>")
        assert shown == f"<{before}[phone]{after}>"

    @pytest.mark.parametrize(
        "text, shown",
        [
            ("ada@example.com", "[email]"),
            ("To: Ada <ada@example.com>, bob@example.com", "To: Ada <[email]>, [email]"),
            ("GET /v1/recipients/ada%40example.com/devices?x=1", "GET /v1/recipients/[email]/devices?x=1"),
            ("GET /v1/suppressions?address=ada@example.com&limit=5", "GET /v1/[email]&limit=5"),
            ('{"email": "j\\u00fcrgen@example.com"}', '{"email": "[email]"}'),
            ("bounce+ada=example.com@mail.example", "[email]"),
            ("jürgen@bücher.example", "[email]"),
            ("user@localhost", "[email]"),
            ("ada@[192.168.0.1]", "[email][192.168.0.1]"),
            ("@dataclass", "@dataclass"),
            ("+14155550123", "[phone]"),
            ("+1 (415) 555-0123.", "[phone]."),
            ("%2B14155550123", "[phone]"),
            ("2027-03-14T09:00:00+0100", "2027-03-14T09:00:00+0100"),
            ("evt_0e8k1g2h3j4k5l6m7n8p9q took 12 ms", "evt_0e8k1g2h3j4k5l6m7n8p9q took 12 ms"),
            (f"GET /unsubscribe/{TOKEN} HTTP/1.1", "GET /unsubscribe/clt_[hidden] HTTP/1.1"),
            (f"key {KEY} was revoked", "key clk_[hidden] was revoked"),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_[hidden]"),
            ("Authorization: Bearer s3cr3t-of-the-admin", "Authorization: Bearer [hidden]"),
            ("{'authorization': 'Basic dXNlcjpwYXNz'}", "{'authorization': 'Basic [hidden]'}"),
            ("GET /v1/inbox/stream?token=abc.def&x=1", "GET /v1/inbox/stream?token=[hidden]&x=1"),
            (
                "access_token=abc api_key=def X-Amz-Signature=0a",
                "access_token=[hidden] api_key=[hidden] X-Amz-Signature=[hidden]",
            ),
            ("{'api_key': 'abc', 'region': 'eu'}", "{'api_key': '[hidden]', 'region': 'eu'}"),
            ("postgresql://clarion:p:w@db:5432/x", "postgresql://[hidden]@db:5432/x"),
            ("redis://:pw@127.0.0.1:6379/0", "redis://[hidden]@127.0.0.1:6379/0"),
            ("https://example.com/a?b=c", "https://example.com/a?b=c"),
        ],
    )
    def test_what_is_hidden_and_what_stays(self, text: str, shown: str) -> None:
        assert scrub(text) == shown

    @given(st.text())
    def test_scrubbing_twice_is_scrubbing_once(self, text: str) -> None:
        assert scrub(scrub(text)) == scrub(text)

    @pytest.mark.parametrize(
        "text", ["/", "a", "+", "+1", "%", "%25", "@", "a@", "://", "token=", "bearer ", "'a':", "\\"]
    )
    def test_a_hostile_text_takes_no_more_than_linear_time(self, text: str) -> None:
        # Milliseconds; what is quadratic would run into the time-out of every test
        assert "ada@example" not in scrub(text * (1_000_000 // len(text)) + " ada@example.com")


class Point(msgspec.Struct):
    value: str


class TestValues:
    @given(emails)
    def test_no_address_hides_in_nested_values_keys_or_objects(self, email: str) -> None:
        told = {"to": [email, (email, {email: Point(email)})], "error": ValueError(email), "raw": email.encode()}
        assert email not in json.dumps(scrubbed(told), ensure_ascii=False)

    def test_fields_that_are_secret_by_name_are_hidden_whatever_they_hold(self) -> None:
        told = scrubbed({"Authorization": "x", "token": 7, "config": {"password": ["y"]}, "type": "ok"})
        assert told == {
            "Authorization": "[hidden]",
            "token": "[hidden]",
            "config": {"password": "[hidden]"},
            "type": "ok",
        }

    def test_plain_values_stay_what_they_are(self) -> None:
        assert scrubbed({"n": 1, "x": 0.5, "b": True, "none": None, "list": [1]}) == {
            "n": 1,
            "x": 0.5,
            "b": True,
            "none": None,
            "list": [1],
        }

    def test_a_value_within_itself_and_a_value_without_end_are_cut(self) -> None:
        loop: dict[str, Any] = {"email": "ada@example.com"}
        loop["again"] = loop
        assert "ada" not in json.dumps(scrubbed(loop))
        assert len(scrubbed("x" * 1_000_000)) < 30_000


@pytest.fixture
def set_up_here() -> Iterator[Callable[..., io.StringIO]]:
    """Sets the logs up as asked and gives what they write to; afterwards all is as it was."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, sys.excepthook, threading.excepthook
    uvicorn = [(log, log.handlers[:], log.propagate) for log in map(logging.getLogger, ("uvicorn", "uvicorn.access"))]

    def start(format: str = "json", level: str = "info") -> io.StringIO:
        written = io.StringIO()
        set_up(level, format, written)
        return written

    yield start
    logging.captureWarnings(False)
    structlog.reset_defaults()
    root.handlers[:], root.level, sys.excepthook, threading.excepthook = before
    for log, handlers, propagate in uvicorn:
        log.handlers[:], log.propagate = handlers, propagate


def lines(written: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


SetUp = Callable[..., io.StringIO]
SECRETS = ("ada@example.com", "+14155550123", KEY, TOKEN, "s3cr3t")
STORY = f"ada@example.com called +14155550123 with {KEY} and ?token=s3cr3t of {TOKEN}"


def failing() -> None:
    try:
        raise KeyError(STORY)
    except KeyError as inner:
        inner.add_note(STORY)
        raise ValueError(f"no luck with {STORY}") from inner


class TestWholeSetUp:
    @pytest.mark.parametrize("format", ["json", "console"])
    def test_no_way_to_log_leaks(self, set_up_here: SetUp, format: str) -> None:
        # Given all ways that a record can come by
        written = set_up_here(format)
        log, library = structlog.get_logger("clarion.test"), logging.getLogger("some.library")
        structlog.contextvars.bind_contextvars(request=STORY)
        # When each of them carries addresses and secrets
        log.info(STORY, value=STORY, nested={"list": [STORY, Point(STORY)]}, token="s3cr3t")
        library.warning("told %s and %r", STORY, {"to": STORY})
        library.error("in an extra", extra={"to": STORY}, stack_info=True)
        try:
            failing()
        except ValueError:
            log.exception("it failed")
            library.exception("it failed, too: %s", STORY)
        structlog.contextvars.clear_contextvars()
        # Then none of it is in what was written, and all records are
        shown = written.getvalue()
        assert not [secret for secret in SECRETS if secret in shown]
        assert shown.count("it failed") == 2
        assert "ValueError: no luck with [email]" in shown
        assert "[phone]" in shown
        assert "clk_[hidden]" in shown

    @given(emails, phones)
    def test_no_address_gets_through_the_formatter(self, email: str, phone: str) -> None:
        for kind in ("json", "console"):
            formatter = _formatter(kind, io.StringIO())
            try:
                raise LookupError(f"{email} {phone}")
            except LookupError:
                record = logging.LogRecord("x", logging.INFO, "f.py", 1, "%s, %s", (email, phone), sys.exc_info())
            shown = formatter.format(record)
            assert email not in shown
            assert json.dumps(email)[1:-1] not in shown
            assert phone not in shown

    def test_json_is_one_object_a_line_with_the_usual_fields(self, set_up_here: SetUp) -> None:
        written = set_up_here()
        structlog.get_logger("clarion.test").info("sent", delivery="dlv_1", took_ms=7)
        logging.getLogger("some.library").warning("odd: %d", 3)
        first, second = lines(written)
        assert re.fullmatch(r"20\d\d-.*Z", first.pop("timestamp"))
        assert first == {"event": "sent", "level": "info", "logger": "clarion.test", "delivery": "dlv_1", "took_ms": 7}
        assert (second["event"], second["level"], second["logger"]) == ("odd: 3", "warning", "some.library")

    @pytest.mark.parametrize("format", ["json", "console"])
    @pytest.mark.parametrize(
        "end", ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\x1b[2K\x1b[1G"]
    )
    def test_no_value_ends_its_line_or_steers_the_terminal(self, set_up_here: SetUp, format: str, end: str) -> None:
        written = set_up_here(format)
        forged = f"x{end}2027-03-14T07:00:00Z [info] all is well"
        structlog.get_logger("clarion.test").warning(forged, value=forged)
        logging.getLogger("some.library").warning("%s", forged)
        shown = written.getvalue()
        assert len(shown.splitlines()) == 2
        assert "\x1b" not in shown

    def test_a_forged_line_in_an_error_is_marked_as_part_of_it(self, set_up_here: SetUp) -> None:
        written = set_up_here("console")
        try:
            raise ValueError("x\n2027-03-14T07:00:00Z [info] all is well")
        except ValueError:
            structlog.get_logger("clarion.test").exception("it failed")
        assert all(line.startswith("  | ") for line in written.getvalue().splitlines()[1:])

    def test_access_lines_of_uvicorn_come_clean(self, set_up_here: SetUp, capsys: pytest.CaptureFixture[str]) -> None:
        # Given uvicorn's own handlers, as it sets them up unless told not to
        import uvicorn

        logging.config.dictConfig(uvicorn.config.LOGGING_CONFIG)
        written = set_up_here()
        # When it logs a request the way it does
        path = f"/v1/recipients/ada%40example.com?token={TOKEN}"
        logging.getLogger("uvicorn.access").info('%s - "%s %s HTTP/%s" %d', "127.0.0.1:5", "GET", path, "1.1", 200)
        # Then there is one line, in one place, and it is clean
        assert capsys.readouterr() == ("", "")
        (line,) = lines(written)
        assert line["event"] == '127.0.0.1:5 - "GET /v1/recipients/[email]?token=[hidden] HTTP/1.1" 200'

    def test_a_record_that_can_not_be_written_is_not_shown_either(
        self, set_up_here: SetUp, capsys: pytest.CaptureFixture[str]
    ) -> None:
        written = set_up_here()
        logging.getLogger("some.library").warning("%d", STORY)
        (line,) = lines(written)
        assert line["event"] == "a log record could not be written"
        assert (line["logger"], line["fault"]) == ("some.library", "TypeError")
        assert capsys.readouterr() == ("", "")

    def test_an_uncaught_error_comes_clean_from_any_thread(self, set_up_here: SetUp) -> None:
        written = set_up_here()
        thread = threading.Thread(target=failing)
        thread.start()
        thread.join()
        try:
            failing()
        except ValueError as error:
            sys.excepthook(type(error), error, error.__traceback__)
        sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
        found = lines(written)
        assert [line["event"] for line in found] == ["uncaught exception"] * 2
        assert not [secret for secret in SECRETS if secret in written.getvalue()]

    def test_the_level_holds_for_all(self, set_up_here: SetUp) -> None:
        written = set_up_here(level="warning")
        structlog.get_logger("clarion.test").info("no")
        logging.getLogger("some.library").info("no")
        structlog.get_logger("clarion.test").warning("yes")
        assert [line["event"] for line in lines(written)] == ["yes"]

    @pytest.mark.parametrize("wrong", [{"level": "loud"}, {"format": "xml"}])
    def test_a_wrong_setting_is_named(self, set_up_here: SetUp, wrong: dict[str, str]) -> None:
        with pytest.raises(Misconfigured, match=r"\[log\] level is one of debug"):
            set_up_here(**wrong)
