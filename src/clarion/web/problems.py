"""Errors as RFC 9457 `application/problem+json`, with a stable `code`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from clarion.model.errors import MOST_ECHOED, Invalid, Unavailable

log = structlog.get_logger("clarion.web")

_CODES = {400: "malformed_json", 401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "method_not_allowed"}


def problem(status: int, code: str, detail: str, where: str | None = None, **headers: str) -> Response:
    """A problem document."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
    }
    if where:
        body["where"] = where
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(msgspec.json.encode(body), status, names, media_type="application/problem+json")


def of_invalid(error: Invalid) -> Response:
    """The problem that an error meant for people tells."""
    extra = {"WWW_Authenticate": "Bearer"} if error.status == 401 else {}
    if (retry_after := getattr(error, "retry_after", None)) is not None:
        extra["Retry_After"] = str(-(-retry_after // 1000))
    return problem(error.status, error.code, error.detail, error.where, **extra)


def of_unavailable(error: Unavailable) -> Response:
    """503: nothing was stored; come again."""
    return problem(503, "unavailable", f"{error}; nothing was stored, try again", Retry_After="1")


_KINDS = {"extra_forbidden": "unknown_field", "missing": "missing_field"}


def _of_validation(error: RequestValidationError) -> Response:
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return problem(400, "malformed_json", "the body isn't valid JSON")
    where = ".".join(str(part)[:MOST_ECHOED] for part in first["loc"][1:])[: 2 * MOST_ECHOED]
    message = str(first["msg"]).removeprefix("Value error, ")
    code = _KINDS.get(first["type"], "invalid_field")
    if first["type"] == "extra_forbidden":
        message = f"{where} isn't a field of this call"
    return problem(422, code, f"{where}: {message}" if where else message, where or None)


async def answered(endpoint: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
    """The endpoint's answer, or the problem that a fault of ours is: for routes in front of the app."""
    try:
        return await endpoint(request)
    except ClientDisconnect:
        return Response(status_code=400)  # nobody reads it
    except Exception as error:  # noqa: BLE001  # whatever it was, the caller gets an answer
        return _crashed(request, error)


def _crashed(request: Request, error: Exception) -> Response:
    log.error("request failed", path=request.scope.get("path"), error=type(error).__name__, exc_info=error)
    return problem(500, "internal_error", "something broke on our side; the server's log tells more")


def install(app: FastAPI) -> None:
    """Makes every error of the app a problem document."""

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, Invalid)
        return of_invalid(error)

    async def unavailable(_: Request, error: Exception) -> Response:
        assert isinstance(error, Unavailable)
        return of_unavailable(error)

    async def validation(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return _of_validation(error)

    async def http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = _CODES.get(error.status_code, "error")
        return problem(error.status_code, code, str(error.detail))

    async def crash(request: Request, error: Exception) -> Response:
        return _crashed(request, error)

    app.add_exception_handler(Invalid, invalid)
    app.add_exception_handler(Unavailable, unavailable)
    app.add_exception_handler(RequestValidationError, validation)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, crash)
