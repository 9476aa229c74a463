"""Logs: one stream for all that speaks in the process, in which nothing tells an address or a secret.

Every record, ours and those of libraries, is scrubbed before it is written: values, nested values, tracebacks, access
lines. This is the net below the rule, and the rule is to log ids: what looks like any other text (names, texts of
messages, phone numbers without +) isn't caught.

Code logs with `structlog.get_logger("clarion.web").info("what happened", delivery="dlv_...")`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import sys
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, TextIO

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

from clarion.model.errors import Misconfigured

FORMATS: Final = ("auto", "console", "json")
LEVELS: Final = ("debug", "info", "warning", "error")

_LONGEST: Final = 20_000  # characters of a value
_DEEPEST: Final = 8  # nested values

# --- what is hidden ---------------------------------------------------------------------------------------------------

# Fields that are never shown, whatever they hold.
_SECRET_FIELDS: Final = frozenset(
    ("address", "api_key", "authorization", "cookie", "email", "password", "phone", "secret", "token")
)

# Without any of this, which most texts are, there is nothing to hide.
_HINT = re.compile(r"[@+%=]|clk_|clt_|whsec_|bearer|authorization|['\"]\s*:", re.IGNORECASE)

_SECRETS: Final = (
    # Made here, or by the rules of Standard Webhooks: they say what they are.
    (re.compile(r"\b(clk_|clt_|whsec_)[A-Za-z0-9+/=_-]+"), r"\1[hidden]"),
    (re.compile(r"\b(bearer\s+|authorization\W{1,5}\w+\s+)[^\s\"',;&]+", re.IGNORECASE), r"\1[hidden]"),
    (
        re.compile(
            r"((?:token|api_?key|secret|passw(?:or)?d|signature)(?:=|%3D|[\"']\s*:\s*b?[\"']))[^\s&\"'<>]+",
            re.IGNORECASE,
        ),
        r"\1[hidden]",
    ),
    (re.compile(r"://[^/\s@\"'<>]*@"), "://[hidden]@"),
    (re.compile(r"(?:\+|%(?:25)*2B)[\s.()/-]{0,2}[1-9](?:[\s.()/-]{0,2}\d){6,}", re.IGNORECASE), "[phone]"),
)

# What an email address can be made of (RFC 5322 atoms, and all that isn't ASCII), with @ and, for JSON's escapes, \.
_RUN = re.compile(r"[^\x00-\x20\x7f()<>\[\]:;,\"]+")
_AT = re.compile(r"@|%(?:25)*40")  # as it is, or in a URL, or in a URL within a URL
_TO_LAST_AT = re.compile(r".+(?:@|%(?:25)*40)", re.DOTALL)  # `@decorator` has nobody before it
_DOMAIN = re.compile(r"^(?:[A-Za-z0-9._-]|[^\x00-\x7f])*")


def scrub(text: str) -> str:
    """The text without email addresses, phone numbers in E.164, keys, tokens and passwords. Takes linear time."""
    if _HINT.search(text):
        for pattern, instead in _SECRETS:
            text = pattern.sub(instead, text)
        if _AT.search(text):
            text = _RUN.sub(_without_email, text)
    return text


def _without_email(found: re.Match[str]) -> str:
    run = found[0]
    first, last = _AT.search(run), _TO_LAST_AT.match(run)
    if first is None or last is None:
        return run
    # A path keeps what stands before the segment that holds the address.
    start = run.rfind("/", 0, first.start()) + 1 if run.startswith("/") else 0
    return f"{run[:start]}[email]{_DOMAIN.sub('', run[last.end() :], count=1)}"


def scrubbed(value: Any, depth: int = _DEEPEST) -> Any:
    """A value as plain, clean data. What isn't plain, or lies too deep, is cleaned as the text of its repr."""
    match value:
        case str():
            return _shortened(scrub(str(value)))
        case None | bool() | int() | float():
            return value
        case Mapping() if depth:
            return {
                scrub(str(name)): "[hidden]" if str(name).lower() in _SECRET_FIELDS else scrubbed(inner, depth - 1)
                for name, inner in value.items()
            }
        case list() | tuple() | set() | frozenset() if depth:
            return [scrubbed(inner, depth - 1) for inner in value]
        case _:
            return _shortened(scrub(repr(value)))


def _shortened(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    half = _LONGEST // 2
    return f"{text[:half]} [... {len(text) - _LONGEST} characters ...] {text[-half:]}"


# --- how it is written ------------------------------------------------------------------------------------------------

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def _clean(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    clean: EventDict = scrubbed(event)
    return clean


def _on_one_line(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """For people: no value ends its line or steers the terminal, and the lines of a traceback are marked as such."""
    for name, value in event.items():
        if name in ("exception", "stack"):
            event[name] = "\n".join("  | " + _visible(line) for line in str(value).split("\n"))
        elif isinstance(value, str):
            event[name] = _visible(value)
    return event


def _visible(text: str) -> str:
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def set_up(level: str = "info", format: str = "auto", stream: TextIO | None = None) -> None:
    """Sends all logs of the process, clean, to `stream` (stderr). Raises Misconfigured.

    `console` is for people, `json` for machines (one object a line), `auto` chooses by whether a terminal looks on.
    Servers that bring their own set-up must be told to leave it: uvicorn by `log_config=None`.
    """
    if level not in LEVELS or format not in FORMATS:
        raise Misconfigured(f"[log] level is one of {', '.join(LEVELS)}, and format one of {', '.join(FORMATS)}")
    stream = stream or sys.stderr
    handler = _Handler(stream)
    handler.setFormatter(_formatter(format, stream))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.access", "uvicorn.error"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.processors.StackInfoRenderer(),
            ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


_SHARED: Final[tuple[Processor, ...]] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


def _formatter(format: str, stream: TextIO) -> ProcessorFormatter:
    ending: tuple[Processor, ...]
    if format == "json" or (format == "auto" and not stream.isatty()):
        ending = (structlog.processors.JSONRenderer(),)  # escapes what isn't ASCII, and so every control character
    else:
        colours = stream.isatty() and not os.environ.get("NO_COLOR")
        ending = (_on_one_line, structlog.dev.ConsoleRenderer(colors=colours, sort_keys=False))
    return ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=[ProcessorFormatter.remove_processors_meta, structlog.processors.format_exc_info, _clean, *ending],
    )


class _Handler(logging.StreamHandler[TextIO]):
    """Where a record can't be written, the standard handler prints it as it is; this one only says so."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  the standard library's name
        fault = type(sys.exc_info()[1]).__name__
        line = {"event": "a log record could not be written", "level": "error", "logger": record.name, "fault": fault}
        with contextlib.suppress(Exception):
            self.stream.write(json.dumps(line) + "\n")


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    structlog.get_logger("clarion").critical("uncaught exception", exc_info=(kind, error, trace))
