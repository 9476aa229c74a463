"""The limits store: rolling caps, token buckets, API limits, provider health, live fan-out; on Redis or embedded."""
