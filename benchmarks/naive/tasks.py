"""One Celery task per notification."""

from __future__ import annotations

import os

import redis
import requests
from celery import Celery
from jinja2 import DictLoader, Environment

from benchmarks.naive.models import Event, Notification, Preference, Session, User, now

app = Celery("naive", broker=os.environ["NAIVE_REDIS_URL"])
app.conf.task_ignore_result = True

counters = redis.Redis.from_url(os.environ["NAIVE_REDIS_URL"])
provider_url = os.environ["NAIVE_PROVIDER_URL"]
templates = Environment(
    autoescape=False,
    loader=DictLoader(
        {
            "comment.created/title": "{{ event.data.author }} replied",
            "comment.created/body": "{{ user.name }}, {{ event.data.author }}: {{ event.data.text | truncate(80) }}",
        }
    ),
)


def over_limit(user_id: str, channel: str, period: str, limit: int, seconds: int) -> bool:
    key = f"cap:{user_id}:{channel}:{period}"
    count = counters.incr(key)
    if count == 1:
        counters.expire(key, seconds)
    return count > limit


@app.task
def send_notification(event_id: int, user_id: str, channel: str) -> None:
    with Session() as session:
        event = session.get(Event, event_id)
        user = session.get(User, user_id)
        preference = session.query(Preference).filter_by(user_id=user_id, type=event.type, channel=channel).first()
        if preference is not None and not preference.enabled:
            return
        per_hour = preference.max_per_hour if preference else 5
        per_day = preference.max_per_day if preference else 20
        today = now()
        if over_limit(user_id, channel, f"{today:%Y%m%d%H}", per_hour, 3600):
            return
        if over_limit(user_id, channel, f"{today:%Y%m%d}", per_day, 86400):
            return

        notification = Notification(event_id=event_id, user_id=user_id, channel=channel, status="pending")
        session.add(notification)
        session.commit()

        notification.title = templates.get_template(f"{event.type}/title").render(event=event, user=user)
        notification.body = templates.get_template(f"{event.type}/body").render(event=event, user=user)
        response = requests.post(
            f"{provider_url}/v1/projects/naive/messages:send",
            json={
                "message": {
                    "token": user.token,
                    "notification": {"title": notification.title, "body": notification.body},
                    "data": {"notification_id": str(notification.id)},
                }
            },
            timeout=10,
        )
        response.raise_for_status()
        notification.status = "sent"
        notification.provider_id = response.json()["name"]
        notification.sent_at = now()
        session.commit()
