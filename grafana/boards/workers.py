"""What a sidecar, or any reader of a shared directory, knows of the worker processes and of their files."""

from grafana_foundation_sdk.models import units

from grafana.board import BY_TARGET
from grafana.paint import GREEN, ORANGE, RED, color
from grafana.panels import Card, Line, Panel, graph
from grafana.promql import INSTANCE, JOB, by, rate
from pool_exporter.metrics.exporter_metrics import SET_ASIDE, WORKER_ENDS, WORKER_STATES

LEGEND = f"{{{{{JOB}}}}} {{{{{INSTANCE}}}}}"


def panels() -> list[Panel]:
    """Return the panels of the row."""
    return [_workers(), _ended(), _reading(), _lost(), _errors(), _fold()]


def _workers() -> Panel:
    state = WORKER_STATES.prometheus
    card = Card(
        "Workers",
        "Worker processes in the shared directories. A frozen one has not stirred for 5 seconds.",
        "as many as you have started, all live.",
        "frozen: its event loop or the GIL is blocked, or it was stopped. `pool-exporter dump` shows what it holds.",
    )
    return graph(
        card,
        Line(by(state, BY_TARGET.series("workers")), f"{{{{{state}}}}}"),
        overrides={"live": [color(GREEN)], "frozen": [color(RED)]},
        is_stacked=True,
    )


def _ended() -> Panel:
    end = WORKER_ENDS.prometheus
    card = Card(
        "Workers that ended",
        "Worker processes that ended per second: by themselves, or crashed or killed.",
        "stopped ones with each rollout, and where workers are replaced after some requests.",
        "crashed: out of memory? A time-out of the master process? See its log.",
        units.OpsPerSecond,
    )
    return graph(
        card,
        Line(by(end, rate(BY_TARGET.series("workers_ended"))), f"{{{{{end}}}}}"),
        overrides={"stopped": [color("blue")], "crashed": [color(RED)]},
    )


def _reading() -> Panel:
    card = Card(
        "Time of reading",
        "How long it took to read and to sum the workers' files for a scrape.",
        "below 10 ms for tens of workers.",
        "it grows with the number of files: are dead ones folded? See the panel Last fold.",
        units.Seconds,
    )
    return graph(card, Line(BY_TARGET.series("scrape_duration_seconds"), LEGEND))


def _lost() -> Panel:
    reason = SET_ASIDE.prometheus
    card = Card(
        "Not seen",
        "Files that could not be used, by reason; pools of workers without a place in the directory; pools of dead "
        "workers that were added to the pool named other.",
        "0.",
        "version: a rollout is under way. Others: something else writes there; `pool-exporter dump` tells what. "
        "Pools without a place: too many names of pools, or a small volume.",
    )
    return graph(
        card,
        Line(by(reason, BY_TARGET.series("files_set_aside")), f"{{{{{reason}}}}}"),
        Line(f"sum({BY_TARGET.series('pools_dropped')})", "pools without a place"),
        Line(f"sum({BY_TARGET.series('pools_folded_together')})", "pools folded together"),
    )


def _errors() -> Panel:
    card = Card(
        "Errors",
        "Attempts per second that failed: of workers to write to the directory, and of folding; and files that were "
        "written all the while they were read.",
        "0; a torn read now and then in a busy fleet.",
        "transport: the volume is full, read-only, or gone; the numbers are in memory meanwhile, and in no sidecar.",
        units.OpsPerSecond,
    )
    return graph(
        card,
        Line(f"sum({rate(BY_TARGET.series('transport_errors'))})", "transport"),
        Line(f"sum({rate(BY_TARGET.series('fold_errors'))})", "fold"),
        Line(f"sum({rate(BY_TARGET.series('torn_reads'))})", "torn reads"),
        overrides={"transport": [color(RED)], "fold": [color(ORANGE)]},
    )


def _fold() -> Panel:
    card = Card(
        "Last fold",
        "Time since dead workers' files were last looked for without an error.",
        "seconds to a minute.",
        "nobody folds: is a sidecar running, and may it write to the directory?",
        units.Seconds,
    )
    return graph(card, Line(f"time() - {BY_TARGET.series('last_fold_timestamp_seconds')}", LEGEND))
