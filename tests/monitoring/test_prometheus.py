"""What Prometheus reads of a state: counters, and histograms that count each batch once."""

from __future__ import annotations

import copy
import os
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fink_broker.infra.processes import tree_usage
from fink_broker.monitoring.latency import BOUNDS
from fink_broker.monitoring.prometheus import Exporter

IDLE: dict[str, Any] = {
    **{"state": "stopped", "pid": None, "uptime_s": None, "failure": None, "last_error": None, "in": 0, "out": 0, "rejected": {}, "lag": 0},
    **{"rate": None, "rate_mean": None, "latency_s": None, "stages_s": {}, "batches": [], "errors": {}, "ok": True},
}


def batch(number: int, closed: float, seconds: float | None, *spans: float) -> dict[str, Any]:
    counts = [0] * (len(BOUNDS) + 1)
    for span in spans:
        counts[sum(bound < span for bound in BOUNDS)] += 1
    stages = {"telescope to user": {"p50": 0, "p99": 0, "sum": sum(spans), "counts": counts}}
    return {"number": number, "alerts": len(spans), "closed": closed, "seconds": seconds, "stages": stages}


def state(**services: Any) -> dict[str, Any]:
    return {"ok": True, "disk_free_gb": 1.5, "services": {name: {**copy.deepcopy(IDLE), **one} for name, one in services.items()}}


def samples(text: bytes) -> dict[tuple[str, ...], float]:
    """Name and values of labels (the bucket's bound last) to value; that it parses says that it is well formed."""
    found = [one for family in text_string_to_metric_families(text.decode()) for one in family.samples]
    order = ["service", "stage", "reason", "cut", "module", "partition", "filter", "outlet", "topic", "process", "le"]
    return {(one.name, *(one.labels[label] for label in order if label in one.labels)): one.value for one in found}


def test_a_batch_is_counted_once_and_when_it_is_committed() -> None:
    exporter = Exporter(since=100.0)
    name, service = "fink_latency_seconds", ("distribution", "telescope to user")
    old, first = batch(6, 99.0, 1.0, 7.0), batch(7, 101.0, 2.0, 0.5, 3.0, 1e6)
    found = samples(exporter.text(state(distribution={"batches": [old, first, batch(8, 102.0, None, 4.0)]})))
    # 0.5 is in the bucket up to 0.5; a million seconds are above all bounds.
    buckets = {bound: found[f"{name}_bucket", *service, bound] for bound in ("0.25", "0.5", "2.5", "5.0", "86400.0", "+Inf")}
    assert buckets == {"0.25": 0, "0.5": 1, "2.5": 1, "5.0": 2, "86400.0": 2, "+Inf": 3}
    assert (found[f"{name}_count", *service], found[f"{name}_sum", *service]) == (3, 1_000_003.5)
    assert found["fink_batch_duration_seconds_sum", "distribution"] == 2.0
    # Looked at again it is the same; the batch that was under way has been committed meanwhile.
    exporter.text(state(distribution={"batches": [first]}))
    found = samples(exporter.text(state(distribution={"batches": [first, batch(8, 102.0, 5.0, 4.0)]})))
    assert (found[f"{name}_count", *service], found[f"{name}_sum", *service]) == (4, 1_000_007.5)
    assert found["fink_batch_duration_seconds_bucket", "distribution", "5.0"] == 2


def test_what_a_service_has_is_told_and_what_is_not_known_is_not() -> None:
    services = state(
        stream2raw={"in": 10, "out": 8, "rejected": {"no JD": 2}, "lag": None, "lag_by": {"t/0": 3}, "lost": 1},
        raw2science={"cpu_ms": {"vsx": 2.0}, "memory_mb": 200, "errors": {"vsx": 4}, "cuts": {"rb": 5}, "duplicate": 6},
        distribution={"filters": {"f": {"cpu_ms": 0.5, "alerts": 1000, "failures": 1, "off": None}, "g": {"off": {"since": ""}}}},
        notify={"outlets": {"tom": {"sent": 7, "failed": 1, "waiting": None}}},
    )
    found = samples(Exporter().text(services))
    expected = {
        ("fink_sums_meet",): 1,
        ("fink_disk_free_bytes",): 1.5e9,
        ("fink_alerts_in_total", "stream2raw"): 10,
        ("fink_alerts_rejected_total", "stream2raw", "no JD"): 2,
        ("fink_alerts_lost_total", "stream2raw"): 1,
        ("fink_lag_messages", "stream2raw", "t/0"): 3,
        ("fink_alerts_cut_total", "raw2science", "rb"): 5,
        ("fink_alerts_duplicate_total", "raw2science"): 6,
        ("fink_module_errors_total", "raw2science", "vsx"): 4,
        ("fink_module_cpu_seconds_per_alert", "vsx"): 0.002,
        ("fink_worker_peak_memory_bytes", "raw2science"): 2e8,
        ("fink_filter_cpu_seconds_total", "f"): 0.5,
        ("fink_filter_failures_total", "f"): 1,
        ("fink_filter_off", "f"): 0,
        ("fink_filter_off", "g"): 1,
        ("fink_outlet_sent_total", "tom"): 7,
        ("fink_service_up", "stream2raw"): 0,
    }
    assert {key: found.get(key) for key in expected} == expected
    assert ("fink_lag_alerts", "stream2raw") not in found
    assert ("fink_outlet_lag_alerts", "tom") not in found


def test_memory_is_told_by_part() -> None:
    running = {"state": "running", "pid": os.getpid(), "uptime_s": 5, "last_error": {"when": 12.0, "text": "x"}}
    found = samples(Exporter().text(state(archive=running)))
    assert found["fink_resident_memory_bytes", "archive", "driver"] == pytest.approx(tree_usage(os.getpid()).parts["driver"], rel=0.2)
    assert found["fink_last_error_timestamp_seconds", "archive"] == 12.0
    assert found["fink_cpu_seconds_total", "archive"] > 0
