"""Read models built from facts: statistics, the providers' history. They may lag, say by how much, can be rebuilt."""
