"""What `advise` prints: sizes and the fleet's plan, as text or as JSON. Nothing here may compute a size or a share."""

import json
import math
from collections.abc import Iterator, Sequence
from typing import Final

from pool_exporter.advice.fleet_plan import Plan
from pool_exporter.advice.loads.named_load import Advised, NamedLoad
from pool_exporter.advice.rules_of_thumb import rule_for
from pool_exporter.advice.sizing import SizeAdvice, finite
from pool_exporter.diagnosis.texts.wording import printable

KEYS: Final = (
    *("pool", "arrival_rate", "mean_use_seconds", "offered_load", "size_now", "size_recommended"),
    *("wait_p99_seconds_now", "wait_p99_seconds_recommended", "binding", "reason"),
)
"""What each pool has in JSON, null where it is not known. A pool with a known load has notes and more."""


def as_json(advised: Sequence[Advised], plan: Plan | None) -> str:
    """Return the answer for programs."""
    pools = [_pool(named, advice) for named, advice in advised]
    content = {"pools": pools} | ({} if plan is None else {"fleet": _plan_as_json(plan)})
    return json.dumps(content, indent=2, allow_nan=False)


def _pool(named: NamedLoad, advice: SizeAdvice | None) -> dict[str, object]:
    if advice is None:
        return dict.fromkeys(KEYS) | {"pool": named.pool, "reason": named.fault}
    return {
        "pool": named.pool,
        "arrival_rate": advice.arrivals_per_second,
        "mean_use_seconds": advice.mean_use_seconds if advice.has_uses else None,
        "offered_load": advice.offered if advice.has_uses else None,
        "size_now": advice.size,
        "size_recommended": advice.recommended,
        "wait_p99_seconds_now": finite(advice.wait_now_seconds),
        "wait_p99_seconds_recommended": finite(advice.wait_recommended_seconds),
        "binding": advice.binding,
        "reason": advice.reason,
        "notes": list(advice.notes),
        "rule_of_thumb": str(rule_for(advice.arrivals_per_second)),
    }


_HEADINGS: Final = ("POOL", "CALLERS/s", "MEAN USE", "LOAD", "SIZE", "ADVISED", "p99 WAIT", "ADVISED")


def as_text(advised: Sequence[Advised], plan: Plan | None) -> str:
    """Return the answer for people: a line for each pool, why, and what to set on the server."""
    if not advised:
        return "No pool was found."
    rows = [_HEADINGS, *(_row(named, advice) for named, advice in advised)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += ["", *(line for named, advice in advised for line in _explained(named, advice))]
    return "\n".join(map(printable, lines + ([] if plan is None else ["", *_plan_lines(plan)])))


def _row(named: NamedLoad, advice: SizeAdvice | None) -> tuple[str, ...]:
    if advice is None:
        return (named.pool, *("-",) * (len(_HEADINGS) - 1))
    return (
        named.pool,
        f"{advice.arrivals_per_second:.1f}",
        _duration(advice.mean_use_seconds if advice.has_uses else None),
        f"{advice.offered:.2f}" if advice.has_uses else "-",
        "no limit" if advice.size is None else str(advice.size),
        "-" if advice.recommended is None else str(advice.recommended),
        _duration(advice.wait_now_seconds),
        _duration(advice.wait_recommended_seconds),
    )


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if math.isinf(seconds):
        return "endless"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


def _explained(named: NamedLoad, advice: SizeAdvice | None) -> list[str]:
    if advice is None:
        return [f"{named.pool}: {named.fault}."]
    notes = [f"  {note}" for note in (*advice.notes, f"Compare: {rule_for(advice.arrivals_per_second)}.")]
    return [f"{named.pool}: {advice.reason}", *notes]


def _plan_as_json(plan: Plan) -> dict[str, object]:
    """Return the fleet's plan for programs."""
    advice = plan.advice
    pools = [
        {
            "pool": name,
            "processes": each.processes,
            "size_needed": each.needed,
            "share": each.share,
            "size_to_set": each.limit,
            "wait_p99_seconds": finite(plan.wait_seconds(name)),
        }
        for name, each in advice.pools.items()
    ]
    return {
        "budget": advice.budget,
        "needed": advice.needed,
        "fits": advice.fits,
        "binding": advice.binding,
        "summary": advice.summary,
        "pools": pools,
        "not_counted": list(plan.not_counted),
        "other_servers": list(plan.elsewhere),
    }


def _plan_lines(plan: Plan) -> Iterator[str]:
    """Yield the fleet's plan for people, line by line."""
    yield f"Server: {plan.advice.summary}"
    yield "  " + (
        "The load binds: the server has room for what it needs."
        if plan.advice.fits
        else "The server binds, not the load."
    )
    for name, each in plan.advice.pools.items():
        why = f"its load needs {each.needed or 'none so far'}, its share of the server is {each.share}"
        yield f"  {name}: {_to_set(each.limit, each.processes)}; {why}. {_result(plan, name)}"
    if plan.not_counted:
        yield f"  Not counted, because their load is not known: {', '.join(plan.not_counted)}."
    if plan.elsewhere:
        yield f"  On other servers: {', '.join(plan.elsewhere)}."


def _to_set(limit: int, processes: int) -> str:
    where = "1 process" if processes == 1 else f"each of {processes} processes"
    return f"set {limit} in {where}" if limit else "no connection is left for it"


def _result(plan: Plan, name: str) -> str:
    if plan.is_enough(name):
        return f"p99 wait {_duration(plan.wait_seconds(name))}."
    return "That is less than its load: run fewer processes, or put PgBouncer in between."
