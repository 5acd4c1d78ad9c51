"""What can be asked of the REST API, with the names of parameters that Fink's public API has."""

from typing import Annotated, Literal

from astropy.coordinates import Angle
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from fink_broker.query.pictures import Stretch

Form = Literal["json", "csv", "parquet", "votable"]

MOST = 10_000


def _degrees(unit: str) -> BeforeValidator:
    """Degrees as a number, or a text in parts, the first of which is in a unit."""

    def read(value: object) -> object:
        try:
            return float(str(value))
        except ValueError:
            # What is no angle either is a ValueError, by which pydantic says so.
            return float(Angle(str(value), unit=unit).degree)

    return BeforeValidator(read)


class Ask(BaseModel):
    """What every question has."""

    model_config = ConfigDict(populate_by_name=True)

    columns: str = Field(default="", description="names of columns, with their families (i:jd), divided by commas; all without")
    output_format: Form = Field(default="json", alias="output-format")

    @property
    def names(self) -> list[str] | None:
        """The columns; None for all."""
        return [name.strip() for name in self.columns.split(",") if name.strip()] or None


class Objects(Ask):
    """The alerts of objects."""

    objectId: str = Field(description="one, or several divided by commas")
    withupperlim: bool = False

    @property
    def objects(self) -> list[str]:
        """Names."""
        return [name.strip() for name in self.objectId.split(",") if name.strip()]


class Cone(Ask):
    """Objects around a position."""

    ra: Annotated[float, _degrees("hourangle")] = Field(ge=0.0, le=360.0, description="degrees, or 12:34:56.7 in hours")
    dec: Annotated[float, _degrees("deg")] = Field(ge=-90.0, le=90.0, description="degrees, or +12:34:56.7")
    radius: float = Field(gt=0.0, le=18_000.0, description="arcsec")
    n: int = Field(default=1_000, ge=1, le=MOST)


class Latests(Ask):
    """The newest alerts of a class."""

    class_: str = Field(alias="class")
    n: int = Field(default=10, ge=1, le=MOST)
    startdate: str = ""
    stopdate: str = ""


class Sso(Ask):
    """Alerts of a solar-system object."""

    n_or_d: str = Field(description="number or designation")


class Tracklet(Ask):
    """Alerts of a track in one exposure."""

    id: str


class Resolver(Ask):
    """Names in other catalogues."""

    name: str


class Statistics(Ask):
    """Counts of nights."""

    date: str = Field(default="", description="YYYYMMDD, or its beginning")


class Cutouts(BaseModel):
    """A cutout of an object."""

    model_config = ConfigDict(populate_by_name=True)

    objectId: str
    kind: str = "Science"
    candid: int | None = None
    output_format: Literal["array", "FITS", "PNG"] = Field(default="PNG", alias="output-format")
    stretch: Stretch | None = Field(default=None, description="how brightness becomes grey, in a PNG")
