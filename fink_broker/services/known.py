"""The writer schemas that a broker knows: those that its survey is defined with, and those that it has learned from alerts.

A file a learned schema, ``HOME/schemas/<survey>/0001.json``, in the order in which they came: the columns of raw depend on it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from fink_broker.config import Settings
from fink_broker.connectors import avro
from fink_broker.files import write_whole
from fink_broker.surveys import Survey
from fink_broker.transforms.framing import Codec, Form, Writer
from fink_broker.transforms.schemas import absorb, damaged, reader_schema

# More of them than any telescope has: a stream of ever new schemas must not make ever larger plans.
MOST = 64

log = logging.getLogger(__name__)


class Learned(BaseModel):
    """A schema learned from an alert.

    Parameters
    ----------
    prefix : bytes
        What every message that was written with it starts with.
    schema_text : str
        The schema, JSON.
    fast : bool
        Whether the JVM decodes it; else it only says which columns there are.
    """

    model_config = ConfigDict(frozen=True, ser_json_bytes="base64", val_json_bytes="base64")

    prefix: bytes
    schema_text: str
    fast: bool = True


class Known:
    """What is known of a survey's schemas.

    Parameters
    ----------
    survey : Survey
        Its wire form, and the schemas it is defined with.
    learned : sequence of Learned
        What has been learned, oldest first.
    form : str, optional
        Wire form, if it is not the survey's own.
    """

    def __init__(self, survey: Survey, learned: Sequence[Learned] = (), form: Form | None = None) -> None:
        self.survey = survey
        self.form: Form = form or survey.form
        self.learned = list(learned)

    @property
    def reader(self) -> dict[str, Any]:
        """The reader schema: every field of every schema."""
        files = sorted(self.survey.schemas.glob("*.avsc"))
        return reader_schema([json.loads(text) for text in [*map(avro.minified, files), *(one.schema_text for one in self.learned)]])

    @property
    def writers(self) -> tuple[Writer, ...]:
        """Those that the JVM decodes: the learned ones; before the first alert those that the survey is defined with.

        So the first alert of a night need not stop the query, and a plan does not carry versions that no telescope sends any more.
        """
        learned = tuple(Writer(one.schema_text, one.prefix) for one in self.learned if one.fast)
        if learned or self.form != "container":
            return learned
        texts = [avro.minified(file) for file in sorted(self.survey.schemas.glob("*.avsc"))]
        return tuple(Writer(text, avro.header(text)) for text in texts)

    def codec(self, max_bytes: int, *, slow: bool = False, refused: Mapping[bytes, str] | None = None) -> Codec:
        """Codec of a plan."""
        given = tuple((refused or {}).items())
        reader = json.dumps(self.reader)
        ask = max(len(given), len(self.learned)) < MOST
        return Codec(self.form, reader, self.writers, slow=slow, refused=given, ask=ask, max_bytes=max_bytes)

    def has(self, prefix: bytes) -> bool:
        """Whether messages that start so are decoded in the JVM."""
        return any(writer.prefix == prefix for writer in self.writers)

    def adds(self, schema: str, reserved: Sequence[str]) -> bool:
        """Whether a schema says more than the known ones.

        Raises
        ------
        TypeError
            It does not go with them.
        """
        reader = self.reader
        if absorb(reader, json.loads(schema), reserved) == reader_schema([reader]):
            return False
        if damaged(schema, [writer.schema for writer in self.writers]):
            raise TypeError("a damaged copy of a known schema")
        return True

    def plus(self, one: Learned) -> Known:
        """What is known with one more."""
        return Known(self.survey, [*self.learned, one], self.form)


def load(settings: Settings, survey: Survey) -> Known:
    """What this broker knows."""
    files = sorted(_folder(settings, survey).glob("[0-9]*.json"))
    return Known(survey, [Learned.model_validate_json(file.read_bytes()) for file in files], form(settings, survey))


def form(settings: Settings, survey: Survey) -> Form:
    """How alerts come over the wire: as the configuration says, else as the survey's do."""
    return settings.kafka.input.form or survey.form


def keep(settings: Settings, survey: Survey, one: Learned) -> None:
    """Remember a schema."""
    folder = _folder(settings, survey)
    number = 1 + max((int(file.stem) for file in folder.glob("[0-9]*.json")), default=0)
    file = folder / f"{number:04}.json"
    write_whole(file, one.model_dump_json())
    log.info("learned a schema of %s, %s: %s", survey.name, "decoded in the JVM" if one.fast else "slow", file)


def _folder(settings: Settings, survey: Survey) -> Path:
    return settings.root / "schemas" / survey.name
