"""The Django application."""

from __future__ import annotations

from django.apps import AppConfig


class OutboxConfig(AppConfig):  # type: ignore[misc]  # Django says nothing about its types
    """As INSTALLED_APPS finds it."""

    name = "clarion.outbox.django"
    label = "clarion_outbox"
    verbose_name = "Clarion's outbox"
    default_auto_field = "django.db.models.BigAutoField"
