"""Clarion."""
