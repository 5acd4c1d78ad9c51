"""What is counted of a night of Rubin: Fink's ``rubin.statistics``."""

from fink_broker.surveys.statistics import Statistics

# Half a day and 37 s (TAI - UTC): a night of Rubin begins at 12:00 UTC.
_NIGHT = "floor({}midpointMjdTai - 0.5D - 37D / 86400D)"
_SAME_NIGHT = f"{_NIGHT.format('earlier.')} = {_NIGHT.format('diaSource.')}"

STATISTICS = Statistics(
    table="rubin.statistics",
    key="{}",
    counts={
        "f:alerts": "true",
        **{f"f:alerts_{band}": f"diaSource.band = '{band}'" for band in "ugrizy"},
        # Its first alert of the night, by its history: numbers of many millions that differ cannot be kept.
        "f:objects": f"diaSource.diaObjectId > 0 and not coalesce(exists(prvDiaSources, earlier -> {_SAME_NIGHT}), false)",
        "f:is_sso": "coalesce(diaSource.ssObjectId, 0) > 0",
        "f:is_first": "diaSource.diaObjectId > 0 and coalesce(array_size(prvDiaSources), 0) = 0",
    },
    # Fink's portal: a counterpart in SIMBAD or Gaia DR3; a name in TNS.
    found={"f:is_cataloged": ("simbad_otype", "gaiadr3_DR3Name"), "f:in_tns": ("tns_fullname",)},
    distinct={"f:visits": "diaSource.visit"},
    by={"band": "diaSource.band"},
)
