"""Workflows as values: read from YAML files or plain JSON, checked whole, their texts compiled. No decisions here."""
