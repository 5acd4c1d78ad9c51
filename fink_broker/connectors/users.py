"""Users of a Kafka: who may log in, and what of it they may read. The Kafka itself is the only place where that is kept."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)
from pydantic import SecretStr

from fink_broker.connectors.kafka import ANSWER_S, admin
from fink_broker.connectors.security import Connection
from fink_broker.errors import ConfigError, ServerUnavailable, UsageError

log = logging.getLogger(__name__)

# A group of a user is called as they are, or begins so with a dot: no name of another begins like that.
_NOBODY, _LONGEST = "ANONYMOUS", 64
NAME = r"[A-Za-z0-9][A-Za-z0-9_-]*"
# Names of no topics: the right to read one says that a user belongs to an audience.
_MEMBER = "fink.audience."
_ITERATIONS = 8192
_LITERAL, _PREFIXED, _ANY = ResourcePatternType.LITERAL, ResourcePatternType.PREFIXED, ResourcePatternType.ANY
_REFUSALS = {
    KafkaError.SECURITY_DISABLED: "has no access rules: what users may read cannot be said there (fink start kafka --secure has them)",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "does not let us change users and rights: the broker's own user needs ALTER on the cluster",
}


class Users:
    """Users of one Kafka.

    Parameters
    ----------
    client : AdminClient
        One that may change users and rights.
    connection : Connection
        The Kafka, for messages.
    """

    def __init__(self, client: AdminClient, connection: Connection) -> None:
        self._client, self._connection = client, connection

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Say in one line why Kafka refuses.

        Raises
        ------
        ConfigError
            It never will do what is asked.
        ServerUnavailable
            It did not do it.
        """
        try:
            yield
        except KafkaException as error:
            fault = error.args[0]
            if fault.code() in _REFUSALS:
                raise ConfigError(f"Kafka at {self._connection} {_REFUSALS[fault.code()]}") from error
            raise ServerUnavailable(f"Kafka at {self._connection} did not do it: {fault.str()}") from error

    def members(self) -> dict[str, set[str]]:
        """Users to the audiences that they belong to."""
        found: dict[str, set[str]] = {}
        for name, resource in self._rights():
            if resource.startswith(_MEMBER):
                found.setdefault(name, set()).add(resource.removeprefix(_MEMBER))
        return found

    def readers(self) -> dict[str, set[str]]:
        """Users to the topics that they may read; one that ends in ``*`` stands for all that begin so."""
        found: dict[str, set[str]] = {}
        for name, resource in self._rights():
            if not resource.startswith(_MEMBER):
                found.setdefault(name, set()).add(resource)
        return found

    def _rights(self, name: str | None = None) -> Iterator[tuple[str, str]]:
        with self._asking():
            bindings = self._client.describe_acls(_filter(ResourceType.TOPIC, name), request_timeout=ANSWER_S).result()
        for one in bindings:
            if one.operation == AclOperation.READ and one.permission_type == AclPermissionType.ALLOW:
                yield one.principal.removeprefix("User:"), one.name + ("*" if one.resource_pattern_type == _PREFIXED else "")

    def add(self, name: str, password: SecretStr, audiences: Collection[str]) -> None:
        """Make a user who belongs to some audiences.

        Raises
        ------
        UsageError
            The name is none, or somebody's.
        """
        if not re.fullmatch(NAME, name) or len(name) > _LONGEST:
            raise UsageError(f"'{name[:_LONGEST]}' is no name for a user: at most {_LONGEST} letters, digits, _ and -")
        if name == _NOBODY:
            raise UsageError(f"{name} is what Kafka calls whoever does not log in: take another name")
        if self._logs_in(name):
            raise UsageError(f"there is a user '{name}' already: fink user remove {name}, or take another name")
        # Rights first: a Kafka that knows none must not get users who may read everything.
        members = [_right(ResourceType.TOPIC, name, f"{_MEMBER}{one}") for one in audiences]
        self._allow([*members, _right(ResourceType.GROUP, name, name), _right(ResourceType.GROUP, name, f"{name}.*")])
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, _ITERATIONS)
        wanted = UserScramCredentialUpsertion(name, info, password.get_secret_value().encode())
        with self._asking():
            self._client.alter_user_scram_credentials([wanted], request_timeout=ANSWER_S)[name].result()

    def _logs_in(self, name: str) -> bool:
        with self._asking():
            try:
                answers: Any = self._client.describe_user_scram_credentials([name], request_timeout=ANSWER_S)
                answers[name].result()
            except KafkaException as error:
                if error.args[0].code() == KafkaError.RESOURCE_NOT_FOUND:
                    return False
                raise
        return True

    def grant(self, topics: Mapping[str, Collection[str]]) -> None:
        """Let every member of an audience read its topics, and nobody else.

        Parameters
        ----------
        topics : mapping
            Audience to its topics; one that ends in ``*`` stands for all that begin so.
        """
        members, readers = self.members(), self.readers()
        wanted = {name: {topic for one in theirs for topic in topics.get(one, ())} for name, theirs in members.items()}
        missing = [(name, topic) for name, theirs in wanted.items() for topic in theirs - readers.get(name, set())]
        self._allow([_right(ResourceType.TOPIC, name, topic) for name, topic in missing])
        # What was theirs once, and is another audience's now.
        known = {topic for some in topics.values() for topic in some}
        self._forbid([(name, topic) for name, theirs in wanted.items() for topic in (readers.get(name, set()) & known) - theirs])

    def share(self, name: str, topics: Collection[str]) -> None:
        """Let one user read topics that are of no audience."""
        self._allow([_right(ResourceType.TOPIC, name, topic) for topic in topics])

    def remove(self, name: str) -> None:
        """Take a user's login and rights away.

        Raises
        ------
        UsageError
            There is no such user.
        """
        if name not in self.members():
            raise UsageError(f"there is no user '{name}'; fink user list shows them")
        with self._asking():
            # The login first: whoever has no rights left may still not come in again.
            gone = UserScramCredentialDeletion(name, ScramMechanism.SCRAM_SHA_512)
            try:
                self._client.alter_user_scram_credentials([gone], request_timeout=ANSWER_S)[name].result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.RESOURCE_NOT_FOUND:  # taken away already, by a removal that was cut off
                    raise
            everything = _filter(ResourceType.ANY, name)
            self._client.delete_acls([everything], request_timeout=ANSWER_S)[everything].result()

    def _allow(self, rights: list[AclBinding]) -> None:
        with self._asking():
            for answer in self._client.create_acls(rights, request_timeout=ANSWER_S).values() if rights else ():
                answer.result()

    def _forbid(self, rights: Collection[tuple[str, str]]) -> None:
        filters = [_filter(ResourceType.TOPIC, name, topic) for name, topic in rights]
        with self._asking():
            for answer in self._client.delete_acls(filters, request_timeout=ANSWER_S).values() if filters else ():
                answer.result()


def _right(kind: ResourceType, user: str, name: str) -> AclBinding:
    """The right to read, which is also that to see that it is there."""
    pattern = _PREFIXED if name.endswith("*") else _LITERAL
    return AclBinding(kind, name.removesuffix("*"), pattern, f"User:{user}", "*", AclOperation.READ, AclPermissionType.ALLOW)


def _filter(kind: ResourceType, user: str | None, topic: str | None = None) -> AclBindingFilter:
    pattern = _ANY if topic is None else _PREFIXED if topic.endswith("*") else _LITERAL
    principal = None if user is None else f"User:{user}"
    # What is None is not asked for, which the types of the library do not say.
    bind: Any = AclBindingFilter
    name = None if topic is None else topic.removesuffix("*")
    found: AclBindingFilter = bind(kind, name, pattern, principal, None, AclOperation.ANY, AclPermissionType.ANY)
    return found


def grant(connection: Connection, topics: Mapping[str, Sequence[str]]) -> None:
    """Users may read topics that are new; where there are no users or others look after them, that is no reason to stop."""
    try:
        Users(admin(connection), connection).grant(topics)
    except (ConfigError, ServerUnavailable) as error:
        log.info("users' rights stay as they are: %s", error)
