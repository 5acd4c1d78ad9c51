"""The columns that Fink adds to a ZTF alert, with the types and defaults that readers of the tables expect."""

from fink_broker.surveys import FinkColumn

FINK_COLUMNS: dict[str, FinkColumn] = {}
