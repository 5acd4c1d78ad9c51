"""Processes, pid files, the embedded servers and the jars."""
