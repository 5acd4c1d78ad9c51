"""What is said to Spark and to confluent-kafka about a login, and what is never said."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr
from pyspark.sql import SparkSession

from fink_broker.config import Settings
from fink_broker.config.sections import KafkaInput
from fink_broker.connectors.security import REDACTED, Connection, connection
from fink_broker.errors import ConfigError
from fink_broker.infra import java

HOSTILE = 'a b"c\\d;e=f\'g$h,{ü€}\\\\"; evil="x\n\ttail'
KEY = "-----BEGIN PRIVATE KEY-----\nsecretkeyx==\n-----END PRIVATE KEY-----\n"
FULL = Connection("one:1,two:2", "SASL_SSL", "SCRAM-SHA-256", "me", SecretStr("hunter2"), "CA", "CERT", SecretStr(KEY), SecretStr("opener"))


def test_plaintext_says_nothing_of_logins():
    plain = replace(FULL, protocol="PLAINTEXT")
    assert plain.client == {"bootstrap.servers": "one:1,two:2", "security.protocol": "PLAINTEXT"}
    assert plain.spark == {"kafka.bootstrap.servers": "one:1,two:2", "kafka.security.protocol": "PLAINTEXT"}


def test_options_of_each_protocol():
    where = {"bootstrap.servers": "one:1,two:2"}
    login = {"sasl.mechanism": "SCRAM-SHA-256", "sasl.username": "me", "sasl.password": "hunter2"}
    tls = {"ssl.ca.pem": "CA", "ssl.certificate.pem": "CERT", "ssl.key.pem": KEY, "ssl.key.password": "opener"}
    assert FULL.client == where | login | tls | {"security.protocol": "SASL_SSL"}
    assert replace(FULL, protocol="SASL_PLAINTEXT").client == where | login | {"security.protocol": "SASL_PLAINTEXT"}
    assert replace(FULL, protocol="SSL").client == where | tls | {"security.protocol": "SSL"}
    scram = 'org.apache.kafka.common.security.scram.ScramLoginModule required username="me" password="hunter2";'
    assert FULL.spark == {
        "kafka.bootstrap.servers": "one:1,two:2",
        "kafka.security.protocol": "SASL_SSL",
        "kafka.sasl.mechanism": "SCRAM-SHA-256",
        "kafka.sasl.jaas.config": scram,
        "kafka.ssl.truststore.type": "PEM",
        "kafka.ssl.truststore.certificates": "CA",
        "kafka.ssl.keystore.type": "PEM",
        "kafka.ssl.keystore.certificate.chain": "CERT",
        "kafka.ssl.keystore.key": KEY,
        "kafka.ssl.key.password": "opener",
    }
    bare = replace(FULL, protocol="SSL", ca="", certificate="")
    assert bare.spark == {"kafka.bootstrap.servers": "one:1,two:2", "kafka.security.protocol": "SSL"}


def test_spark_hides_every_option_that_holds_a_secret():
    secrets = ("hunter2", "secretkeyx", "opener")
    for key, value in FULL.spark.items():
        assert bool(re.search(REDACTED, key)) == any(secret in value for secret in secrets), key


def test_spark_does_so(spark: SparkSession):
    options = spark._jvm.org.apache.spark.api.python.PythonUtils.toScalaMap(FULL.spark)
    shown = spark._jsparkSession.sessionState().conf().redactOptions(options).toString()
    assert "kafka.sasl.jaas.config -> *********(redacted)" in shown
    assert "kafka.sasl.mechanism -> SCRAM-SHA-256" in shown
    assert not any(secret in shown for secret in ("hunter2", "secretkeyx", "opener"))
    for key in ("spark.redaction.regex", "spark.sql.redaction.options.regex"):
        assert spark.sparkContext.getConf().get(key) == REDACTED


def test_its_text_holds_no_secret():
    for text in (str(FULL), repr(FULL), f"{[FULL]}"):
        assert not any(secret in text for secret in ("hunter2", "secretkeyx", "opener"))


def test_java_reads_a_hostile_password_as_it_is(tmp_path: Path):
    program = tmp_path / "Read.java"
    program.write_text(
        """
        import java.nio.charset.StandardCharsets;
        import java.util.Map;
        import org.apache.kafka.common.config.SaslConfigs;
        import org.apache.kafka.common.config.types.Password;
        import org.apache.kafka.common.security.JaasContext;
        public class Read { public static void main(String[] a) throws Exception {
            var text = new String(System.in.readAllBytes(), StandardCharsets.UTF_8);
            var entry = JaasContext.loadClientContext(Map.of(SaslConfigs.SASL_JAAS_CONFIG, new Password(text))).configurationEntries();
            for (var name : new String[] {"username", "password"})
                System.out.write(((String) entry.get(0).getOptions().get(name) + "\\0").getBytes(StandardCharsets.UTF_8));
            System.out.write(("" + entry.size() + entry.get(0).getOptions().size()).getBytes());
            System.out.flush();
        } }"""
    )
    login = replace(FULL, username='a "user"', password=SecretStr(HOSTILE)).spark["kafka.sasl.jaas.config"]
    command = [java.executable(), "-cp", str(java.jar_folder("kafka")), str(program)]
    done = subprocess.run(command, input=login.encode(), capture_output=True, check=True)
    assert done.stdout.decode() == f'a "user"\0{HOSTILE}\0' + "12"


@pytest.fixture
def end(tmp_path: Path) -> KafkaInput:
    texts = {"password": "from a file \n", "ca": "CA\n", "certificate": "CERT\n", "key": KEY, "key_password": "opener\n"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    files = {f"{key}_file": str(tmp_path / key) for key in texts}
    return KafkaInput.model_validate({"servers": "a:1", "security_protocol": "SASL_SSL", "username": "me", **files})


def test_secrets_come_from_files_or_the_environment(end: KafkaInput, tmp_path: Path):
    read = connection(Settings(home=tmp_path), end, "b:2")
    expected = (SecretStr("from a file "), "CA\n", "CERT\n", SecretStr(KEY), SecretStr("opener"))
    assert read == Connection("b:2", "SASL_SSL", "SCRAM-SHA-512", "me", *expected)
    given = end.model_copy(update={"password": SecretStr("given"), "key_password": SecretStr("too")})
    read = connection(Settings(home=tmp_path), given, "b:2")
    assert (read.password.get_secret_value(), read.key_password.get_secret_value()) == ("given", "too")


@pytest.mark.parametrize("key", ["password", "ca", "certificate", "key", "key_password"])
def test_a_file_that_is_not_there_or_empty_is_named(end: KafkaInput, tmp_path: Path, key: str):
    (tmp_path / key).write_text("\n")
    with pytest.raises(ConfigError, match=rf"^\[kafka.input\] {key}_file: .*/{key} is empty$"):
        connection(Settings(), end, "b:2")
    (tmp_path / key).unlink()
    with pytest.raises(ConfigError, match=rf"^\[kafka.input\] {key}_file: cannot read .*/{key}: No such file or directory$"):
        connection(Settings(), end, "b:2")
    # What is not used need not be there.
    assert connection(Settings(), end.model_copy(update={"security_protocol": "PLAINTEXT"}), "b:2").protocol == "PLAINTEXT"


# Made by openssl pkcs8 -topk8 of one key: what it does by default, and what Java reads.
PBES2 = """-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGrMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAg06OqJjzMe0AICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEFSYPvioTboEyG9J1o3LbL8EUFkw
ycfrbxhTyCBKGq7PEqXFsnJrwqhyB5z4//uaxb/GgKXdPgvIz7OtP45pnapvCqne
xaMYR8+/X3SCgXJy6WJWzzOyo8Noobzc6kkZ2Cxu
-----END ENCRYPTED PRIVATE KEY-----
"""
PBE = """-----BEGIN ENCRYPTED PRIVATE KEY-----
MGgwHAYKKoZIhvcNAQwBAzAOBAgdeHOYQ5+4gwICCAAESFQuNjQCSXmSvwAfBAej
0CYegGD8/tPyefyizz7CPbV2PuM3xpNjeDJHmC2HC6D3AqU+uVI81Fle9AcFZJo9
5M2iIKo0d8RVGw==
-----END ENCRYPTED PRIVATE KEY-----
"""


@pytest.mark.parametrize("key", ["-----BEGIN RSA PRIVATE KEY-----\nc2VjcmV0\n-----END RSA PRIVATE KEY-----\n", "secret", PBES2])
def test_a_key_that_java_does_not_read_is_an_error(end: KafkaInput, tmp_path: Path, key: str):
    (tmp_path / "key").write_text(key)
    with pytest.raises(ConfigError, match=r"Java does not read the form of .*/key; give PKCS#8 in PEM: openssl pkcs8 -topk8") as raised:
        connection(Settings(), end, "b:2")
    assert "secret" not in str(raised.value)


def test_a_key_that_java_reads_encrypted(end: KafkaInput, tmp_path: Path):
    (tmp_path / "key").write_text(PBE)
    assert connection(Settings(), end, "b:2").key.get_secret_value() == PBE
