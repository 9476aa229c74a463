"""`decisions`: pure verdicts a second on one core; beside it, people decided a second by one process, and stored."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Literal

from benchmarks import decisions
from benchmarks.environment import ROOT, Environment
from benchmarks.ours import Ours
from benchmarks.row import Row


class Deciding(Ours):
    """An installation whose decisions are measured without a server."""

    def decide(self, people: int) -> float:
        """People decided a second by one process, stored, with every rule at work."""
        words = [sys.executable, "-m", "benchmarks.deciding", str(people)]
        # Nobody sends here: decisions wait for nobody.
        settings = {"CLARION_DECISIONS__ATTENTION_BUDGET": "1000", "CLARION_DECISIONS__AHEAD": "100000000"}
        environment = {**os.environ, **self._environment, **settings, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(words, cwd=self._folder, env=environment, check=True, stdout=subprocess.PIPE)
        return float(done.stdout)


def measure(env: Environment) -> list[Row]:
    """The rules alone, on contexts as they come; then with loading, slots, claims, rows and facts around them."""
    value, people = decisions.measure(env.scale.seconds), env.scale.fanout
    engines: dict[str, Literal["celery", "embedded"]] = {"PostgreSQL": "celery", "SQLite": "embedded"}
    stored = [f"{Deciding(env, engine, people).decide(people):,.0f} on {store}" for store, engine in engines.items()]
    also = ((f"decided and stored by one process {' and '.join(stored)}", True),)
    return [Row(name="decisions", unit="verdicts/s", value=value, bar=50_000, bar_of="value", also=also)]
