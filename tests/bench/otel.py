"""What OpenTelemetry costs: one collection and one push of 1, 100 and 1,000 pools, in their own thread.

`python -m tests.bench.otel` prints a table and, with --output, writes it. What a checkout costs with a provider
attached is a row of `python -m tests.bench`.
"""

import argparse
import gc
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.resources import Resource

from pool_exporter import instrument
from pool_exporter.otel.meter_provider_bridge import attach_to_provider
from pool_exporter.otel.otlp_push import OtlpPush, PushTarget
from pool_exporter.runtime import instrumentation
from tests.bench.driver import BenchProcess
from tests.bench.pools import engine, use
from tests.bench.versions import machine
from tests.bench.worker import Job

SIZES: Final = (1, 100, 1000)
ROUNDS: Final = 5
WAYS: Final = {
    "snapshot": "a snapshot, which each of the others takes first",
    "finished": "a collection by the SDK's reader, everything ready-made",
    "views": "the same where the application has Views: scalars by observable instruments",
    "push": "a push by the sidecar: snapshot, points, protobuf; not the network",
}


class _Encoder(MetricExporter):
    """An exporter that encodes and does not send."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: object) -> MetricExportResult:
        """Encode."""
        self.size = len(encode_metrics(metrics_data).SerializeToString())
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Do nothing."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: object) -> None:
        """Do nothing."""


def jobs(way: str, pools: str) -> dict[str, Job]:
    """Return what one *way* takes for so many *pools*, in nanoseconds, and the size of a push in bytes."""
    engines = [engine() for _ in range(int(pools))]
    for number, each in enumerate(engines):
        instrument(each, name=f"pool-{number:04}")
        use(each, 3)
    encoder = _Encoder()
    run = _runs(way, encoder)

    def timed(count: int) -> float:
        gc.collect()
        start = time.thread_time_ns()
        for _ in range(count):
            run()
        return (time.thread_time_ns() - start) / count

    run()
    return {"time": timed, "size": lambda _: encoder.size if engines else 0}


def _runs(way: str, encoder: _Encoder) -> Callable[[], Any]:
    if way == "snapshot":
        return instrumentation.snapshot
    if way == "push":
        return OtlpPush(
            instrumentation.snapshot, PushTarget("nowhere", encoder, Resource({"service.name": "bench"}))
        ).push
    reader = InMemoryMetricReader()
    views = [View(instrument_name="another", name="renamed")] if way == "views" else []
    attach_to_provider(MeterProvider([reader], views=views, shutdown_on_exit=False), instrumentation.monitors)
    return reader.get_metrics_data


def main() -> None:
    """Measure each way in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.otel", description=__doc__)
    parser.add_argument("--output", type=Path, help="the file that the table is written to")
    output = parser.parse_args().output
    found: dict[tuple[str, int], tuple[float, int]] = {}
    for way in WAYS:
        for pools in SIZES:
            with closing(BenchProcess(sys.executable, "otel", way, str(pools))) as worker:
                times = [worker.ask("time", max(1, 200 // pools)) for _ in range(ROUNDS)]
                found[way, pools] = min(times), worker.ask("size")
    table = _table(found)
    print(table)
    if output is not None:
        output.write_text(table)


def _table(found: dict[tuple[str, int], tuple[float, int]]) -> str:
    now = datetime.now(timezone.utc)
    lines = [
        "# What OpenTelemetry costs",
        "",
        f"`python -m tests.bench.otel`, {now:%Y-%m-%d}, {machine()}.",
        f"Milliseconds of one thread's processor time, the least of {ROUNDS} rounds.",
        "",
        "|  | " + " | ".join(f"{pools:,} pools" if pools > 1 else "1 pool" for pools in SIZES) + " |",
        "|---|" + "---:|" * len(SIZES),
    ]
    for way, title in WAYS.items():
        lines.append(f"| {title} | " + " | ".join(f"{found[way, pools][0] / 1e6:.2f}" for pools in SIZES) + " |")
    sizes = [f"{found['push', pools][1] / 1e3:.1f}" for pools in SIZES]
    lines.append("| size of that push before compression, kB | " + " | ".join(sizes) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
