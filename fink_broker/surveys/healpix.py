"""HEALPix pixels in Spark SQL, so that row keys need no Python."""


def ring(nside: int, ra: str, dec: str) -> str:
    """Expression of the pixel, ring scheme, that a position lies in.

    Parameters
    ----------
    nside : int
        Resolution: the sky has 12 nside² pixels.
    ra, dec : str
        Expressions of the position, degrees.

    Returns
    -------
    str
        Spark SQL of type long. The formulae are those of Górski et al. 2005 (ApJ 622, 759), section 5.1, turned round: `up` and
        `down` count the pixel borders that rise and fall to the position, in the belt around the equator or in a polar cap.
    """
    z = f"sin(radians({dec}))"
    turn = f"(pmod({ra}, 360D) / 90)"  # quarters of a turn, 0 to 4

    belt_down = f"floor({nside} * (0.5 + {turn} - 0.75 * {z}))"
    belt_up = f"floor({nside} * (0.5 + {turn} + 0.75 * {z}))"
    ring_in_belt = f"({nside + 1} + {belt_down} - {belt_up})"
    shift = f"pmod({ring_in_belt} + 1, 2)"
    along_belt = f"pmod(floor(({belt_down} + {belt_up} + 1 - {nside} + {shift}) / 2), {4 * nside})"
    belt = f"{2 * nside * (nside - 1)} + ({ring_in_belt} - 1) * {4 * nside} + {along_belt}"

    within = f"({turn} - floor({turn}))"
    reach = f"({nside} * sqrt(3 * (1 - abs({z}))))"
    ring_in_cap = f"(floor({within} * {reach}) + floor((1 - {within}) * {reach}) + 1)"
    along_cap = f"pmod(floor({turn} * {ring_in_cap}), 4 * {ring_in_cap})"
    north = f"2 * {ring_in_cap} * ({ring_in_cap} - 1) + {along_cap}"
    south = f"{12 * nside * nside} - 2 * {ring_in_cap} * ({ring_in_cap} + 1) + {along_cap}"

    return f"case when abs({z}) <= 2D / 3 then {belt} when {z} > 0 then {north} else {south} end"


def nested(nside: int, ra: str, dec: str) -> str:
    """Expression of the pixel, nested scheme, that a position lies in: pixels with near numbers lie near each other.

    Parameters
    ----------
    nside : int
        Resolution, a power of 2.
    ra, dec : str
        Expressions of the position, degrees.

    Returns
    -------
    str
        Spark SQL of type long. Górski et al. 2005 (ApJ 622, 759), section 5.2: one of 12 faces, and in it two coordinates whose binary
        digits alternate.
    """
    z = f"sin(radians({dec}))"
    turn = f"(pmod({ra}, 360D) / 90)"  # quarters of a turn, 0 to 4

    down = f"cast(floor({nside} * (0.5 + {turn} - 0.75 * {z})) as int)"
    up = f"cast(floor({nside} * (0.5 + {turn} + 0.75 * {z})) as int)"
    of_down, of_up = f"({down} div {nside})", f"({up} div {nside})"
    face_of_belt = f"if({of_down} = {of_up}, {of_down} | 4, if({of_down} < {of_up}, {of_down}, {of_up} + 8))"

    quarter = f"least(3, cast(floor({turn}) as int))"
    reach = f"({nside} * sqrt(3 * (1 - abs({z}))))"
    down_in_cap = f"least({nside - 1}, cast(floor(({turn} - {quarter}) * {reach}) as int))"
    up_in_cap = f"least({nside - 1}, cast(floor((1 - {turn} + {quarter}) * {reach}) as int))"

    def of(belt: str, north: str, south: str) -> str:
        return f"case when abs({z}) <= 2D / 3 then {belt} when {z} > 0 then {north} else {south} end"

    def spread(number: str) -> str:
        """Binary digits read as those of base 4: a zero before each."""
        return f"cast(conv(bin({number}), 4, 10) as bigint)"

    face = of(face_of_belt, quarter, f"{quarter} + 8")
    x = of(f"{up} & {nside - 1}", f"{nside - 1} - {up_in_cap}", down_in_cap)
    y = of(f"{nside - 1} - ({down} & {nside - 1})", f"{nside - 1} - {down_in_cap}", up_in_cap)
    return f"({face}) * {nside * nside}L + {spread(x)} + 2 * {spread(y)}"
