"""The parts of the page about what `check` has found: in one pool, and in all pools that are not shown in full."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from pool_exporter.advice.checks.finding import SEVERITIES, Finding
from pool_exporter.diagnosis.texts.wording import counted
from pool_exporter.web.page.rule_pages import PREFIX
from pool_exporter.web.status.values import PoolStatus

POOLS_MAX: Final = 5
"""Most pools that are named of one rule."""


def findings_of_pool(pool: PoolStatus, name: str) -> Iterable[str]:
    """Yield what was found in *pool*, unfolded where it has an error.

    Args:
        pool: The pool.
        name: The id of its article, with which the ids here begin.
    """
    if pool.findings:
        items = "".join(f"<li>{_finding(finding)}</li>\n" for finding in pool.findings)
        yield _folded(f"{name}-check", pool.findings, "", items)


def findings_of_pools(pools: Iterable[PoolStatus]) -> Iterable[str]:
    """Yield what was found in many *pools*, by rule: the worst first, of these the most frequent."""
    alike: dict[str, list[tuple[PoolStatus, Finding]]] = defaultdict(list)
    for pool in pools:
        for finding in pool.findings:
            alike[finding.id].append((pool, finding))
    if alike:
        found = sorted(alike.values(), key=lambda each: (SEVERITIES.index(each[0][1].severity), -len(each)))
        items = "".join(f"<li>{_in_pools(each)}</li>\n" for each in found)
        kinds = [each[0][1] for each in found]
        yield _folded("checks", kinds, " of the other pools", items)


def _folded(name: str, found: Sequence[Finding], of: str, items: str) -> str:
    is_open = " open" if found[0].severity == SEVERITIES[0] else ""
    summary = f"<summary>Check{of}: {_summary(found)}</summary>"
    return f'<details id="{name}"{is_open}>{summary}\n<ul class="groups">\n{items}</ul></details>'


def _summary(found: Iterable[Finding]) -> str:
    severities = [finding.severity for finding in found]
    counts = ((severities.count(severity), severity) for severity in SEVERITIES)
    texts = (f"{count} info" if severity == "info" else counted(count, severity) for count, severity in counts if count)
    return ", ".join(texts)


def _finding(finding: Finding, pools: str = "") -> str:
    link = f'<a href="{PREFIX.lstrip("/")}{escape(finding.id)}">{escape(finding.id)}</a>'
    more = f'\n<span class="facts">in {escape(pools)}</span>' if pools else ""
    fix = f'\n<span class="facts">Fix: {escape(finding.fix)}</span>'
    source = f'\n<span class="facts">{escape(finding.source)}</span>'
    return f"<b>{escape(finding.severity)} {link}</b> {escape(finding.message)}{more}{fix}{source}"


def _in_pools(found: Sequence[tuple[PoolStatus, Finding]]) -> str:
    """Return a finding and the pools that have it; of several, that of the first one."""
    names = [f"{pool.pool.name}{f' ({pool.detail})' if pool.detail else ''}" for pool, _ in found]
    more = f" and {len(names) - POOLS_MAX} more" if len(names) > POOLS_MAX else ""
    return _finding(found[0][1], ", ".join(names[:POOLS_MAX]) + more)
