"""The embedded Kafka with logins and TLS: its listeners, its certificates, its own user, who may do everything."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import textwrap
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion
from pydantic import SecretStr

from fink_broker import config
from fink_broker.config import Settings
from fink_broker.config.sections import KafkaEnd
from fink_broker.connectors import security
from fink_broker.connectors.security import Connection
from fink_broker.errors import ConfigError, FinkError, ServerUnavailable
from fink_broker.infra import java, ports

# The first is for those who say nothing else; fink-client logs in at the second; the third is for client certificates.
LISTENERS = ("SASL_SSL", "SASL_PLAINTEXT", "SSL")
_SCRAM = {"SCRAM-SHA-256": ScramMechanism.SCRAM_SHA_256, "SCRAM-SHA-512": ScramMechanism.SCRAM_SHA_512}
_ITERATIONS = 4096
_ANSWER_S = 20.0
_YEARS_10 = "3650"

CA, SERVER, CERTIFICATE, KEY, PASSWORD = "ca.pem", "server.pem", "client-certificate.pem", "client-key.pem", "password"


def folder(settings: Settings) -> Path:
    """Folder of the certificates, keys and the password."""
    return settings.root / "kafka" / "secure"


def prepare(settings: Settings) -> None:
    """Make certificates, keys and a password where there are none."""
    place = folder(settings)
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not all((place / name).exists() for name in (CA, SERVER, CERTIFICATE, KEY)):
        _make_certificates(place)
    if not _own_password(settings) and not (place / PASSWORD).exists():
        _write(place / PASSWORD, secrets.token_urlsafe(24) + "\n")


def server_properties(settings: Settings) -> dict[str, object]:
    """What server.properties says of TLS and logins; no secret is in it."""
    place = folder(settings)
    login = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    ours = [settings.kafka.embedded.username, *(f"CN={_certified(alias)}" for alias in ("server", "client"))]
    return {
        # Who has no right may do nothing; the broker and its certificates may do everything.
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": ";".join(f"User:{name}" for name in ours),
        "listener.security.protocol.map": ",".join([*(f"{name}:{name}" for name in LISTENERS), "CONTROLLER:SSL"]),
        "inter.broker.listener.name": "SSL",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": place / SERVER,
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": place / CA,
        # The controller lets anyone change passwords who can connect to it.
        **{f"listener.name.{name}.ssl.client.auth": "required" for name in ("ssl", "controller")},
        "sasl.enabled.mechanisms": ",".join(_SCRAM),
        **{
            f"listener.name.{name}.{mechanism.lower()}.sasl.jaas.config": login
            for name in ("sasl_ssl", "sasl_plaintext")
            for mechanism in _SCRAM
        },
    }


def connection(settings: Settings, end: KafkaEnd, addresses: Mapping[str, str]) -> Connection:
    """How an end of the configuration reaches the secured Kafka; what it does not say is taken from the Kafka's own files.

    Parameters
    ----------
    end : KafkaEnd
        Its ``security_protocol`` chooses the listener; ``PLAINTEXT``, which is the default and not served, means ``SASL_SSL``.
    addresses : mapping
        Listener to ``host:port``.
    """
    place = folder(settings)
    protocol = end.security_protocol if end.security_protocol in addresses else LISTENERS[0]
    more: dict[str, object] = {"security_protocol": protocol, "ca_file": end.ca_file or place / CA}
    if not end.username and protocol != "SSL":
        more |= {"username": settings.kafka.embedded.username, "password": password(settings)}
    if end.certificate_file is None and protocol == "SSL":
        more |= {"certificate_file": place / CERTIFICATE, "key_file": place / KEY}
    return security.connection(settings, end.model_copy(update=more), addresses[protocol])


def password(settings: Settings) -> SecretStr:
    """Password of the one user: the configured one, else that made at the first start.

    Raises
    ------
    ConfigError
        Its file cannot be read.
    """
    return SecretStr(_own_password(settings) or _text(folder(settings) / PASSWORD))


def _own_password(settings: Settings) -> str:
    embedded = settings.kafka.embedded
    path = embedded.password_file
    return embedded.password.get_secret_value() or ("" if path is None else _text(settings.below_checkout(path.expanduser())))


def _text(path: Path) -> str:
    return security.read(path, "[kafka.embedded] password_file").rstrip("\r\n")


def add_user(settings: Settings, client: Connection) -> None:
    """Make the user, or set their password anew.

    Parameters
    ----------
    client : Connection
        One that a certificate lets in.

    Raises
    ------
    ServerUnavailable
        Kafka did not take it.
    """
    name, secret = settings.kafka.embedded.username, password(settings).get_secret_value().encode()
    admin = AdminClient({**client.client, "log_level": 0})
    # One by one: Kafka takes a user only once in a request.
    for mechanism in _SCRAM.values():
        wanted = UserScramCredentialUpsertion(name, ScramCredentialInfo(mechanism, _ITERATIONS), secret)
        try:
            admin.alter_user_scram_credentials([wanted], request_timeout=_ANSWER_S)[name].result(_ANSWER_S)
        except KafkaException as error:
            raise ServerUnavailable(f"Kafka did not take the user {name}: {error.args[0].str()}") from error


def how_to_connect(settings: Settings) -> str:
    """Lines for the one who has started it: names and paths, no secret."""
    place, embedded = folder(settings), settings.kafka.embedded
    given = embedded.password.get_secret_value()
    where = "as configured" if given else f"in {embedded.password_file or place / PASSWORD}"
    return (
        f"  user {embedded.username}, password {where}; SCRAM-SHA-256 or SCRAM-SHA-512\n"
        f"  CA {place / CA}\n"
        f"  client certificate {place / CERTIFICATE}, key {place / KEY} (for SSL)"
    )


def _make_certificates(place: Path) -> None:
    """Certificates of a server and a client, signed by an authority whose key nobody keeps."""
    secret = secrets.token_hex(16)
    with TemporaryDirectory(dir=place) as scratch:
        store = Path(scratch) / "store.p12"
        ca = ["-ext", "bc:c=ca:true", "-ext", "ku:c=keyCertSign"]
        names = ["-ext", f"san=ip:{ports.HOST},dns:localhost", "-signer", "ca"]
        for alias, options in (("ca", ca), ("server", names), ("client", ["-signer", "ca"])):
            key = ["-keyalg", "EC", "-groupname", "secp256r1", "-validity", _YEARS_10, "-dname", f"CN={_certified(alias)}"]
            _keytool(store, secret, "-genkeypair", "-alias", alias, *key, *options)
        certificates = {alias: _keytool(store, secret, "-exportcert", "-rfc", "-alias", alias) for alias in ("ca", "server", "client")}
        keys = _private_keys(store, secret, ("server", "client"))
    _write(place / CA, certificates["ca"])
    _write(place / SERVER, keys["server"] + certificates["server"])
    _write(place / CERTIFICATE, certificates["client"])
    _write(place / KEY, keys["client"])


def _certified(alias: str) -> str:
    return f"Fink {alias}"


def _keytool(store: Path, secret: str, *arguments: str) -> str:
    keytool = shutil.which("keytool", path=str(Path(java.executable()).resolve().parent))
    if keytool is None:
        raise ConfigError(f"no keytool beside {java.executable()}: install a JDK 17")
    command = [keytool, *arguments, "-storetype", "PKCS12", "-keystore", str(store), "-storepass:env", "STORE_PASSWORD"]
    environment = config.without_secrets(os.environ) | {"STORE_PASSWORD": secret}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise FinkError(f"keytool cannot make the certificates of Kafka: {' '.join((done.stdout or done.stderr).split())[:200]}")
    return done.stdout


def _private_keys(store: Path, secret: str, aliases: Sequence[str]) -> dict[str, str]:
    """Private keys as PEM (PKCS#8), which keytool does not give out: Java is asked by the gateway that PySpark comes with."""
    from py4j.java_gateway import JavaGateway  # type: ignore[import-untyped]

    gateway = JavaGateway.launch_gateway(java_path=java.executable(), enable_auth=True, die_on_exit=True)
    try:
        jvm = gateway.jvm
        letters = gateway.new_array(jvm.char, len(secret))
        for position, letter in enumerate(secret):
            letters[position] = letter
        opened = jvm.java.security.KeyStore.getInstance(jvm.java.io.File(str(store)), letters)
        form = jvm.java.lang.Class.forName("java.security.spec.PKCS8EncodedKeySpec")
        factory = jvm.java.security.KeyFactory.getInstance("EC")
        return {alias: _pem(factory.getKeySpec(opened.getKey(alias, letters), form).getEncoded()) for alias in aliases}
    finally:
        gateway.shutdown()
        # Java ends when its input does.
        gateway.java_process.stdin.close()
        gateway.java_process.wait()


def _pem(key: bytes) -> str:
    body = "\n".join(textwrap.wrap(b64encode(key).decode(), 64))
    return f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"


def _write(path: Path, text: str) -> None:
    """Write a file that only its owner can read, from its first moment on."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
