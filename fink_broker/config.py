"""Settings: typed, read from one TOML file and the environment, secrets masked.

Order, later wins: the defaults below, the file (``-c``, else ``FINK_CONF``, else ``conf/fink.conf``), the environment.
A key ``[kafka.input] servers`` is ``FINK_KAFKA__INPUT__SERVERS`` in the environment; the top-level key ``home`` is
``FINK__HOME``, because ``FINK_HOME`` is the checkout.
"""

from __future__ import annotations

import difflib
import os
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from fink_broker.errors import ConfigError

CHECKOUT = Path(os.environ.get("FINK_HOME") or Path(__file__).resolve().parent.parent)
DEFAULT_CONF = CHECKOUT / "conf" / "fink.conf"

# Variables of the launcher that are not keys of the configuration.
_RESERVED = {"FINK_HOME", "FINK_CONF", "FINK_SETUP", "FINK_PYTHON", "FINK_MAVEN"}

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A part of the configuration; unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class KafkaEnd(Section):
    """One Kafka cluster: where it is and how to log in; files are PEM."""

    section: ClassVar[str] = "kafka"

    servers: str = "local"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    username: str = ""
    password: SecretStr = SecretStr("")
    password_file: Path | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    key_password: SecretStr = SecretStr("")
    key_password_file: Path | None = None

    @model_validator(mode="after")
    def _log_in_is_complete(self) -> Self:
        """Whatever is not given for the embedded Kafka comes from its own files."""
        given = bool(self.password.get_secret_value() or self.password_file)
        needed = bool(self.username) or self.servers != "local"
        if self.security_protocol.startswith("SASL") and needed and not (self.username and given):
            variable = f"FINK_{self.section.upper().replace('.', '__')}__PASSWORD"
            raise ValueError(f"{self.security_protocol} needs username, and password_file or the environment variable {variable}")
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together")
        return self


class KafkaInput(KafkaEnd):
    """The telescope's Kafka."""

    section: ClassVar[str] = "kafka.input"

    topics: str = "ztf_.*"
    form: Literal["", "container", "confluent", "schemaless"] = ""
    schemas: str = "local"
    starting_offsets: Literal["earliest", "latest"] = "earliest"


class KafkaOutput(KafkaEnd):
    """The Kafka that users read their topics from."""

    section: ClassVar[str] = "kafka.output"

    partitions: Count = 2


class KafkaServer(Section):
    """The embedded Kafka (``fink start kafka``)."""

    port: Port = 9092
    heap: str = "512m"
    secure: bool = False
    username: Annotated[str, Field(min_length=1)] = "fink"
    password: SecretStr = SecretStr("")
    password_file: Path | None = None


class Kafka(Section):
    """Kafka in, Kafka out, and the embedded one."""

    input: KafkaInput = KafkaInput()
    output: KafkaOutput = KafkaOutput()
    embedded: KafkaServer = KafkaServer()

    @property
    def simulated(self) -> KafkaEnd:
        """The end that the simulator sends to: the embedded Kafka, in the way that the input reads it if it does."""
        return self.input if self.input.servers == "local" else KafkaEnd()


class HBase(Section):
    """The HBase tables and the embedded server."""

    thrift: str = "local"
    port: Port = 9090
    heap: str = "768m"
    table_prefix: str = ""
    batch_cells: Count = 20_000


class SchemaRegistry(Section):
    """The embedded schema registry (``fink start registry``)."""

    port: Port = 8081
    heap: str = "256m"


class Spark(Section):
    """The Spark application of the services."""

    master: str = "local[4,4]"
    driver_memory: str = "2g"
    shuffle_partitions: Count = 2
    java_options: str = (
        "-XX:+UseSerialGC -XX:Tier4InvocationThreshold=50000 -XX:Tier4MinInvocationThreshold=6000 "
        "-XX:Tier4CompileThreshold=150000 -XX:Tier4BackEdgeThreshold=400000 -XX:-DontCompileHugeMethods"
    )
    conf: dict[str, str] = {}


class Wait(Section):
    """How long to wait for a server that is not there."""

    seconds: Seconds = 300.0


class Stream2raw(Section):
    """Kafka to Parquet raw."""

    trigger_seconds: Seconds = 5.0
    max_alerts_per_trigger: Count = 5_000
    max_message_bytes: Count = 16_000_000
    writers: Count = 2
    catch_up: Literal["oldest", "both"] = "oldest"


class Mirror(KafkaEnd):
    """The telescope's messages on to another Kafka."""

    section: ClassVar[str] = "mirror"

    topics: str = ""
    prefix: str = ""
    trigger_seconds: Seconds = 5.0
    max_messages_per_trigger: Count = 5_000


class Raw2science(Section):
    """Parquet raw to Parquet science."""

    trigger_seconds: Seconds = 5.0
    max_files_per_trigger: Count = 100
    backlog_files_per_trigger: Count = 4
    modules: list[str] = ["gcvs", "nalerthist", "first_detection"]
    cuts: dict[str, str] | None = None
    repeats_horizon: str = "2 days"


