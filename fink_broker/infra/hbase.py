"""The embedded HBase: the real server, standalone with its own ZooKeeper, and its Thrift server, on this machine only.

Two processes: ``hbase`` (master, region server and ZooKeeper) and its part ``hbase-thrift``, through which clients come.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from xml.sax.saxutils import escape

import happybase
from thriftpy2.thrift import TException

from fink_broker.config import Settings
from fink_broker.errors import ConfigError, ServerUnavailable
from fink_broker.infra import java, ports, processes
from fink_broker.infra.detach import detach
from fink_broker.infra.processes import Running

NAME = "hbase"
THRIFT = "hbase-thrift"
DESCRIPTION = "HBase with its Thrift server on this machine, for those who have no cluster"

_START_S = 120.0
_POLL_S = 0.2
_THRIFT_HEAP = "256m"

# Hadoop and HBase reach into the JDK; these are the packages that HBase's own scripts open.
OPENS = [
    f"--add-opens=java.base/{package}=ALL-UNNAMED"
    for package in ("java.lang", "java.lang.reflect", "java.nio", "sun.nio.ch", "java.util", "java.util.concurrent")
]


def address(settings: Settings) -> tuple[str, int]:
    """Host and port of the Thrift server: ``host:port`` as configured, or for ``local`` the embedded one.

    Raises
    ------
    ServerUnavailable
        The embedded HBase does not run.
    ConfigError
        The configured address is not ``host:port``.
    """
    where: str | None = settings.hbase.thrift
    if where == "local":
        running = processes.find(settings, THRIFT)
        where = running.address if running else None
    if where is None:
        raise ServerUnavailable("HBase is not running on this machine: fink start hbase")
    host, colon, port = where.rpartition(":")
    if not (host and colon and port.isdigit()):
        raise ConfigError(f"[hbase] thrift is '{where}': give host:port, or local for the HBase of this machine")
    return host, int(port)


def start(settings: Settings) -> Running:
    """Start HBase and its Thrift server and wait until tables can be made; what runs already is left as it is.

    Raises
    ------
    ServerUnavailable
        The Thrift port is taken, or a process did not come up.
    """
    with processes.start_lock(settings, NAME):
        running = processes.find(settings, NAME)
        if running is not None and processes.find(settings, THRIFT) is not None:
            return running
        try:
            return _start(settings, running)
        except BaseException:
            processes.stop(settings, NAME, say=lambda line: None)
            raise


def _start(settings: Settings, master: Running | None) -> Running:
    """Start both, or only the Thrift server where the master has survived it."""
    processes.stop(settings, THRIFT, say=lambda line: None)
    port = ports.choose(settings.hbase.port, "HBase", "[hbase] port")
    where = f"{ports.HOST}:{port}"
    if master is None:
        # ZooKeeper holds nothing that HBase cannot tell anew, but the locks of a killed server for as long as its session.
        shutil.rmtree(folder(settings) / "zookeeper", ignore_errors=True)
        _configure(settings, ports.free())
        pid = detach(_command(settings, NAME, settings.hbase.heap, _MASTER), settings.log(NAME))
        master = processes.register(settings, NAME, where, pid)
    arguments = [_THRIFT_CLASS, "--bind", ports.HOST, "--port", str(port), "--infoport", "-1", "start"]
    pid = detach(_command(settings, THRIFT, _THRIFT_HEAP, arguments), settings.log(THRIFT))
    thrift = processes.register(settings, THRIFT, where, pid, part_of=NAME)
    _wait(settings, [master, thrift], port)
    return master


_MASTER = ["org.apache.hadoop.hbase.master.HMaster", "start"]
_THRIFT_CLASS = "org.apache.hadoop.hbase.thrift.ThriftServer"


def _wait(settings: Settings, parts: list[Running], port: int) -> None:
    """Wait until a client can make tables."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        for part in parts:
            if not processes.is_alive(part):
                raise ServerUnavailable(f"HBase ended while it started; its log is {settings.log(part.name)}")
        if ports.answers(port) and _is_ready(port):
            return
        time.sleep(_POLL_S)
    raise ServerUnavailable(f"HBase did not answer within {_START_S:g} s; its log is {settings.log(NAME)}")


def _is_ready(port: int) -> bool:
    """Whether the master takes new tables: it refuses one without families only once it is up."""
    try:
        connection = happybase.Connection(ports.HOST, port, timeout=10_000)
        try:
            connection.tables()
            connection.client.createTable(b"fink.never.made", [])
        finally:
            connection.close()
    except TException as error:
        return "column family" in str(error)
    except OSError:
        return False
    return True


def _command(settings: Settings, name: str, heap: str, main: list[str]) -> list[str]:
    class_path = [folder(settings) / "conf", java.jar_folder("hbase")]
    # Its cache fills the heap: the serial collector would hold every query up, for half a second at a time.
    collector = "G1" if name == NAME else "Serial"
    return java.command(settings, name, class_path=class_path, heap=heap, options=OPENS, main=main, collector=collector)


def folder(settings: Settings) -> Path:
    """Data and configuration of the embedded HBase."""
    return settings.root / "hbase"


def _configure(settings: Settings, zookeeper_port: int) -> None:
    """Write hbase-site.xml anew, because ports may change; the data stay."""
    here = folder(settings)
    values: dict[str, object] = {
        "hbase.rootdir": f"file://{here / 'data'}",
        "hbase.tmp.dir": here / "tmp",
        "hbase.zookeeper.property.dataDir": here / "zookeeper",
        "hbase.zookeeper.property.clientPort": zookeeper_port,
        "hbase.zookeeper.quorum": ports.HOST,
        "hbase.cluster.distributed": "false",
        # Everything on this machine, by address: its host name need not resolve.
        "hbase.master.hostname": ports.HOST,
        "hbase.regionserver.hostname": ports.HOST,
        "hbase.master.ipc.address": ports.HOST,
        "hbase.regionserver.ipc.address": ports.HOST,
        "hbase.master.port": 0,
        "hbase.regionserver.port": 0,
        "hbase.master.info.port": -1,
        "hbase.regionserver.info.port": -1,
        # On a local disk the log is a plain file; every put is written to it before it is acknowledged.
        "hbase.wal.provider": "filesystem",
        "hbase.unsafe.stream.capability.enforce": "false",
        # A small machine: few handlers, and no waiting for more region servers.
        "hbase.regionserver.handler.count": 8,
        "hbase.master.wait.on.regionservers.mintostart": 1,
        "hbase.master.wait.on.regionservers.interval": 100,
        "hbase.master.wait.on.regionservers.timeout": 0,
        "hbase.regionserver.msginterval": 500,
        # Ask again soon while the master starts, instead of seconds later.
        "hbase.client.pause": 25,
        # ZooKeeper ends with the master, sometimes before the region server has said goodbye to it: do not insist.
        "zookeeper.recovery.retry": 0,
    }
    rows = "".join(f"  <property><name>{name}</name><value>{escape(str(value))}</value></property>\n" for name, value in values.items())
    path = here / "conf" / "hbase-site.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"<?xml version='1.0' encoding='UTF-8'?>\n<configuration>\n{rows}</configuration>\n", encoding="utf-8")
