"""Numbers and names in an alert's text besides its value: queries that Prometheus evaluates when it sends the alert.

No threshold may be here, and no name of a metric.
"""

from collections.abc import Sequence
from typing import Final

from grafana.promql import INSTANCE, JOB, POOL, name

_QUOTED: Final = "%q"


def at_pool(field: str, part: str = "") -> str:
    """Return the selector of a metric's series of the alert's job and pool, for `asked`."""
    return _selector(field, part, (JOB, POOL))


def at_instance(field: str, part: str = "") -> str:
    """Return the selector of a metric's series of the alert's job, instance and pool, for `asked`."""
    return _selector(field, part, (JOB, INSTANCE, POOL))


def asked(expression: str, form: str) -> str:
    """Return the template of the first number that *expression* gives; of "unknown" where it gives none.

    Args:
        expression: A query with one selector of `at_pool` or `at_instance`.
        form: The function of Prometheus' templates that formats the number.
    """
    return _first(expression, f"value | {form}")


def instance_with_most(expression: str) -> str:
    """Return the template of the instance for which *expression* gives most; of "unknown" where it gives none.

    Args:
        expression: A query with one selector of `at_pool`, whose series have the label `instance`.
    """
    return _first(f"topk(1, sum by ({INSTANCE}) ({expression}))", f'label "{INSTANCE}"')


def seconds_of_label(selector: str, label: str) -> str:
    """Return the template of the duration in a *label* of an info metric; of "unknown" where it is missing or empty.

    Args:
        selector: A selector of `at_pool`.
        label: The label, which has a number of seconds.
    """
    template = _first(selector, f'label "{label}"')
    return template.replace("{{ . |", "{{ with . |").replace(
        "}}{{ else }}", "}}{{ . | humanizeDuration }}{{ else }}unknown{{ end }}{{ else }}"
    )


def _first(expression: str, form: str) -> str:
    before, labels, after = expression.split(_MARK)
    query = f"{before}{after}".replace('"', '\\"')
    arguments = " ".join(f"$labels.{label}" for label in labels.split(","))
    found = f"{{{{ . | first | {form} }}}}"
    return f'{{{{ with printf "{query}" {arguments} | query }}}}{found}{{{{ else }}}}unknown{{{{ end }}}}'


_MARK: Final = "\0"


def _selector(field: str, part: str, labels: Sequence[str]) -> str:
    matchers = ",".join(f"{label}={_QUOTED}" for label in labels)
    return f"{name(field, part)}{{{matchers}}}{_MARK}{','.join(labels)}{_MARK}"
