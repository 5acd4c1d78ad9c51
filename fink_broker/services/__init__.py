"""The streaming services: one module each, and the life cycle they share."""
