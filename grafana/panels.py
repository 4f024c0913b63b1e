"""The kinds of panels: each has a description, a unit, thresholds, a legend that is shown, and the board's data source.

A panel is made of a Card, its texts and size, and of Lines, its queries. No query and no order of panels may be here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    DataSourceRef,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    ScaleDistribution,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.paint import GREEN, PLAIN, Overrides, Steps, by_thresholds, thresholds

SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")

Panel = timeseries.Panel | stat.Panel | table.Panel | heatmap.Panel | statetimeline.Panel | bargauge.Panel
_WIDE: Final = 12
"""From this width on, in columns of 24, there is room for values in the legend."""

_COLUMN_PIXELS: Final = 70

_SOFT_MAX: Final = {units.Short: 1, units.OpsPerSecond: 0.1, units.RequestsPerSecond: 0.1}
"""The least end of an axis; without it, the axis of a line at 0 would reach to 100."""

_P = TypeVar("_P", timeseries.Panel, stat.Panel, table.Panel, heatmap.Panel, statetimeline.Panel, bargauge.Panel)


@dataclass(frozen=True)
class Card:
    """Texts and style of a panel: title, what it shows, what is normal, what to do otherwise, unit, size."""

    title: str
    shows: str
    normal: str
    act: str
    unit: str = units.Short
    steps: Steps = field(default_factory=lambda: PLAIN)
    width: int = 8
    height: int = 8
    top: float | None = None

    @property
    def description(self) -> str:
        """The text behind the panel's "i"."""
        return f"{self.shows}\n\n**Normal:** {self.normal}\n\n**Otherwise:** {self.act}"


@dataclass(frozen=True)
class Line:
    """One query: its expression, and the legend of what it gives."""

    expression: str
    legend: str = "__auto"
    exemplar: bool = False


def graph(card: Card, *lines: Line, overrides: Overrides | None = None, is_stacked: bool = False) -> timeseries.Panel:
    """Return lines over time, or areas on top of each other."""
    panel = _framed(timeseries.Panel(), card).legend(_legend(card)).tooltip(_tooltip())
    panel = panel.show_points(VisibilityMode.AUTO).line_width(1).fill_opacity(30 if is_stacked else 8).min(0)
    if is_stacked:
        panel = panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))
    if card.unit in _SOFT_MAX:
        panel = panel.axis_soft_max(_SOFT_MAX[card.unit])
    if card.steps:
        panel = panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED))
        panel = panel.thresholds(thresholds(card.steps, "transparent"))
    for line in lines:
        panel = panel.with_target(_query(line).range())
    return _overridden(panel, overrides or {})


def number(card: Card, line: Line) -> stat.Panel:
    """Return one number, coloured by its thresholds."""
    panel = _framed(stat.Panel(), card).color_scheme(by_thresholds()).no_value("–")
    panel = panel.color_mode(BigValueColorMode.VALUE).graph_mode(BigValueGraphMode.NONE)
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    return panel.with_target(_query(line).instant())


def timeline(card: Card, *lines: Line, base: str = GREEN) -> statetimeline.Panel:
    """Return one coloured bar for each series, over time."""
    panel = _framed(statetimeline.Panel(), card).color_scheme(by_thresholds())
    panel = panel.show_value(VisibilityMode.NEVER).row_height(0.85).line_width(0).fill_opacity(75).merge_values(True)
    panel = panel.legend(_legend(card)).tooltip(_tooltip()).thresholds(thresholds(card.steps, base))
    for line in lines:
        panel = panel.with_target(_query(line).range())
    return panel


def distribution(card: Card, line: Line) -> heatmap.Panel:
    """Return a heatmap of a histogram's buckets."""
    panel = _framed(heatmap.Panel(), card).calculate(False)
    color = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64).exponent(0.4)
    panel = panel.color(color).y_axis(heatmap.YAxisConfig().unit(card.unit)).cell_gap(1).show_legend()
    panel = panel.scale_distribution(common.ScaleDistributionConfig().type(ScaleDistribution.LINEAR))
    panel = panel.tooltip(heatmap.HeatmapTooltip().mode(TooltipDisplayMode.SINGLE).y_histogram(True))
    return panel.with_target(_query(line).format(PromQueryFormat.HEATMAP).range())


def bars(card: Card, *lines: Line) -> bargauge.Panel:
    """Return one bar for each series, as long as its value."""
    panel = _framed(bargauge.Panel(), card).color_scheme(by_thresholds()).orientation(VizOrientation.HORIZONTAL)
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"])).min(0)
    for line in lines:
        panel = panel.with_target(_query(line).instant())
    return panel


def rows(
    card: Card, labels: Sequence[str], columns: Mapping[str, Line], overrides: Overrides, hidden: Sequence[str] = ()
) -> table.Panel:
    """Return a table with a row for each set of labels, and a column for each query, after the labels."""
    panel = _framed(table.Panel(), card).filterable(True).min_width(_COLUMN_PIXELS)
    for ref_id, line in columns.items():
        query = prometheus.Dataquery().expr(line.expression).format(PromQueryFormat.TABLE).instant().datasource(SOURCE)
        panel = panel.with_target(query.ref_id(ref_id))
    names = {f"Value #{ref_id}": line.legend for ref_id, line in columns.items()}
    if len(columns) == 1:
        names["Value"] = next(iter(columns.values())).legend
    panel = panel.with_transformation(DataTransformerConfig(id_val="merge", options={}))
    excluded = dict.fromkeys(("Time", *hidden), True)
    order = {name: place for place, name in enumerate(dict.fromkeys((*labels, *names)))}
    options = {"excludeByName": excluded, "renameByName": names, "indexByName": order}
    panel = panel.with_transformation(DataTransformerConfig(id_val="organize", options=options))
    return _overridden(panel, overrides)


def sorted_by(panel: table.Panel, *columns: str) -> table.Panel:
    """Return the table with its rows ordered by *columns*, the first before the others; the largest value is first."""
    return panel.sort_by([common.TableSortByFieldState().display_name(column).desc(True) for column in columns])


def _framed(panel: _P, card: Card) -> _P:
    panel = panel.title(card.title).description(card.description).datasource(SOURCE).unit(card.unit)
    panel = panel.span(card.width).height(card.height).thresholds(thresholds(card.steps))
    return panel if card.top is None else panel.max(card.top)


def _query(line: Line) -> prometheus.Dataquery:
    query = prometheus.Dataquery().expr(line.expression).legend_format(line.legend).datasource(SOURCE)
    return query.exemplar(True) if line.exemplar else query


def _legend(card: Card) -> common.VizLegendOptions:
    legend = common.VizLegendOptions().show_legend(True).placement(LegendPlacement.BOTTOM)
    return legend.display_mode(LegendDisplayMode.LIST).calcs(["lastNotNull"] if card.width >= _WIDE else [])


def _tooltip() -> common.VizTooltipOptions:
    return common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)


def _overridden(panel: _P, overrides: Overrides) -> _P:
    for name, properties in overrides.items():
        if name.startswith("/"):
            panel = panel.override_by_regexp(name, list(properties))
        else:
            panel = panel.override_by_name(name, list(properties))
    return panel
