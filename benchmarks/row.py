"""One line of the table: what was measured, beside the naive design and the bar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Row:
    """A figure. `bar` is what must hold: of the ratio to the naive design where there is one, else of the value.

    `value` None: not measured. `naive` None: the naive design has nothing to compare with. `also` are further
    conditions (a p99, the same on SQLite): what they are in words, and whether they hold.
    """

    name: str
    unit: str
    value: float | None = None
    naive: float | None = None
    bar: float | None = None
    bar_of: Literal["ratio", "value"] = "ratio"
    better: Literal["higher", "lower"] = "higher"
    also: tuple[tuple[str, bool], ...] = ()

    @property
    def ratio(self) -> float | None:
        """How many times better than the naive design."""
        if not self.value or not self.naive:
            return None
        return self.value / self.naive if self.better == "higher" else self.naive / self.value

    @property
    def meets(self) -> bool:
        """Whether the bar holds, with all that belongs to it; what isn't measured holds nothing."""
        figure = self.ratio if self.bar_of == "ratio" else self.value
        if figure is None or self.bar is None or not all(holds for _, holds in self.also):
            return False
        return figure >= self.bar if self.bar_of == "ratio" or self.better == "higher" else figure <= self.bar

    @property
    def bar_text(self) -> str:
        """The bar for people: `8 x`, `at most 0.4 s`."""
        if self.bar is None:
            return ""
        if self.bar_of == "ratio":
            return f"{self.bar:g} x"
        return f"{'at least' if self.better == 'higher' else 'at most'} {self.bar:,g} {self.unit}"

    @property
    def remarks(self) -> str:
        """The further conditions, for people."""
        return "; ".join(f"{what}{'' if holds else ' (missed)'}" for what, holds in self.also)

    def as_json(self) -> dict[str, Any]:
        """As results/bench.json holds it."""
        return {
            "name": self.name,
            "value": _rounded(self.value),
            "unit": self.unit,
            "naive": _rounded(self.naive),
            "ratio": _rounded(self.ratio),
            "bar": "; ".join(filter(None, (self.bar_text, self.remarks))) or None,
            "meets": self.meets,
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
