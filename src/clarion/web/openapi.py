"""Puts the two hot routes, which FastAPI doesn't see, into the OpenAPI document, and the bearer key on every call."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from clarion.events.intake import EventBody
from clarion.web.access import OPEN, RECIPIENT_ROUTES

_ACCEPTED = {
    "type": "object",
    "required": ["id", "status", "duplicate"],
    "properties": {
        "id": {"type": "string", "example": "evt_06n3k2o1g4v0r7s9c5q8d6e2t0"},
        "status": {"type": "string", "const": "accepted"},
        "duplicate": {"type": "boolean", "description": "the same event was accepted before, under this key"},
    },
}
_REJECTED = {
    "type": "object",
    "required": ["status", "error"],
    "properties": {
        "status": {"type": "string", "const": "rejected"},
        "error": {
            "type": "object",
            "required": ["code", "detail"],
            "properties": {"code": {"type": "string"}, "detail": {"type": "string"}, "where": {"type": "string"}},
        },
    },
}
PROBLEM = {
    "type": "object",
    "required": ["title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "stable, for programs"},
        "detail": {"type": "string", "description": "what is wrong and how to mend it"},
        "where": {"type": "string", "description": "the field"},
    },
}


def describe(app: FastAPI) -> None:
    """Replaces the app's document by one that has everything."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    found = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schemas = found.setdefault("components", {}).setdefault("schemas", {})
    (event,), parts = msgspec.json.schema_components([EventBody], ref_template="#/components/schemas/{name}")
    schemas.update(parts)
    schemas["Problem"] = PROBLEM
    batch = {
        "type": "object",
        "required": ["events"],
        "properties": {"events": {"type": "array", "items": event, "maxItems": 1000}},
    }
    result = {"oneOf": [_ACCEPTED, _REJECTED]}
    results = {"type": "object", "properties": {"results": {"type": "array", "items": result}}}
    found["paths"]["/v1/events"] = {"post": _call("Accept an event", event, _ACCEPTED, True)}
    found["paths"].setdefault("/v1/events/batch", {})["post"] = _call(
        "Accept up to 1,000 events", batch, results, False
    )
    found["components"]["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer"},
        "recipient token": {"type": "http", "scheme": "bearer"},
    }
    for path, calls in found["paths"].items():
        for method, call in calls.items():
            call["responses"].pop("422", None)
            call["responses"]["4XX"] = {
                "description": "What is wrong, and how to mend it",
                "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
            }
            if path not in OPEN:
                token = (method.upper(), path) in RECIPIENT_ROUTES
                call["security"] = [{"recipient token" if token else "key": []}]
    return found


def _call(summary: str, body: dict[str, Any], answer: dict[str, Any], keyed: bool) -> dict[str, Any]:
    call: dict[str, Any] = {
        "tags": ["events"],
        "summary": summary,
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {"202": {"description": "Stored for good", "content": {"application/json": {"schema": answer}}}},
    }
    if keyed:
        call["parameters"] = [
            {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "maxLength": 256}}
        ]
    return call
