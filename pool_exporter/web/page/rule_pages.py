"""The rules of `check` over HTTP: `/-/checks/P13`, as Markdown. `runbooks` makes a page of it for browsers.

The texts are those of the rules themselves; docs/checks has the same. No value of an application may be here.
"""

from typing import Final

from pool_exporter.advice.checks.rule import Rule
from pool_exporter.advice.checks.rules import RULES

PREFIX: Final = "/-/checks/"
"""The path of all rules; that of one is followed by its id, with or without `.md`."""

_BY_ID: Final = {rule.id: rule for rule in RULES}


def text(path: str) -> str | None:
    """Return the rule at a path of a URL, as Markdown; for PREFIX itself the list of all.

    Args:
        path: The path below the place where the pages are mounted.

    Returns:
        The text, or None if the path is not that of a rule.
    """
    if not path.startswith(PREFIX):
        return None
    name = path.removeprefix(PREFIX)
    if not name:
        return "# Checks of the configuration\n\n" + "".join(
            f"- [{rule.id}]({rule.id}): {rule.title}\n" for rule in RULES
        )
    rule = _BY_ID.get(name.removesuffix(".md"))
    return None if rule is None else page_of(rule)


def page_of(rule: Rule) -> str:
    """Return the page of a rule, as Markdown."""
    return f"""# {rule.id}: {rule.title}

Severity: {rule.severity}.

**Why.** {rule.why}

**Fix.** {rule.fix}

**Not found for.** {rule.guard}

**Source.** {rule.source}.

Leave it out by `pool_exporter.check(engine, silence=["{rule.id}"])`, `pool-exporter check --silence {rule.id}`,
or everywhere by `POOL_EXPORTER_SILENCE={rule.id}`.
"""
