"""What can be asked of the REST API, with the names of parameters that Fink's public API has.

What its API answers and this one does not is refused, not ignored: an answer without it would look like one with it.
"""

import contextlib
from typing import Annotated, Any, Literal, TypeVar

from astropy.coordinates import Angle
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, create_model, field_validator

from fink_broker.surveys.lookups import Api

Form = Literal["json", "csv", "parquet", "votable"]
Kind = Literal["Science", "Template", "Difference", "All"]

MOST = 10_000
MOST_NAMES = 1_000
MOST_CUTOUTS = 50
_LONGEST = 200  # characters of a name


def _degrees(unit: str) -> BeforeValidator:
    """Degrees as a number, or a text in parts, the first of which is in a unit."""

    def read(value: object) -> object:
        with contextlib.suppress(ValueError):
            return float(str(value))
        try:
            return float(Angle(str(value).strip(), unit=unit).degree)
        # astropy has several errors for what is no angle.
        except Exception as error:
            raise ValueError(f"'{str(value)[:40]}' is no angle: give degrees, 12h34m56.7s or 12:34:56.7") from error

    return BeforeValidator(read)


class Asked(BaseModel):
    """Of whatever is asked, texts are texts."""

    @field_validator("*", mode="before")
    @classmethod
    def _is_text(cls, value: object) -> object:
        # JSON can say half a character, which is an error of Unicode wherever it is used; that error is a ValueError.
        if isinstance(value, str):
            value.encode()
        return value


class Ask(Asked):
    """What every question has."""

    model_config = ConfigDict(populate_by_name=True, coerce_numbers_to_str=True)

    columns: str = Field(default="", description="names of columns, with their families (i:jd), divided by commas; all without")
    output_format: Form = Field(default="json", alias="output-format")
    skip: int = Field(default=0, ge=0, le=10_000_000, description=f"rows before those of the answer, which has {MOST} at most")

    @property
    def names(self) -> list[str] | None:
        """The columns; None for all."""
        return _parts(self.columns.replace("*", "")) or None


def _parts(text: str) -> list[str]:
    """Divided by commas, each once."""
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _names(text: str) -> str:
    """Names divided by commas, as many and as long as can be asked for."""
    if not 1 <= len(_parts(text)) <= MOST_NAMES:
        raise ValueError(f"give 1 to {MOST_NAMES} names, divided by commas")
    return _name(max(_parts(text), key=len)) and text


def _name(text: str) -> str:
    if len(text) > _LONGEST:
        raise ValueError(f"a name has {_LONGEST} characters at most")
    return text


Names = Annotated[str, AfterValidator(_names)]
Name = Annotated[str, AfterValidator(_name)]


class Objects(Ask):
    """The alerts of objects."""

    objectId: Names = Field(description="one, or several divided by commas")
    withupperlim: bool = Field(default=False, description="with upper limits and measurements of bad quality, told by d:tag")
    withcutouts: bool = Field(default=False, description=f"with the pixels of cutouts, of {MOST_CUTOUTS} alerts at most")
    cutout_kind: Kind = Field(default="All", alias="cutout-kind")

    @property
    def objects(self) -> list[str]:
        """Names."""
        return _parts(self.objectId)


class Cone(Ask):
    """Objects around a position."""

    ra: Annotated[float, _degrees("hourangle")] = Field(ge=0.0, le=360.0, description="degrees, or 12:34:56.7 in hours")
    dec: Annotated[float, _degrees("deg")] = Field(ge=-90.0, le=90.0, description="degrees, or +12:34:56.7")
    radius: float = Field(gt=0.0, le=18_000.0, description="arcsec")
    n: int = Field(default=1_000, ge=1, le=MOST)
    startdate: str = Field(default="", description="first seen from then on (ISO, MJD or JD, UTC)")
    stopdate: str = Field(default="", description="first seen until then")
    window: float | None = Field(default=None, gt=0.0, le=100_000.0, description="days after startdate, in place of stopdate")


class Latests(Ask):
    """The newest alerts of a class."""

    class_: Name = Field(alias="class", description="as /classes names them, also (SIMBAD) Star or (TNS) SN Ia")
    n: int = Field(default=10, ge=1, le=MOST)
    startdate: str = ""
    stopdate: str = ""
    color: bool = Field(default=False, description="with rates and colours (v:rate, v:g-r)")
    trend: str = ""

    @field_validator("trend")
    @classmethod
    def _no_trend(cls, value: str) -> str:
        return _refused(value, "trends are not worked out here: ask for d:mag_rate and choose")


