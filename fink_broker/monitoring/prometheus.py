"""The state of the services as Prometheus reads it.

Everything comes from what is committed (see `commands.status.status`) and from the processes: on the path of an alert nothing is counted
for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import psutil
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fink_broker.infra.processes import tree_usage

Service = Mapping[str, Any]
Pairs = Iterable[tuple[Sequence[str], float | None]]  # values of labels, and what is told of them

# Of a service's own value: name of the metric, what it says, key of the state; and of what is told by something: the label too.
_COUNTERS = (
    ("alerts_in", "Alerts that a service has taken in", "in"),
    ("alerts_out", "Alerts that it has given out", "out"),
    ("alerts_duplicate", "Repeats that were dropped", "duplicate"),
    ("alerts_lost", "Messages that Kafka gave up before they were read", "lost"),
)
_GAUGES = (
    ("lag_alerts", "Alerts that wait to be taken in", "lag"),
    ("alerts_per_second", "Alerts given out a second, over the last minute", "rate"),
    ("uptime_seconds", "Seconds since the process was started", "uptime_s"),
)
_COUNTERS_BY = (
    ("alerts_rejected", "Messages rejected, by reason", "rejected", "reason"),
    ("alerts_cut", "Alerts that did not meet a quality cut, by the first", "cuts", "cut"),
    ("module_errors", "Alerts that a science module raised for", "errors", "module"),
)


def text(state: Mapping[str, Any]) -> bytes:
    """The state in Prometheus's text format.

    Parameters
    ----------
    state : mapping
        As `commands.status.status` gives it.
    """
    registry = CollectorRegistry()
    registry.register(_State(state))
    return generate_latest(registry)


class _State(Collector):
    def __init__(self, state: Mapping[str, Any]) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        services: Mapping[str, Service] = self._state["services"]
        yield GaugeMetricFamily("fink_sums_meet", "1 if what came out is what went in", value=all(one["ok"] for one in services.values()))
        yield GaugeMetricFamily("fink_disk_free_bytes", "Left on the disk of the home", value=self._state["disk_free_gb"] * 1e9)
        for name, says, key in _GAUGES:
            yield _of_each(
                GaugeMetricFamily, name, says, {(one,): service.get(key) for one, service in services.items()}.items(), ["service"]
            )
        for name, says, key in _COUNTERS:
            yield _of_each(
                CounterMetricFamily, name, says, {(one,): service.get(key) for one, service in services.items()}.items(), ["service"]
            )
        for name, says, key, label in _COUNTERS_BY:
            values = {(one, what): number for one, service in services.items() for what, number in service.get(key, {}).items()}
            yield _of_each(CounterMetricFamily, name, says, values.items(), ["service", label])
        yield from _states(services)
        yield from _spans(services)
        yield from _costs(services)
        yield from _processes(services)


def _of_each(kind: type[CounterMetricFamily | GaugeMetricFamily], name: str, says: str, values: Pairs, labels: list[str]) -> Metric:
    family = kind(f"fink_{name}", says, labels=labels)
    for of, value in values:
        if value is not None:
            family.add_metric(list(of), value)
    return family


def _states(services: Mapping[str, Service]) -> Iterator[Metric]:
    up = {(name,): float(service["state"] == "running") for name, service in services.items()}
    failed = {(name,): float(service["state"] == "failed") for name, service in services.items()}
    yield _of_each(GaugeMetricFamily, "service_up", "1 if the service runs", up.items(), ["service"])
    yield _of_each(GaugeMetricFamily, "service_failed", "1 if it has ended otherwise than it was asked to", failed.items(), ["service"])
    held = {(topic,): one["lag"] for service in services.values() for topic, one in service.get("held", {}).items()}
    yield _of_each(GaugeMetricFamily, "topic_held_alerts", "Alerts that wait for a topic that cannot be written", held.items(), ["topic"])


def _spans(services: Mapping[str, Service]) -> Iterator[Metric]:
    spans = {
        (name, stage, quantile): span[key]
        for name, service in services.items()
        for stage, span in service["stages_s"].items()
        for key, quantile in (("p50", "0.5"), ("p99", "0.99"))
    }
    says = "How long the alerts of the newest batch took to its output, by stage"
    yield _of_each(GaugeMetricFamily, "latency_seconds", says, spans.items(), ["service", "stage", "quantile"])


def _costs(services: Mapping[str, Service]) -> Iterator[Metric]:
    modules = {(name,): ms / 1e3 for service in services.values() for name, ms in service.get("cpu_ms", {}).items()}
    yield _of_each(GaugeMetricFamily, "module_cpu_seconds", "CPU seconds an alert of a science module, lately", modules.items(), ["module"])
    filters = {name: one for service in services.values() for name, one in service.get("filters", {}).items()}
    spent = {(name,): one["cpu_ms"] / 1e3 for name, one in filters.items() if "cpu_ms" in one}
    failures = {(name,): one["failures"] for name, one in filters.items() if "failures" in one}
    off = {(name,): float(one["off"] is not None) for name, one in filters.items()}
    yield _of_each(GaugeMetricFamily, "filter_cpu_seconds", "CPU seconds an alert of a filter", spent.items(), ["filter"])
    yield _of_each(CounterMetricFamily, "filter_failures", "Alerts that a filter had no answer for", failures.items(), ["filter"])
    yield _of_each(GaugeMetricFamily, "filter_off", "1 if the filter was switched off", off.items(), ["filter"])


def _processes(services: Mapping[str, Service]) -> Iterator[Metric]:
    memory, cpu = {}, {}
    for name, service in services.items():
        try:
            usage = tree_usage(service["pid"]) if service["pid"] else None
        except psutil.NoSuchProcess:
            continue  # it ended meanwhile
        if usage is not None:
            memory[name,], cpu[name,] = usage.rss, usage.cpu_s
    says = "of the service's processes, Java's and Python's; services that share an application show the same"
    yield _of_each(GaugeMetricFamily, "memory_bytes", f"Resident memory {says}", memory.items(), ["service"])
    yield _of_each(CounterMetricFamily, "cpu_seconds", f"CPU seconds {says}", cpu.items(), ["service"])
