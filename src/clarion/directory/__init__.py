"""People: recipients and their addresses, preferences, topics, suppressions, tenants. Decides and sends nothing."""
