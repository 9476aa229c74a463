"""Rendering: Liquid texts, MJML, locales, what templates see. Knows nothing of storage, rules or providers."""
