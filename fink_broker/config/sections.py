"""The sections of the configuration: every key with its type and default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

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
    retention_hours: Count = 168
    user_servers: str = ""


class KafkaServer(Section):
    """The embedded Kafka (``fink start kafka``)."""

    port: Port = 9092
    heap: str = "512m"
    secure: bool = False
    # Kafka's list of those who may do everything is divided by semicolons.
    username: Annotated[str, Field(pattern=r"^[^;]+$")] = "fink"
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
    """The HBase tables and the embedded server.

    Attributes
    ----------
    regions : int
        Into how many a new table is divided.
    compression : str
        Of a new table's files.
    site : Path, optional
        Folder of the hbase-site.xml of a cluster.
    """

    thrift: str = "local"
    port: Port = 9090
    heap: str = "1g"
    table_prefix: str = ""
    batch_cells: Count = 20_000
    regions: Count = 1
    compression: Literal["none", "gz", "snappy", "lz4", "zstd"] = "gz"
    site: Path | None = None


class SchemaRegistry(Section):
    """The embedded schema registry (``fink start registry``)."""

    port: Port = 8081
    heap: str = "256m"


class Dashboard(Section):
    """The dashboard (``fink start dashboard``): pages, REST API, metrics.

    Attributes
    ----------
    token : SecretStr
        By which may be written; without, nothing may.
    rate_per_second, rate_at_once : float, int
        How many questions an address may ask, in the long run and after a rest.
    max_body_mb : int
        How much may be sent with a question.
    """

    host: str = "127.0.0.1"
    port: Port = 5000
    token: SecretStr = SecretStr("")
    token_file: Path | None = None
    rate_per_second: Annotated[float, Field(ge=0)] = 200.0
    rate_at_once: Count = 400
    max_body_mb: Count = 32


class Spark(Section):
    """The Spark application of the services."""

    master: str = "local[4,4]"
    driver_memory: str = "2g"
    shuffle_partitions: Count = 2
    java_options: str = (
        "-XX:+UseSerialGC -XX:Tier4InvocationThreshold=50000 -XX:Tier4MinInvocationThreshold=6000 "
        "-XX:Tier4CompileThreshold=150000 -XX:Tier4BackEdgeThreshold=400000 -XX:-DontCompileHugeMethods -XX:-UseOnStackReplacement"
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


FilterName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=100)]


class Distribution(Section):
    """Parquet science to users' topics.

    Attributes
    ----------
    filters : list of str
        Filters in use beside those of the folder: the broker's own, those of `[[filters]]`, and ``fink.NAME`` of the package fink-filters.
    folder : Path
        Everything in it is in use; relative paths are below HOME.
    timeout_seconds : float
        For one filter and batch.
    failures : int
        After so many batches in turn for which a filter had no answer at all it is switched off.
    """

    trigger_seconds: Seconds = 5.0
    max_files_per_trigger: Count = 100
    filters: list[str] = ["bright", "new_transients", "rising", "known_variables", "solar_system"]
    folder: Path = Path("filters")
    timeout_seconds: Seconds = 10.0
    failures: Count = 5
    public: str | None = None
    retry_seconds: Seconds = 60.0


class Audience(Section):
    """Users who may see other alerts than the public, on topics of their own.

    Attributes
    ----------
    name : str
        Part of the topics' names: ``fink_<filter>_<name>_<survey>``.
    rule : str
        SQL condition on the alerts that they may see; empty for all.
    filters : list of str
        Their filters; those of the public without.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*$")]
    rule: str = ""
    filters: list[str] = []


class Archive(Section):
    """Parquet science to HBase, and the nightly merge.

    Attributes
    ----------
    tables : list of str
        The tables that are written; all without.
    """

    trigger_seconds: Seconds = 5.0
    max_files_per_trigger: Count = 100
    tables: list[str] = []
    file_mb: Count = 128
    retention_days: Count = 14


class Aggregation(Section):
    """Counts by night.

    Attributes
    ----------
    filters : bool
        Whether alerts are counted by filter too: each filter is evaluated for it once more.
    """

    trigger_seconds: Seconds = 30.0
    max_files_per_trigger: Count = 100
    filters: bool = True


class Simulator(Section):
    """The simulated night."""

    topic: str = "ztf-stream-sim"
    templates: Path = Path("datasim/templates.parquet")
    alerts: Count = 300
    burst: Count = 100
    cadence_seconds: Annotated[float, Field(ge=0)] = 2.0
    schema_version: str = "4.02"
    seed: int = 1
