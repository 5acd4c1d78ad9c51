from pathlib import Path

from fink_broker.monitoring import reach


def test_places_in_the_log_of_a_folder_and_none_in_that_of_kafka(tmp_path: Path):
    logs = {"files": '{"path":"file:///a%20b/1.parquet","timestamp":1,"batchId":0}', "kafka": '{"alerts":{"0":0,"1":0}}'}
    for name, entry in logs.items():
        log = tmp_path / name / "sources" / "0"
        log.mkdir(parents=True)
        (log / "0").write_text(f"v1\n{entry}\n", encoding="utf-8")
    assert reach.positions(tmp_path / "files") == {Path("/a b/1.parquet"): 0}
    assert reach.positions(tmp_path / "kafka") == {}
