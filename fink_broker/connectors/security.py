"""How to reach and log in to a Kafka: one description, said to Spark (Java's client) and to confluent-kafka (librdkafka)."""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from fink_broker.config import Settings
from fink_broker.config.sections import KafkaEnd
from fink_broker.errors import ConfigError

_NOTHING = SecretStr("")

# Options whose values Spark must not show; the rest of the pattern is Spark's own.
REDACTED = r"(?i)secret|password|token|access[.]?key|url|jaas|ssl[.]keystore[.]key"


# The name of that way as it stands in a key: object identifier 1.2.840.113549.1.5.13 (RFC 8018).
_PBES2 = bytes.fromhex("06092a864886f70d01050d")


@dataclass(frozen=True)
class Connection:
    """A Kafka and how to log in to it; secrets are masked in its text.

    Certificates and keys are held as text: executors on other machines need no files.

    Parameters
    ----------
    servers : str
        Bootstrap servers, ``host:port,host:port``.
    protocol : str
        ``PLAINTEXT``, ``SSL``, ``SASL_PLAINTEXT`` or ``SASL_SSL``.
    mechanism : str
        ``SCRAM-SHA-256`` or ``SCRAM-SHA-512``, with SASL.
    username, password : str, SecretStr
        With SASL.
    ca : str
        PEM of the authorities that sign the server's certificate; empty for those that the system knows.
    certificate, key : str, SecretStr
        PEM of the client's certificate and of its private key (PKCS#8); empty for none.
    key_password : SecretStr
        Of an encrypted key.
    """

    servers: str
    protocol: str = "PLAINTEXT"
    mechanism: str = "SCRAM-SHA-512"
    username: str = ""
    password: SecretStr = _NOTHING
    ca: str = ""
    certificate: str = ""
    key: SecretStr = _NOTHING
    key_password: SecretStr = _NOTHING

    def __str__(self) -> str:
        return self.servers

    @property
    def spark(self) -> dict[str, str]:
        """Options of Spark's Kafka source and sink."""
        options = {"bootstrap.servers": self.servers, "security.protocol": self.protocol}
        if self.protocol.startswith("SASL"):
            login = f"username={_quoted(self.username)} password={_quoted(self.password.get_secret_value())}"
            options["sasl.mechanism"] = self.mechanism
            options["sasl.jaas.config"] = f"org.apache.kafka.common.security.scram.ScramLoginModule required {login};"
        if self.protocol.endswith("SSL"):
            if self.ca:
                options |= {"ssl.truststore.type": "PEM", "ssl.truststore.certificates": self.ca}
            if self.certificate:
                options |= {
                    "ssl.keystore.type": "PEM",
                    "ssl.keystore.certificate.chain": self.certificate,
                    "ssl.keystore.key": self.key.get_secret_value(),
                    "ssl.key.password": self.key_password.get_secret_value(),
                }
        return {f"kafka.{name}": value for name, value in options.items() if value}

    @property
    def client(self) -> dict[str, str]:
        """Configuration of a confluent-kafka client."""
        options = {"bootstrap.servers": self.servers, "security.protocol": self.protocol}
        if self.protocol.startswith("SASL"):
            options |= {
                "sasl.mechanism": self.mechanism,
                "sasl.username": self.username,
                "sasl.password": self.password.get_secret_value(),
            }
        if self.protocol.endswith("SSL"):
            options |= {
                "ssl.ca.pem": self.ca,
                "ssl.certificate.pem": self.certificate,
                "ssl.key.pem": self.key.get_secret_value(),
                "ssl.key.password": self.key_password.get_secret_value(),
            }
        return {name: value for name, value in options.items() if value}


def _quoted(text: str) -> str:
    """Text as Java's login configuration reads it back: its tokenizer knows these escapes, and ends at a line's end."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


def connection(settings: Settings, end: KafkaEnd, servers: str) -> Connection:
    """What an end of the configuration says, with the secrets read from its files.

    Parameters
    ----------
    settings : Settings
        Relative paths are below its checkout.
    end : KafkaEnd
        Protocol, names, files.
    servers : str
        Bootstrap servers.

    Raises
    ------
    ConfigError
        A file cannot be read, or is not what it should be.
    """

    def text(key: str) -> str:
        path: Path | None = getattr(end, key)
        return "" if path is None else read(settings.below_checkout(path.expanduser()), f"[{end.section}] {key}")

    sasl, tls = end.security_protocol.startswith("SASL"), end.security_protocol.endswith("SSL")
    private = text("key_file") if tls else ""
    if private and not _java_reads(private):
        raise ConfigError(
            f"[{end.section}] key_file: Java does not read the form of {end.key_file}; give PKCS#8 in PEM: "
            "openssl pkcs8 -topk8, with -nocrypt or -v1 PBE-SHA1-3DES"
        )
    return Connection(
        servers,
        end.security_protocol,
        end.sasl_mechanism,
        end.username,
        SecretStr((end.password.get_secret_value() or text("password_file").rstrip("\r\n")) if sasl else ""),
        text("ca_file") if tls else "",
        text("certificate_file") if tls else "",
        SecretStr(private),
        SecretStr((end.key_password.get_secret_value() or text("key_password_file").rstrip("\r\n")) if tls else ""),
    )


def _java_reads(key: str) -> bool:
    """Whether a key is in a form that Kafka's Java client reads: PKCS#8, and not encrypted in openssl's newer way (PBES2)."""
    found = re.search(r"-----BEGIN (ENCRYPTED )?PRIVATE KEY-----(.*?)-----END", key, re.DOTALL)
    try:
        return found is not None and not (found[1] and _PBES2 in b64decode(found[2]))
    except ValueError:
        return False


def read(path: Path, key: str) -> str:
    """Text of a file that the configuration names.

    Raises
    ------
    ConfigError
        It cannot be read, or is empty; the message names the key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigError(f"{key}: cannot read {path}: {why}") from error
    if not text.strip():
        raise ConfigError(f"{key}: {path} is empty")
    return text
