"""Errors that a user meets: one line that says what to do, and an exit code."""


class FinkError(Exception):
    """An error whose message is one line for the user; details belong in the log."""

    exit_code = 1


class UsageError(FinkError):
    """Wrong command line."""

    exit_code = 2


class ConfigError(FinkError):
    """Wrong configuration: unknown key, bad value, missing file."""

    exit_code = 2


class ServerUnavailable(FinkError):
    """A server that is needed (Kafka, HBase) did not answer in time."""

    exit_code = 3


class SumsDoNotMeet(FinkError):
    """What came out is not what went in."""

    exit_code = 4
