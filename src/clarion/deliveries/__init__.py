"""Layer 3: what was decided goes out through providers, with retries, failover and receipts."""