class Distribution(Section):
    """Parquet science to users' topics."""

    trigger_seconds: Seconds = 5.0
    max_files_per_trigger: Count = 100
    filters: list[str] = ["bright", "new_transients", "rising", "known_variables", "solar_system"]


class Archive(Section):
    """Parquet science to HBase, and the nightly merge."""

    trigger_seconds: Seconds = 5.0
    max_files_per_trigger: Count = 100
    file_mb: Count = 128
    retention_days: Count = 14


class Simulator(Section):
    """The simulated night."""

    topic: str = "ztf-stream-sim"
    templates: Path = Path("datasim/templates.parquet")
    alerts: Count = 300
    burst: Count = 100
    cadence_seconds: Annotated[float, Field(ge=0)] = 2.0
    schema_version: str = "4.02"
    seed: int = 1


class OwnService(Section):
    """A service of one's own: ``start(context) -> StreamingQuery`` in one file."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
    file: Path
    description: str = ""


class ScienceModule(Section):
    """A science module: a function, what it gets and what it gives. With the name of a known one: what is to be different of it.

    Attributes
    ----------
    function : str
        ``package.module:function``, ``file.py:function``, or only the file where the function is called as the module is.
    columns : list of str, optional
        Columns (or SQL on the alert's columns) in the order of the function's arguments; default: the arguments' names.
    constants : dict
        Further arguments, by name.
    outputs : dict
        Column to Spark SQL type; default: what the function itself declares. A column whose name begins with ``_`` is for other
        modules only.
    pick : dict
        Column to the key of the map, or name of the field, that it is of what the function returns; ``*`` is all of it.
    on : bool
        Whether it runs.
    timeout_seconds : float, optional
        For one batch; default: that of ``[science]``.
    batch : int, optional
        Alerts that one call takes at most.
    isolate : bool
        Run it in a process of its own.
    remote : bool
        It asks a server in the network.
    away : str, optional
        What it returns for an alert while that server is away.
    keep_hours : float
        How long its answer for an object is kept, and the server not asked again.
    catalogues : dict
        Functions in its source that read a whole catalogue and return positions (degrees) and more, to the radius in arcsec within which
        it looks for matches: they are given the stars around the batch's alerts only.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)?$")]
    function: str = ""
    columns: list[str] | None = None
    constants: dict[str, Any] = {}
    outputs: dict[str, str] = {}
    pick: dict[str, str] = {}
    on: bool = True
    timeout_seconds: Seconds | None = None
    batch: Count | None = None
    isolate: bool = False
    remote: bool = False
    away: str | None = None
    keep_hours: Annotated[float, Field(ge=0)] = 0.0
    catalogues: dict[str, Seconds] = {}


class Science(Section):
    """Science modules, and how they run."""

    environment: Annotated[str, Field(pattern=r"^[a-z0-9_-]*$")] = ""
    offline: bool = False
    timeout_seconds: Seconds = 60.0
    worker_memory_mb: Count = 3_000
    modules: list[ScienceModule] = []


class Plugin(Section):
    """A filter of one's own: a function in a file, or one SQL expression."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    file: Path | None = None
    function: str | None = None
    sql: str | None = None


class Settings(Section):
    """The whole configuration.

    Attributes
    ----------
    home : Path
        The one folder that this broker writes to; relative paths are below the checkout.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True)

    home: Path = Path("var")
    survey: str = "ztf"
    kafka: Kafka = Kafka()
    hbase: HBase = HBase()
    registry: SchemaRegistry = SchemaRegistry()
    spark: Spark = Spark()
    wait: Wait = Wait()
    stream2raw: Stream2raw = Stream2raw()
    raw2science: Raw2science = Raw2science()
    distribution: Distribution = Distribution()
    archive: Archive = Archive()
    mirror: Mirror = Mirror()
    simulator: Simulator = Simulator()
    # In the file `[science]`; the name is that of the folder below.
    science_section: Science = Field(default=Science(), alias="science")
    services: list[OwnService] = []
    filters: list[Plugin] = []

    def below_checkout(self, path: Path) -> Path:
        """The path itself if absolute, else below the checkout."""
        return path if path.is_absolute() else CHECKOUT / path

    @property
    def root(self) -> Path:
        """The absolute form of ``home``."""
        return self.below_checkout(self.home.expanduser())

    @property
    def raw(self) -> Path:
        """Folder of the raw alerts (root of the file sink)."""
        return self.root / "data" / "raw"

    @property
    def raw_backlog(self) -> Path:
        """Folder of the raw alerts of a backlog (root of a file sink of its own)."""
        return self.root / "data" / "raw_backlog"

    @property
    def raws(self) -> tuple[Path, Path]:
        """All folders with raw alerts; what is replayed comes to the last."""
        return self.raw_backlog, self.raw

    @property
    def backlog(self) -> Path:
        """Folder of the notes which offsets have been left to the backlog's query."""
        return self.root / "data" / "backlog"

    @property
    def gaps(self) -> Path:
        """Folder of the notes which of Kafka's offsets gave no message."""
        return self.root / "data" / "gaps"

    @property
    def replay(self) -> Path:
        """Folder of the rejected messages that are to go through again."""
        return self.root / "data" / "replay"

    @property
    def science(self) -> Path:
        """Folder of the science alerts (root of the file sink)."""
        return self.root / "data" / "science"

    @property
    def archive_folder(self) -> Path:
        """Folder of the nightly Parquet archive."""
        return self.root / "data" / "archive"

    def checkpoint(self, service: str) -> Path:
        """Checkpoint folder of a service."""
        return self.root / "checkpoints" / service

    def log(self, name: str) -> Path:
        """Log file of a service or server."""
        return self.root / "log" / f"{name}.log"

    @property
    def run(self) -> Path:
        """Folder of the pid files."""
        return self.root / "run"


