"""The ASGI application: routes, errors as problem documents, and the life of the composed application behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from clarion import __version__
from clarion.bootstrap import Clarion
from clarion.engine.readiness import Readiness
from clarion.model.errors import Invalid, NotFound
from clarion.web import problems
from clarion.web.api import ROUTERS
from clarion.web.api.events import HOT
from clarion.web.api.stream import Streams
from clarion.web.cors import PersonsOwnCors
from clarion.web.metrics import Metrics
from clarion.web.openapi import describe
from clarion.web.pages import install as install_pages
from clarion.web.problems import answered
from clarion.web.received import check_declared


class HotFirst(FastAPI):
    """FastAPI behind the hot routes: they need nothing of its middleware, which would cost more than they do."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = HOT.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if route is None:
            refused = _refused(scope) if scope["type"] == "http" else None
            await (refused or super().__call__)(scope, receive, send)
            return
        scope["app"], scope["route"] = self, route
        response = await answered(route.endpoint, Request(scope, receive))
        await response(scope, receive, send)


def _refused(scope: Scope) -> Response | None:
    """The refusal of a body that no route takes, by what its headers say. Under /v1 the key comes first."""
    try:
        if not scope["path"].startswith("/v1/"):
            check_declared(Request(scope))
    except Invalid as error:
        return problems.of_invalid(error)
    return None


def create_app(clarion: Clarion) -> FastAPI:
    """The application over `clarion`, whose engine it starts and whose connections it closes."""

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        await clarion.work("serve", app.state.readiness)
        try:
            yield
        finally:
            await clarion.close()

    open_docs = clarion.settings.api.open_docs
    app = HotFirst(
        title="Clarion",
        version=__version__,
        description="Report events; Clarion decides whom to tell, on which channel and when, and delivers.",
        lifespan=life,
        openapi_url="/openapi.json" if open_docs else None,
        docs_url="/docs" if open_docs else None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.clarion, app.state.readiness, app.state.metrics = clarion, Readiness(), Metrics(clarion)
    app.state.streams = Streams(clarion.settings.api.streams_per_token)
    app.add_middleware(PersonsOwnCors, origins=clarion.settings.api.inbox_origins)
    app.router.routes.extend(HOT.values())
    for router in ROUTERS:
        app.include_router(router)
    _install_probes(app, open_docs)
    problems.install(app)
    install_pages(app)
    describe(app)
    return app


def _install_probes(app: FastAPI, open_docs: bool) -> None:
    @app.get("/healthz", tags=["operations"])
    async def healthz() -> dict[str, str]:
        """The process is alive."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["operations"])
    async def readyz(request: Request) -> Response:
        """The process can do its work: its database takes what is written, and what else it needs is there.

        Looked at every few seconds. 503 names what is lacking, in `causes`.
        """
        status, body = request.app.state.readiness.answer()
        kind = "application/json" if status == 200 else "application/problem+json"
        return JSONResponse(body, status, media_type=kind)

    @app.get("/metrics", tags=["operations"])
    async def metrics(request: Request) -> Any:
        """Prometheus metrics."""
        if not open_docs:
            raise NotFound("metrics are closed by [api] open_docs = false")
        return Response(await request.app.state.metrics.text(), media_type=CONTENT_TYPE_LATEST)
