"""What a PromQL expression asks for: selectors with labels, calls and aggregations, from a real parser.

Grafana's variables are put into an expression before it is parsed, as Grafana would; nothing here knows a board.
"""

import re
from collections.abc import Iterator
from typing import Any

import promql_parser

VARIABLES = {"$__rate_interval": "1m", "$__range": "1h", "$__interval": "15s"}


def filled(expression: str, **variables: str) -> str:
    """Return the expression with a value for every variable: `.+` for those of a board."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, variables.get(name.removeprefix("$"), value))
    return re.sub(r"\$\{?(\w+)\}?", lambda found: variables.get(found[1], ".+"), expression)


def parsed(expression: str) -> Any:
    """Return the syntax tree; ValueError if it is not PromQL."""
    return promql_parser.parse(filled(expression))


def nodes(tree: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Yield each node of the tree, with the nodes above it, the nearest last."""
    yield tree, above
    for child in _children(tree):
        yield from nodes(child, (*above, tree))


def _children(node: Any) -> list[Any]:
    if isinstance(node, promql_parser.BinaryExpr):
        return [node.lhs, node.rhs]
    if isinstance(node, promql_parser.Call):
        return list(node.args)
    if isinstance(node, promql_parser.MatrixSelector):
        return [node.vector_selector]
    if isinstance(node, promql_parser.AggregateExpr | promql_parser.ParenExpr | promql_parser.UnaryExpr):
        return [node.expr]
    return [node.expr] if isinstance(node, promql_parser.SubqueryExpr) else []


def selectors(expression: str) -> list[tuple[str, list[Any], tuple[Any, ...]]]:
    """Return each selector: the metric's name, its matchers, and the nodes above it."""
    return [
        (str(node.name), list(node.matchers.matchers), above)
        for node, above in nodes(parsed(expression))
        if isinstance(node, promql_parser.VectorSelector)
    ]


def kept_labels(expression: str) -> set[str]:
    """Return the labels that any aggregation or matching of the expression names."""
    found: set[str] = set()
    for node, _ in nodes(parsed(expression)):
        modifier = getattr(node, "modifier", None)
        if isinstance(node, promql_parser.AggregateExpr) and modifier is not None:
            found |= set(modifier.labels)
        if isinstance(node, promql_parser.BinaryExpr) and modifier is not None and modifier.matching is not None:
            found |= set(modifier.matching.labels)
    return found
