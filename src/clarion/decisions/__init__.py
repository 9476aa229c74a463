"""Layer 2: decisions. Pure rules, and the batch driver that loads their contexts and records their verdicts."""
