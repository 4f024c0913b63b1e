"""Colours: thresholds, and the series that look the same on every board. No expression may be here."""

from collections.abc import Mapping, Sequence
from typing import Final

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models.dashboard import (
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
)

GREEN: Final = "green"
YELLOW: Final = "yellow"
ORANGE: Final = "orange"
RED: Final = "red"

Steps = Mapping[float, str]
"""From which value on which colour; below the first it is green."""

FULL: Final[Steps] = {0.5: YELLOW, 0.8: ORANGE, 0.95: RED}
"""The share of a pool, or of a server, that is used."""

EXHAUSTED: Final[Steps] = {0.01: YELLOW, 0.1: ORANGE, 0.5: RED}
"""The fraction of the time without a connection to give. The demo's calm has 0, its burst 0.9, slow queries 1."""

WAITS: Final[Steps] = {0.1: YELLOW, 0.5: ORANGE, 1: RED}
"""Seconds that callers wait."""

NONE_IS_WELL: Final[Steps] = {1: ORANGE}
ANY_IS_A_FAULT: Final[Steps] = {1: RED}

PLAIN: Final[Steps] = {}


def thresholds(steps: Steps, base: str = GREEN) -> build.ThresholdsConfig:
    """Return the thresholds of a panel."""
    first = Threshold(value=None, color=base)
    rest = [Threshold(value=value, color=color) for value, color in steps.items()]
    return build.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps([first, *rest])


def by_thresholds() -> build.FieldColor:
    """Return the setting that colours a value by the thresholds."""
    return build.FieldColor().mode(FieldColorModeId.THRESHOLDS)


Properties = Sequence[DynamicConfigValue]


def color(name: str) -> DynamicConfigValue:
    """Return the override that fixes a series' colour."""
    return DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": name})


def limit_line(name: str = RED) -> Properties:
    """Return the overrides of a limit: a dashed line, above the areas and not stacked on them."""
    return [
        color(name),
        DynamicConfigValue(id_val="custom.fillOpacity", value=0),
        DynamicConfigValue(id_val="custom.lineWidth", value=2),
        DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash", "dash": [8, 8]}),
        DynamicConfigValue(id_val="custom.stacking", value={"mode": "none", "group": "limit"}),
    ]


def thin_line(name: str) -> Properties:
    """Return the overrides of a series for comparison."""
    return [
        color(name),
        DynamicConfigValue(id_val="custom.fillOpacity", value=0),
        DynamicConfigValue(id_val="custom.lineWidth", value=1),
        DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash", "dash": [4, 4]}),
        DynamicConfigValue(id_val="custom.stacking", value={"mode": "none", "group": "thin"}),
    ]


def right_axis(unit: str) -> Properties:
    """Return the overrides of a series with another unit than the rest of its panel."""
    return [
        DynamicConfigValue(id_val="unit", value=unit),
        DynamicConfigValue(id_val="custom.axisPlacement", value="right"),
    ]


Overrides = Mapping[str, Properties]
"""Overrides by the name of a series or a column; a name in slashes is a regular expression."""


def cell(unit: str, steps: Steps, kind: str = "auto", decimals: int | None = None) -> Properties:
    """Return the overrides of a table's column: its unit, its thresholds, and how its cells show them."""
    properties = [
        DynamicConfigValue(id_val="unit", value=unit),
        DynamicConfigValue(id_val="custom.cellOptions", value={"type": kind}),
        DynamicConfigValue(id_val="color", value={"mode": "thresholds"}),
        DynamicConfigValue(id_val="thresholds", value=_threshold_values(steps, _BASES.get(kind, "text"))),
    ]
    if decimals is not None:
        properties.append(DynamicConfigValue(id_val="decimals", value=decimals))
    if kind == "gauge":
        properties += [DynamicConfigValue(id_val="min", value=0), DynamicConfigValue(id_val="max", value=1)]
    return properties


_BASES: Final = {"gauge": GREEN, "color-background": "transparent"}
"""The colour below the first threshold; where it is text, plain text."""


def _threshold_values(steps: Steps, base: str) -> dict[str, object]:
    values = [{"color": base, "value": None}, *({"color": color, "value": at} for at, color in steps.items())]
    return {"mode": "absolute", "steps": values}
