"""The broker's own science modules for Rubin: none yet."""
