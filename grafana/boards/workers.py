"""Panels on worker processes and their files, from the sidecar or another reader of a shared directory."""

from grafana_foundation_sdk.models import units

from grafana.board import BY_TARGET
from grafana.paint import GREEN, ORANGE, RED, color
from grafana.panels import Card, Line, Panel, graph
from grafana.promql import INSTANCE, JOB, by, rate
from pool_exporter.metrics.exporter_metrics import DIRECTORY_FAULTS, SET_ASIDE, WORKER_ENDS, WORKER_STATES

LEGEND = f"{{{{{JOB}}}}} {{{{{INSTANCE}}}}}"


def panels() -> list[Panel]:
    """Return the panels of the row."""
    return [_workers(), _ended(), _reading(), _lost(), _errors(), _compaction(), _directory()]


def _workers() -> Panel:
    state = WORKER_STATES.prometheus
    card = Card(
        "Workers",
        "Worker processes in the shared directories. A frozen one has had no heartbeat for 5 seconds.",
        "as many as were started, all living.",
        "frozen: its event loop or the GIL is blocked, or it was stopped. `pool-exporter dump` shows what it holds.",
    )
    return graph(
        card,
        Line(by(state, BY_TARGET.series("workers")), f"{{{{{state}}}}}"),
        overrides={"living": [color(GREEN)], "frozen": [color(RED)]},
        is_stacked=True,
    )


def _ended() -> Panel:
    end = WORKER_ENDS.prometheus
    card = Card(
        "Workers that ended",
        "Worker processes that ended per second: stopped in order, crashed while a connection was used, or lost.",
        "stopped ones at each rollout, and where workers are replaced after a number of requests.",
        "crashed: out of memory, or killed by the master process after a timeout; see its log. lost: it ended without "
        "a sign, while no connection was used.",
        units.OpsPerSecond,
    )
    return graph(
        card,
        Line(by(end, rate(BY_TARGET.series("workers_ended"))), f"{{{{{end}}}}}"),
        overrides={"stopped": [color("blue")], "crashed": [color(RED)], "lost": [color("orange")]},
    )


def _reading() -> Panel:
    card = Card(
        "Time of reading",
        "How long it took to read the workers' files and to add them up for a scrape.",
        "below 10 ms for tens of workers.",
        "it grows with the number of files; if dead workers' files are not compacted, see the panel Last compaction.",
        units.Seconds,
    )
    return graph(card, Line(BY_TARGET.series("scrape_duration_seconds"), LEGEND))


def _lost() -> Panel:
    reason = SET_ASIDE.prometheus
    card = Card(
        "Not included",
        "Files that could not be used, by reason; pools of workers that found no space in the directory; pools of dead "
        "workers that were added to the pool named other.",
        "0.",
        "version: a rollout is in progress. Other reasons: another program writes there; see `pool-exporter dump`. "
        "Pools without space: too many names of pools, or too small a volume.",
    )
    return graph(
        card,
        Line(by(reason, BY_TARGET.series("files_set_aside")), f"{{{{{reason}}}}}"),
        Line(f"sum({BY_TARGET.series('pools_dropped')})", "pools without space"),
        Line(f"sum({BY_TARGET.series('pools_merged')})", "pools in the pool other"),
    )


def _errors() -> Panel:
    card = Card(
        "Errors",
        "Failed attempts per second, of workers to write to the directory, and of compaction; and files that were "
        "written during every attempt to read them.",
        "0; a torn read now and then in a busy fleet.",
        "transport: the volume is full, read-only or gone. Those workers keep their numbers in memory; the sidecar "
        "does not have them.",
        units.OpsPerSecond,
    )
    return graph(
        card,
        Line(f"sum({rate(BY_TARGET.series('transport_errors'))})", "transport"),
        Line(f"sum({rate(BY_TARGET.series('compaction_errors'))})", "compaction"),
        Line(f"sum({rate(BY_TARGET.series('torn_reads'))})", "torn reads"),
        overrides={"transport": [color(RED)], "compaction": [color(ORANGE)]},
    )


def _compaction() -> Panel:
    card = Card(
        "Last compaction",
        "Time since a compaction last succeeded, also one that found no files of dead workers.",
        "seconds to a minute.",
        "no process compacts: check that a sidecar runs, and that it may write to the directory.",
        units.Seconds,
    )
    return graph(card, Line(f"time() - {BY_TARGET.series('last_compaction_timestamp_seconds')}", LEGEND))


def _directory() -> Panel:
    fault = DIRECTORY_FAULTS.prometheus
    card = Card(
        "Faults of the directory",
        "How many sidecars have something wrong with their shared directory, by fault.",
        "0; no_worker while a service starts.",
        "the sidecar's page, its `/-/ready` and its log name the directory, the reason and what to do.",
        width=24,
        height=6,
    )
    return graph(card, Line(by(fault, BY_TARGET.series("directory_faults")), f"{{{{{fault}}}}}"))