def conf_path(argument: str | None = None) -> Path:
    """The configuration file in force: the argument, else ``FINK_CONF``, else ``conf/fink.conf`` of the checkout."""
    return Path(argument or os.environ.get("FINK_CONF") or DEFAULT_CONF)


def load(argument: str | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read and check the configuration.

    Parameters
    ----------
    argument : str, optional
        Path given with ``-c``.
    environ : mapping, optional
        Environment; default ``os.environ``.

    Raises
    ------
    ConfigError
        The file is missing or no TOML, a key is unknown, a value is of the wrong kind.
    """
    path = conf_path(argument)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}; give another with -c or FINK_CONF") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    set_by = from_environment(os.environ if environ is None else environ)
    _merge(values, set_by)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_first_line(path, set_by, error)) from error


def from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Keys set by ``FINK_*`` variables, nested as in the file.

    A value is read as TOML where it is TOML (numbers, lists, booleans), else as a bare string.
    """
    values: dict[str, Any] = {}
    for variable in variables(environ):
        path = _path(variable)
        _merge(values, _nest(path, _value(environ[variable], path)))
    return values


def variables(environ: Mapping[str, str]) -> list[str]:
    """The variables that set keys of the configuration."""
    return sorted(name for name in environ if name.startswith("FINK_") and name not in _RESERVED)


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for programs that need none of our passwords."""
    secret = {name for name in variables(environ) if SecretStr in _kinds(_path(name))}
    return {name: value for name, value in environ.items() if name not in secret}


def _path(variable: str) -> list[str]:
    return variable.removeprefix("FINK_").removeprefix("_").lower().split("__")


def _value(text: str, path: list[str]) -> Any:
    # Text is taken as it is, so that a password 12345 stays one.
    if any(kind in (str, Path, SecretStr) for kind in _kinds(path)):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _kinds(path: list[str]) -> tuple[Any, ...]:
    """The types that a key takes; none if it is not known."""
    kind: Any = Settings
    for part in path:
        fields = _fields(kind)
        if part not in fields:
            return ()
        kind = fields[part]
    return typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)


def _nest(path: list[str], value: Any) -> dict[str, Any]:
    head, *rest = path
    return {head: _nest(rest, value) if rest else value}


def _merge(into: dict[str, Any], new: dict[str, Any]) -> None:
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _first_line(path: Path, set_by: dict[str, Any], error: ValidationError) -> str:
    """The first fault in one line: where and which key, what is wrong, and for an unknown key the nearest known one."""
    fault = error.errors(include_url=False, include_input=False)[0]
    key = ".".join(str(part) for part in fault["loc"])
    if _holds(set_by, fault["loc"]):
        where = f"the environment variable FINK_{'__'.join(str(part) for part in fault['loc']).upper()}"
    else:
        where = str(path)
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if fault["type"] != "extra_forbidden":
        return f"{where}: {key}: {fault['msg'].removeprefix('Value error, ')}{more}"
    near = difflib.get_close_matches(str(fault["loc"][-1]), _known_keys(fault["loc"][:-1]), n=1, cutoff=0.5)
    hint = f", did you mean '{near[0]}'?" if near else "; fink config show lists the known keys"
    return f"{where}: unknown key '{key}'{hint}{more}"


def _holds(values: Any, path: tuple[int | str, ...]) -> bool:
    for part in path:
        if not isinstance(values, dict) or part not in values:
            return False
        values = values[part]
    # What is wrong with a whole section is not one variable's fault.
    return not isinstance(values, dict)


def _known_keys(where: tuple[int | str, ...]) -> list[str]:
    model: Any = Settings
    for part in where:
        model = typing.get_args(model)[0] if isinstance(part, int) else _fields(model)[part]
    return list(_fields(model))


def _fields(model: Any) -> dict[str, Any]:
    """The keys of a section as the file has them, with their types; none of what is no section."""
    return {field.alias or name: field.annotation for name, field in getattr(model, "model_fields", {}).items()}
