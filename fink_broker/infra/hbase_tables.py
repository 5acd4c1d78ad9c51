"""New HBase tables of several regions, through HBase's Java client, or as commands for the shell of a cluster."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from fink_broker.config import Settings
from fink_broker.errors import ConfigError, FinkError
from fink_broker.infra import hbase, java

_SOURCE = Path(__file__).parent / "CreateTables.java"
_SECONDS = 300.0

log = logging.getLogger(__name__)


class NewTable(NamedTuple):
    """A table to be made.

    Parameters
    ----------
    name : str
        Its name, with the prefix.
    families : tuple of str
        Column families.
    splits : list of str
        First keys of its regions but the first.
    """

    name: str
    families: tuple[str, ...]
    splits: list[str]


def create(settings: Settings, tables: Iterable[NewTable]) -> None:
    """Make tables that are not there.

    Raises
    ------
    ConfigError
        It is not known where HBase's configuration is, or HBase cannot load the compression.
    FinkError
        HBase did not make one; the message is its own.
    """
    site = hbase.folder(settings) / "conf" if settings.hbase.thrift == "local" else settings.hbase.site
    if site is None:
        raise ConfigError(
            "tables of several regions are not made through Thrift: set [hbase] site to the folder of the cluster's hbase-site.xml, "
            "or give the output of fink hbase init --shell to hbase shell"
        )
    command = java.command(
        settings,
        "hbase-init",
        class_path=[site, java.jar_folder("hbase")],
        heap="256m",
        options=hbase.OPENS,
        main=[str(_SOURCE)],
    )
    compression = settings.hbase.compression.upper()
    lines = ["\t".join([table.name, ",".join(table.families), compression, *table.splits]) for table in tables]
    try:
        done = subprocess.run(command, input="\n".join(lines), text=True, capture_output=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise FinkError(f"HBase did not make the tables within {_SECONDS:g} s; is the hbase-site.xml in {site} right?") from error
    if done.returncode != 0:
        log.error("HBase did not make the tables: %s", done.stderr)
        if "Compression algorithm" in done.stderr:
            raise ConfigError(f"this HBase cannot load the compression {compression}: set [hbase] compression to gz or none")
        raise FinkError(f"HBase did not make the tables: {(done.stderr.splitlines() or ['it does not say why'])[0]}")


def shell(settings: Settings, tables: Iterable[NewTable]) -> str:
    """The same as commands of HBase's shell."""
    options = (
        f"VERSIONS => 1, BLOOMFILTER => 'ROW', DATA_BLOCK_ENCODING => 'FAST_DIFF', COMPRESSION => '{settings.hbase.compression.upper()}'"
    )
    lines = []
    for table in tables:
        families = "".join(f", {{NAME => '{family}', {options}}}" for family in table.families)
        splits = ", ".join(f"'{split}'" for split in table.splits)
        lines.append(f"create '{table.name}'{families}" + (f", SPLITS => [{splits}]" if splits else ""))
    return "\n".join(lines)
