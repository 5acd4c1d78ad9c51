"""The process of the dashboard; `infra.dashboard` starts it."""

from __future__ import annotations

import importlib
import sys
import threading
from typing import Any

import uvicorn

from fink_broker import config, log
from fink_broker.errors import FinkError
from fink_broker.infra.dashboard import NAME
from fink_broker.web.app import create


def main(argv: list[str]) -> int:
    """Serve on the port that is given until SIGTERM."""
    settings = config.load()
    log.to_file(settings.log(NAME))
    try:
        app = create(settings)
    except FinkError as error:
        print(f"fink: {error}", file=sys.stderr, flush=True)  # its log
        return error.exit_code
    # Streams of events never end by themselves: at the end they are cut.
    where: dict[str, Any] = {"host": settings.dashboard.host, "port": int(argv[0]), "timeout_graceful_shutdown": 1}
    threading.Thread(target=_warm, daemon=True).start()
    uvicorn.run(app, **where, log_config=None, access_log=False)
    return 0


def _warm() -> None:
    """Import what the first cutout, cone and map would wait for; other commands do without, so it is not at the top of its modules."""
    for name in ("astropy.io.fits", "astropy.visualization", "cdshealpix", "astropy.coordinates", "duckdb"):
        importlib.import_module(name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
