"""The HBase tables of a survey: which there are to be, and making those that are missing."""

from __future__ import annotations

from collections.abc import Iterable

from fink_broker.config import Settings
from fink_broker.connectors.hbase import ANNOTATIONS, Client
from fink_broker.infra import hbase_tables
from fink_broker.infra.hbase_tables import NewTable
from fink_broker.surveys import Table


def new(settings: Settings, tables: Iterable[Table]) -> list[NewTable]:
    """How tables are made: families, and regions where their keys divide evenly."""
    prefix, regions = settings.hbase.table_prefix, settings.hbase.regions
    return [NewTable(prefix + table.name, (*table.families, ANNOTATIONS), table.splits(regions)) for table in tables]


def make(settings: Settings, tables: Iterable[Table], client: Client) -> list[str]:
    """Make the tables that are missing.

    Returns
    -------
    list of str
        Names of those that were made.

    Raises
    ------
    ServerUnavailable
        HBase did not answer in time.
    ConfigError
        HBase cannot load the compression, or tables of several regions cannot be made from here.
    FinkError
        HBase did not make one.
    """
    there = set(client.tables())
    missing = [table for table in tables if table.name not in there]
    if missing and settings.hbase.regions > 1:
        hbase_tables.create(settings, new(settings, missing))
    else:
        client.create({table.name: table.families for table in missing}, settings.hbase.compression)
    return [table.name for table in missing]
