"""Templates from the wheel and from packets."""

import io
import tarfile

import pyarrow.parquet as pq
import pytest

from datasim import make_templates
from datasim.night import alerts
from datasim.packet import container, writer_schema
from fink_broker.errors import FinkError


@pytest.fixture
def packets(tmp_path, templates):
    """Packets of schema 4.02 in a folder, made from templates; and the records in them."""
    folder = tmp_path / "packets"
    folder.mkdir()
    records = list(alerts(templates, 6, "20260322"))
    for record in records:
        (folder / f"{record['candid']}.avro").write_bytes(container(record, writer_schema("4.02")))
    return folder, {record["candid"]: record for record in records}


def check(table, records):
    rows = table.to_pylist()
    assert len(rows) == len(records)
    for row in rows:
        record = records[row["candid"]]
        assert row["cutoutScience"] == record["cutoutScience"]
        assert row["candidate"]["jd"] == record["candidate"]["jd"]
        assert row["candidate"]["magpsf"] == pytest.approx(record["candidate"]["magpsf"], rel=1e-6)
        assert (row["fp_hists"] is None) == (record["fp_hists"] is None)
        assert len(row["prv_candidates"]) == len(record["prv_candidates"])
    candidate = table.schema.field("candidate").type
    assert [str(candidate.field(name).type) for name in ("jd", "fid", "pid", "magpsf")] == ["double", "int32", "int64", "float"]


def test_from_a_folder(packets, tmp_path):
    folder, records = packets
    out = tmp_path / "t.parquet"
    assert make_templates.main(["--avro", str(folder), "--out", str(out)]) == 0
    check(pq.read_table(out), records)
    # They make a night again, forced photometry included.
    again = list(alerts(pq.read_table(out).to_pylist(), 12, "20260401"))
    assert [alert["fp_hists"] is None for alert in again[:6]] == [row["fp_hists"] is None for row in pq.read_table(out).to_pylist()]
    assert all(entry["jd"] < alert["candidate"]["jd"] for alert in again for entry in alert["fp_hists"] or [])


def test_from_a_tar(packets, tmp_path):
    folder, records = packets
    path = tmp_path / "night.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder, "night")
    check(make_templates.table_of_packets(path, 100), records)


def test_only_so_many(packets):
    assert make_templates.table_of_packets(packets[0], 2).num_rows == 2


def test_what_is_no_packet_is_named(packets, tmp_path, capsys):
    (packets[0] / "0.avro").write_bytes(b"no packet")
    assert make_templates.main(["--avro", str(packets[0]), "--out", str(tmp_path / "t.parquet")]) == 1
    error = capsys.readouterr().err
    assert "cannot use 0.avro" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "t.parquet").exists()


def test_versions_are_not_mixed(packets, templates):
    (packets[0] / "0.avro").write_bytes(container(templates[0], writer_schema("3.3")))
    with pytest.raises(FinkError, match="differs from that of the first"):
        make_templates.table_of_packets(packets[0], 100)


def test_nothing_there_is_an_error(tmp_path):
    with pytest.raises(FinkError, match=r"no \.avro file"):
        make_templates.table_of_packets(tmp_path, 10)
    with pytest.raises(FinkError, match="give a folder"):
        make_templates.table_of_packets(tmp_path / "nowhere.tar.gz", 10)


def test_another_wheel_is_refused(tmp_path, capsys):
    wheel = tmp_path / "x.whl"
    wheel.write_bytes(b"another")
    assert make_templates.main(["--wheel", str(wheel)]) == 1
    assert "sha-256" in capsys.readouterr().err
    assert make_templates.main(["--wheel", str(tmp_path / "missing.whl")]) == 1


def test_avro_needs_out(capsys):
    assert make_templates.main(["--avro", "x"]) == 2
    assert "--out" in capsys.readouterr().err


def test_templates_drop_only_what_ztf_does_not_send():
    import pyarrow as pa

    table = pa.table({"timestamp": pa.array([1]), "candid": pa.array([2], pa.int64()), "rb": pa.array([None], pa.float32())})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    made = make_templates.templates_of(buffer.getvalue())
    assert made.schema == pa.schema([("candid", pa.int64()), ("rb", pa.float32())])
    assert made.to_pylist() == [{"candid": 2, "rb": None}]
