"""The state of the services as Prometheus reads it.

Everything comes from what is committed (see `monitoring.status`) and from the processes: on the path of an alert nothing is counted for it.
Names and units are those that Prometheus recommends (https://prometheus.io/docs/practices/naming/).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import psutil
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fink_broker.infra.processes import Usage, tree_usage
from fink_broker.monitoring.histograms import Histograms

Service = Mapping[str, Any]
Family = type[CounterMetricFamily] | type[GaugeMetricFamily]
Pairs = Iterable[tuple[Sequence[Any], float | None]]  # values of labels, and what is told of them

# Of a service's own value: name of the metric, what it says, key of the state; and of what is told by something: the label too.
_OF_SERVICE: tuple[tuple[Family, str, str, str], ...] = (
    (CounterMetricFamily, "alerts_in", "Alerts that a service has taken in", "in"),
    (CounterMetricFamily, "alerts_out", "Alerts that it has given out", "out"),
    (CounterMetricFamily, "alerts_duplicate", "Repeats that were dropped", "duplicate"),
    (CounterMetricFamily, "alerts_lost", "Messages that Kafka gave up before they were read", "lost"),
    (GaugeMetricFamily, "lag_alerts", "Alerts that wait to be taken in", "lag"),
    (GaugeMetricFamily, "row_key_collisions", "Pairs of alerts with one row key, of which one is kept", "collisions"),
)
_BY: tuple[tuple[Family, str, str, str, str], ...] = (
    (CounterMetricFamily, "alerts_rejected", "Messages rejected, by reason", "rejected", "reason"),
    (CounterMetricFamily, "alerts_cut", "Alerts that did not meet a quality cut, by the first", "cuts", "cut"),
    (CounterMetricFamily, "module_errors", "Alerts that a science module raised for", "errors", "module"),
    (GaugeMetricFamily, "lag_messages", "Messages that wait in a partition of Kafka", "lag_by", "partition"),
)
_FILTER: tuple[tuple[str, str, str], ...] = (
    ("filter_alerts", "Alerts that a filter was asked about, since the service has started", "alerts"),
    ("filter_failures", "Alerts that it had no answer for, since then", "failures"),
)
_OUTLET = (
    (CounterMetricFamily, "outlet_sent", "Alerts that an outlet has delivered", "sent"),
    (CounterMetricFamily, "outlet_failed", "Alerts that its endpoint has refused", "failed"),
    (GaugeMetricFamily, "outlet_lag_alerts", "Alerts that wait to be delivered", "waiting"),
)


class Exporter(Collector):
    """Tells the state in Prometheus's text format, again and again.

    Parameters
    ----------
    since : float, optional
        Histograms count the batches that are committed after this (Unix time, seconds); by default from now on.
    """

    def __init__(self, since: float | None = None) -> None:
        self._histograms = Histograms(time.time() if since is None else since)
        self._state: Mapping[str, Any] = {}

    def text(self, state: Mapping[str, Any]) -> bytes:
        """The state.

        Parameters
        ----------
        state : mapping
            As `monitoring.status.status` gives it.
        """
        self._state = state
        self._histograms.add(state["services"])
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[Metric]:
        """All metrics; `prometheus_client` asks."""
        services: Mapping[str, Service] = self._state.get("services", {})
        if not services:  # registering asks too
            return
        yield GaugeMetricFamily("fink_sums_meet", "1 if what came out is what went in", value=all(one["ok"] for one in services.values()))
        yield GaugeMetricFamily("fink_disk_free_bytes", "Left on the disk of the home", value=self._state["disk_free_gb"] * 1e9)
        for kind, name, says, key in _OF_SERVICE:
            yield _family(kind, name, says, {(one,): service.get(key) for one, service in services.items()}.items(), ["service"])
        for kind, name, says, key, label in _BY:
            values = {(one, what): number for one, service in services.items() for what, number in service.get(key, {}).items()}
            yield _family(kind, name, says, values.items(), ["service", label])
        yield from self._histograms.collect()
        yield from _states(services)
        yield from _costs(services)
        yield from _processes(services)
        outlets = services.get("notify", {}).get("outlets", {})
        for kind, name, says, key in _OUTLET:
            yield _family(kind, name, says, {(outlet,): one[key] for outlet, one in outlets.items()}.items(), ["outlet"])


def _family(kind: Family, name: str, says: str, values: Pairs, labels: list[str]) -> Metric:
    family = kind(f"fink_{name}", says, labels=labels)
    for of, value in values:
        if value is not None:
            family.add_metric(list(of), value)
    return family


def _gauge(name: str, says: str, values: Pairs, *labels: str) -> Metric:
    return _family(GaugeMetricFamily, name, says, values, list(labels))


def _states(services: Mapping[str, Service]) -> Iterator[Metric]:
    def of(value: Mapping[str, Any]) -> Pairs:
        return [((name,), number) for name, number in value.items()]

    up = {name: float(service["state"] == "running") for name, service in services.items()}
    failed = {name: float(service["state"] == "failed") for name, service in services.items()}
    begun = {name: round(time.time() - service["uptime_s"]) for name, service in services.items() if service["uptime_s"] is not None}
    errors = {name: service["last_error"]["when"] for name, service in services.items() if service["last_error"]}
    held = {topic: one["lag"] for service in services.values() for topic, one in service.get("held", {}).items()}
    yield _gauge("service_up", "1 if the service runs", of(up), "service")
    yield _gauge("service_failed", "1 if it has ended otherwise than it was asked to", of(failed), "service")
    yield _gauge("service_start_time_seconds", "When its process was started, Unix time", of(begun), "service")
    yield _gauge("last_error_timestamp_seconds", "When its log had the last error, Unix time", of(errors), "service")
    yield _gauge("topic_held_alerts", "Alerts that wait for a topic that cannot be written", of(held), "topic")


def _costs(services: Mapping[str, Service]) -> Iterator[Metric]:
    modules = {(name,): ms / 1e3 for service in services.values() for name, ms in service.get("cpu_ms", {}).items()}
    peak = {(name,): service["memory_mb"] * 1e6 for name, service in services.items() if service.get("memory_mb")}
    yield _gauge("module_cpu_seconds_per_alert", "CPU seconds an alert of a science module, lately", modules.items(), "module")
    yield _gauge("worker_peak_memory_bytes", "The most that one Python worker has had, lately", peak.items(), "service")
    filters = {name: one for service in services.values() for name, one in service.get("filters", {}).items()}
    asked = {name: one for name, one in filters.items() if "alerts" in one}
    spent = {(name,): one["cpu_ms"] * one["alerts"] / 1e3 for name, one in asked.items()}
    says = "CPU seconds of a filter, since the service has started"
    yield _family(CounterMetricFamily, "filter_cpu_seconds", says, spent.items(), ["filter"])
    for metric, says, key in _FILTER:
        yield _family(CounterMetricFamily, metric, says, {(name,): one[key] for name, one in asked.items()}.items(), ["filter"])
    off = {(name,): float(one["off"] is not None) for name, one in filters.items()}
    yield _gauge("filter_off", "1 if the filter was switched off", off.items(), "filter")


def _processes(services: Mapping[str, Service]) -> Iterator[Metric]:
    usages = {name: usage for name, service in services.items() if (usage := _usage(service["pid"])) is not None}
    memory = {(name, part): number for name, usage in usages.items() for part, number in usage.parts.items()}
    cpu = {(name,): usage.cpu_s for name, usage in usages.items()}
    says = "of the service's processes: driver (Python), jvm, workers (Python); services that share an application show the same"
    yield _gauge("resident_memory_bytes", f"Resident memory {says}", memory.items(), "service", "process")
    yield _family(CounterMetricFamily, "cpu_seconds", f"CPU seconds {says}", cpu.items(), ["service"])


def _usage(pid: int | None) -> Usage | None:
    try:
        return tree_usage(pid) if pid else None
    except psutil.NoSuchProcess:
        return None  # it ended meanwhile
