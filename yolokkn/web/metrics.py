"""Prometheus metrics of running streams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from yolokkn.web.monitor import Monitor

_COUNTED = ("enter", "appear", "leave", "vanish", "num_in", "num_out")


class StreamsCollector:
    """Collects from a monitor when it is asked."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    def collect(self) -> Iterator[Any]:
        """Yield the families of metrics."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        up = GaugeMetricFamily("yolokkn_stream_up", "1 while the stream gives frames", labels=["stream"])
        frames = CounterMetricFamily("yolokkn_frames", "Frames with results", labels=["stream"])
        rate = GaugeMetricFamily("yolokkn_frames_per_second", "Frames a second of late", labels=["stream"])
        dropped = CounterMetricFamily("yolokkn_frames_dropped", "Frames not processed", labels=["stream", "cause"])
        again = CounterMetricFamily(
            "yolokkn_reconnects", "How often the source was opened again", labels=["stream", "cause"]
        )
        objects = GaugeMetricFamily("yolokkn_objects", "Objects in the newest frame", labels=["stream"])
        age = GaugeMetricFamily(
            "yolokkn_age_seconds", "Capture to result, of the whole run", labels=["stream", "quantile"]
        )
        stages = GaugeMetricFamily(
            "yolokkn_stage_seconds", "Time of each stage", labels=["stream", "stage", "quantile"]
        )
        zones = CounterMetricFamily(
            "yolokkn_zone_events", "Events at zones and lines", labels=["stream", "place", "event"]
        )
        inside = GaugeMetricFamily("yolokkn_zone_inside", "Tracks inside now", labels=["stream", "place"])
        for name in self._monitor.names():
            detail = self._monitor.detail(name)
            if detail is None:  # removed meanwhile
                continue
            up.add_metric([name], float(detail["state"] == "live"))
            frames.add_metric([name], detail["num_frames"])
            rate.add_metric([name], detail["frames_per_second"])
            objects.add_metric([name], detail["num_objects"])
            for cause, count in detail["dropped"].items():
                dropped.add_metric([name, cause], count)
            for cause, count in detail["causes"].items():
                again.add_metric([name, cause], count)
            ledger = detail["ledger"]
            for quantile in ("p50", "p95", "p99"):
                age.add_metric([name, quantile], ledger["age_ms"][quantile] / 1e3)
                for stage, times in ledger["stages"].items():
                    stages.add_metric([name, stage, quantile], times[quantile] / 1e3)
            for place, counts in detail["zones"].items():
                inside.add_metric([name, place], counts["inside"])
                for event in _COUNTED:
                    zones.add_metric([name, place, event.removeprefix("num_")], counts[event])
        yield from (up, frames, rate, dropped, again, objects, age, stages, zones, inside)


def metrics_text(monitor: Monitor) -> bytes:
    """Return the metrics in Prometheus' text format, those of this process among them."""
    from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

    registry = CollectorRegistry()
    registry.register(StreamsCollector(monitor))
    ProcessCollector(registry=registry)
    return bytes(generate_latest(registry))
