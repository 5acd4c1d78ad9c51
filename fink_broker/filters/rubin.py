"""The broker's own filters for Rubin."""

SQL = {
    # psfFlux is in nJy, the AB magnitude 31.4 - 2.5 log10(psfFlux): that of 16 is 1.445e6 nJy.
    "bright": "diaSource.psfFlux > 1.445e6",
    # 0 and null where there is no known object of the solar system.
    "solar_system": "diaSource.ssObjectId > 0",
    "first_detection": "coalesce(size(prvDiaSources), 0) = 0 and coalesce(diaSource.ssObjectId, 0) = 0",
}

FUNCTIONS = ()
