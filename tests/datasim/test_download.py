"""The download script against an archive on this machine."""

import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from fink_broker.config import CHECKOUT

SCRIPT = CHECKOUT / "datasim" / "download_ztf_alert_data.sh"
NIGHT = bytes(range(256)) * 2000
NAME = "ztf_public_20240101.tar.gz"


class Archive(BaseHTTPRequestHandler):
    """Serves a night, whole or from a byte on."""

    asked: ClassVar[list[str | None]]
    ranges = True
    data = NIGHT

    def do_GET(self) -> None:
        if self.path == "/MD5SUMS":
            return self.answer(f"{hashlib.md5(NIGHT).hexdigest()}  {NAME}\n".encode(), 0)
        if self.path != f"/{NAME}":
            return self.send_error(404)
        wanted = self.headers["Range"]
        self.asked.append(wanted)
        return self.answer(self.data, int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.ranges else 0)

    def answer(self, data: bytes, start: int) -> None:
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start:])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def archive() -> Iterator[tuple[type[Archive], str]]:
    class Fresh(Archive):
        asked: ClassVar[list[str | None]] = []

    server = ThreadingHTTPServer(("127.0.0.1", 0), Fresh)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Fresh, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def run(folder: Path, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin:/usr/local/bin", "ZTF_ARCHIVE": url, "FINK_PYTHON": sys.executable}
    return subprocess.run([SCRIPT, "-o", folder, *arguments], capture_output=True, text=True, env=environment, check=False)


def test_a_night_is_downloaded_once(tmp_path, archive):
    served, url = archive
    first = run(tmp_path, url, "20240101")
    assert (first.returncode, first.stderr) == (0, "")
    assert (tmp_path / NAME).read_bytes() == NIGHT
    again = run(tmp_path, url, "20240101")
    assert again.returncode == 0
    assert "is there already" in again.stdout
    assert served.asked == [None]
    assert [file.name for file in tmp_path.iterdir()] == [NAME]


@pytest.mark.parametrize("ranges", [True, False], ids=["resumes", "starts over where the server cannot resume"])
def test_an_interrupted_download_goes_on(tmp_path, archive, ranges):
    served, url = archive
    served.ranges = ranges
    (tmp_path / f"{NAME}.part").write_bytes(NIGHT[:1000])
    done = run(tmp_path, url, "20240101")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / NAME).read_bytes() == NIGHT
    assert served.asked == (["bytes=1000-"] if ranges else ["bytes=1000-", None])


def test_a_whole_part_needs_no_download(tmp_path, archive):
    served, url = archive
    (tmp_path / f"{NAME}.part").write_bytes(NIGHT)
    assert run(tmp_path, url, "20240101").returncode == 0
    assert served.asked == []
    assert (tmp_path / NAME).read_bytes() == NIGHT


def test_a_damaged_night_is_not_kept(tmp_path, archive):
    served, url = archive
    served.data = NIGHT[:-1] + b"x"
    done = run(tmp_path, url, "20240101")
    assert done.returncode == 1
    assert "damaged" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["20240102"], 1, "has no night 20240102"),
        (["2024"], 2, "is not a night"),
        ([], 2, "give a night"),
        (["--nonsense"], 2, "unknown option"),
    ],
)
def test_errors_are_one_line(tmp_path, archive, arguments, code, says):
    done = run(tmp_path, archive[1], *arguments)
    assert done.returncode == code
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_offline_is_one_line(tmp_path):
    done = run(tmp_path, "http://127.0.0.1:1", "20240101")
    assert done.returncode == 1
    assert "is there a network?" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_help(tmp_path):
    done = run(tmp_path, "", "-h")
    assert done.returncode == 0
    assert "public archive" in done.stdout
