"""Where providers say what became of messages: no key, because each of them signs in its own way."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from clarion.clock import world
from clarion.deliveries.interface import Callback
from clarion.model.errors import NotFound
from clarion.web.access import App
from clarion.web.received import body_of

#: Bytes of a callback: SendGrid posts up to 1,000 events at once, about 1 MB.
MOST_BODY = 4 * 1024 * 1024

router = APIRouter(tags=["callbacks"])


@router.post("/v1/callbacks/{provider}", response_class=Response)
async def post_callback(provider: str, request: Request, app: App) -> Response:
    """Takes a provider's receipts, by its name in the settings; the answer comes after they are stored."""
    return await _take(provider, request, app)


@router.get("/v1/callbacks/{provider}", response_class=Response)
async def get_callback(provider: str, request: Request, app: App) -> Response:
    """The same, for providers that report by GET."""
    return await _take(provider, request, app)


async def _take(name: str, request: Request, app: App) -> Response:
    provider = app.providers.get(name)
    if provider is None:
        raise NotFound("no provider has this name in the settings")
    query = request.url.query
    callback = Callback(
        headers=dict(request.headers),
        body=await body_of(request, MOST_BODY),
        url=app.callback_url(name) + (f"?{query}" if query else ""),
        now=world(app.clock)(),
    )
    await app.receive(name, await provider.read_callback(callback))
    # Empty, and 200: Mailgun takes 204 for a failure, and Twilio would text the body of an answer to the person.
    return Response(status_code=200, media_type="text/plain")
