"""The HBase tables of ZTF."""

from fink_broker.surveys import Table

TABLES: tuple[Table, ...] = ()
