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
        # No module for Rubin says so yet.
        "f:is_cataloged": "false",
        "f:in_tns": "false",
    },
    distinct={"f:visits": "diaSource.visit"},
    by={"band": "diaSource.band"},
)
