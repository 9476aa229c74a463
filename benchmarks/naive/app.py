"""The API of the naive design: store the event, enqueue one task per recipient."""

from __future__ import annotations

from flask import Flask, jsonify, request
from sqlalchemy.exc import IntegrityError

from benchmarks.naive.models import Event, Session
from benchmarks.naive.tasks import send_notification

app = Flask(__name__)


@app.post("/v1/events")
def create_event():
    body = request.get_json()
    for field in ("type", "data", "recipients"):
        if field not in body:
            return jsonify({"error": f"{field} is missing"}), 400
    key = body.get("idempotency_key")
    with Session() as session:
        event = Event(type=body["type"], data=body["data"], idempotency_key=key)
        session.add(event)
        try:
            session.commit()
        except IntegrityError:
            session.rollback()
            event = session.query(Event).filter_by(idempotency_key=key).one()
            return jsonify({"id": event.id, "status": "accepted", "duplicate": True}), 202
        event_id = event.id
    for user_id in body["recipients"]:
        send_notification.delay(event_id, user_id, "push")
    return jsonify({"id": event_id, "status": "accepted", "duplicate": False}), 202


@app.get("/healthz")
def healthz():
    return "ok"
