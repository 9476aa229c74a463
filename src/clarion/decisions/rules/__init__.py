"""The pure decision rules: two functions over values and `now`, in the middle of which the driver reserves slots.

    found = candidates(contexts, now)
    grants = ...reserve every request of `found` in one call, or peek for a preview...
    decided = verdicts(contexts, found, grants, now)

Nothing in here does I/O, reads a clock or draws lots. `pipeline` holds the rules in their order.
"""

from clarion.decisions.rules.pipeline import candidates, verdicts

__all__ = ["candidates", "verdicts"]