class Tags(Ask):
    """The newest alerts that a filter has chosen."""

    tag: Name = Field(default="", description="a filter; without, all of them are named")
    n: int = Field(default=10, ge=1, le=MOST)
    startdate: str = ""
    stopdate: str = ""


class Sso(Ask):
    """Alerts of solar-system objects."""

    n_or_d: Names = Field(description="number, designation or name; several divided by commas")
    withEphem: bool = False
    withResiduals: bool = False
    withcutouts: bool = False

    @field_validator("withEphem", "withResiduals", "withcutouts")
    @classmethod
    def _no_ephemerides(cls, value: bool) -> bool:
        return _refused(value, "ephemerides, residuals and cutouts do not come with bodies here: ask IMCCE's Miriade, or /cutouts")

    @property
    def objects(self) -> list[str]:
        """Names."""
        return _parts(self.n_or_d)


class Tracklet(Ask):
    """Alerts of tracks in one exposure."""

    id: Name = Field(default="", description="TRCK_20211022_091949_00, or its beginning")
    date: str = Field(default="", description="2021-10-22 09:19:49, or its beginning")


class Resolver(Ask):
    """Names in other catalogues."""

    name: Name
    resolver: Literal["", "tns", "simbad", "ssodnet"] = Field(default="", description="without, the first that knows the name")
    reverse: bool = Field(default=False, description="the name is the survey's")
    nmax: int = Field(default=10, ge=1, le=MOST)


class Anomaly(Ask):
    """The strangest alerts."""

    n: int = Field(default=10, ge=1, le=1_000)
    start_date: str = ""
    stop_date: str = Field(default="", description="the whole of that day")


class Statistics(Ask):
    """Counts of nights."""

    date: str = Field(default="", description="YYYYMMDD, or its beginning")
    schema_: bool = Field(default=False, alias="schema", description="the names of the columns only")


class Skymap(Ask):
    """Objects in the sky map of a gravitational wave."""

    file: str = Field(default="", description="the map in base64, or as Python writes bytes: str(open('bayestar.fits.gz', 'rb').read())")
    event_name: str = Field(default="", description="of a notice that this broker has received")
    credible_level: float = Field(default=0.9, gt=0.0, le=1.0)
    n_day_before: float = Field(default=1.0, ge=0.0, le=7.0)
    n_day_after: float = Field(default=6.0, ge=0.0, le=14.0)


class Cutouts(Asked):
    """A cutout of an object."""

    model_config = ConfigDict(populate_by_name=True, coerce_numbers_to_str=True)

    objectId: Name
    kind: str = Field(default="Science", pattern="(?i)^(cutout)?(science|template|difference|all)$")
    candid: int | None = Field(default=None, description="of which alert; the last without")
    output_format: Literal["array", "FITS", "PNG"] = Field(default="PNG", alias="output-format")
    stretch: Literal["", "sigmoid", "linear", "sqrt", "power", "log", "asinh"] = Field(default="", description="without, as DS9's zscale")
    pmin: float = Field(default=0.5, ge=0.0, le=100.0)
    pmax: float = Field(default=99.5, ge=0.0, le=100.0)
    convolution_kernel: Literal["", "gauss", "box"] = ""
    colormap: str = ""

    @field_validator("colormap")
    @classmethod
    def _no_colours(cls, value: str) -> str:
        return _refused(value, "pictures are grey: ask for output-format=array and colour it")


class Annotation(Asked):
    """What is said of an alert."""

    model_config = ConfigDict(populate_by_name=True, coerce_numbers_to_str=True, extra="forbid")

    objectId: Name
    kind: str = Field(max_length=60, description="classification, comment, redshift ...")
    value: str = Field(min_length=1, max_length=10_000)
    who: str = Field(min_length=1, max_length=200)
    source: str = Field(default="", max_length=1_000)
    candid: int | None = None


class Switch(BaseModel):
    """A filter, and whether it is to run."""

    model_config = ConfigDict(extra="forbid")

    on: bool


M = TypeVar("M", bound=BaseModel)
V = TypeVar("V")


def named(model: type[M], api: Api) -> type[M]:
    """The model with the names that a survey's API has for its objects, alerts and names."""
    fields: dict[str, Any] = {}
    for name, alias in (("objectId", api.object), ("candid", api.alert), ("name", api.name)):
        known = model.model_fields.get(name)
        if known is not None and alias != name:
            default = ... if known.is_required() else known.default
            fields[name] = (known.annotation, Field(default, alias=alias, description=known.description))
    return create_model(f"{model.__name__}_{api.object}", __base__=model, **fields) if fields else model


def _refused(value: V, why: str) -> V:
    if value:
        raise ValueError(why)
    return value
