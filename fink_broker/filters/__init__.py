"""Filters: the registry and the broker's own."""
