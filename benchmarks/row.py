"""One line of the table: what was measured, beside the naive design and the bar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Row:
    """A figure. `bar` is what must hold: of the ratio to the naive design where there is one, else of the value.

    `value` None: not measured yet. `naive` None: the naive design has nothing to compare with.
    """

    name: str
    unit: str
    value: float | None = None
    naive: float | None = None
    bar: float | None = None
    bar_of: Literal["ratio", "value"] = "ratio"
    better: Literal["higher", "lower"] = "higher"

    @property
    def ratio(self) -> float | None:
        """How many times better than the naive design."""
        if not self.value or not self.naive:
            return None
        return self.value / self.naive if self.better == "higher" else self.naive / self.value

    @property
    def meets(self) -> bool | None:
        """Whether the bar holds; None where there is no bar or no figure."""
        if self.bar is None:
            return None
        if self.bar_of == "ratio":
            return None if self.ratio is None else self.ratio >= self.bar
        if self.value is None:
            return None
        return self.value >= self.bar if self.better == "higher" else self.value <= self.bar

    @property
    def bar_text(self) -> str:
        """The bar for people: `8 x`, `at most 34 ms`."""
        if self.bar is None:
            return ""
        if self.bar_of == "ratio":
            return f"{self.bar:g} x"
        return f"{'at least' if self.better == 'higher' else 'at most'} {self.bar:g} {self.unit}"

    def as_json(self) -> dict[str, Any]:
        """As results/bench.json holds it."""
        return {
            "name": self.name,
            "value": _rounded(self.value),
            "unit": self.unit,
            "naive": _rounded(self.naive),
            "ratio": _rounded(self.ratio),
            "bar": self.bar_text or None,
            "meets": self.meets,
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
