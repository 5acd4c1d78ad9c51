"""How the broker logs in to GCN's Kafka."""

from __future__ import annotations

import pytest
from confluent_kafka import Consumer
from pydantic import SecretStr, ValidationError

from fink_broker.config import Settings
from fink_broker.config.positions import Notices
from fink_broker.connectors import gcn
from fink_broker.connectors.security import Connection, connection


def test_a_client_of_gcn_logs_in_by_oauth_and_its_secret_is_masked():
    notices = Notices(
        servers="gcn:9092", security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER", username="me", password=SecretStr("s3cret")
    )
    found = connection(Settings(), notices, notices.servers)
    more = gcn.login(found, notices.token_url)
    # librdkafka knows all of it, and tries nothing before it is asked.
    Consumer({**found.client, "group.id": "x", "log_level": 0, **more}).close()
    assert (more["sasl.oauthbearer.client.id"], more["sasl.oauthbearer.client.secret"]) == ("me", "s3cret")
    assert "s3cret" not in f"{notices!r} {found!r}"
    assert gcn.login(Connection("elsewhere:9092"), notices.token_url) == {}


def test_an_id_without_its_secret_is_said():
    with pytest.raises(ValidationError, match="FINK_NOTICES__PASSWORD"):
        Notices(servers="gcn:9092", security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER", username="me")
