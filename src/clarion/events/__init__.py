"""Layer 1: events. Checks what producers report, stores it once, cuts its audience into shards."""
