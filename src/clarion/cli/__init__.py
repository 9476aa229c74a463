"""The command line. Each command has a module of its own; they share the settings and work beside a running server."""

from __future__ import annotations

from clarion.cli.app import main

__all__ = ["main"]
