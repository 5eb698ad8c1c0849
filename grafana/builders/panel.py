"""One function per kind of panel, with the choices that all panels of the kind share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self, TypeVar

from grafana_foundation_sdk.builders import common, heatmap, prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import heatmap as heatmap_model
from grafana_foundation_sdk.models import prometheus as prometheus_model

from exporter.catalog import Metric
from grafana.builders import style
from grafana.builders.style import Judgement

Panel = Builder[model.Panel]
SOURCE: Final = common_model.DataSourceRef(type_val="prometheus", uid="${datasource}")


@dataclass(frozen=True, slots=True)
class Text:
    """What a panel says about itself.

    Attributes:
        about: the metric whose help describes it, where it shows one metric; else a sentence.
    """

    title: str
    about: Metric | str

    @property
    def description(self) -> str:
        """The text of the panel's information icon."""
        return self.about.help if isinstance(self.about, Metric) else self.about


@dataclass(frozen=True, slots=True)
class Line:
    """A query over time and the name of what it gives."""

    expression: str
    legend: str


class _Describable(Protocol):
    def title(self, title: str) -> Self: ...
    def description(self, description: str) -> Self: ...
    def no_value(self, no_value: str) -> Self: ...
    def datasource(self, datasource: common_model.DataSourceRef) -> Self: ...


P = TypeVar("P", bound=_Describable)


def described(panel: P, text: Text) -> P:
    """Gives a panel its texts and the data source."""
    return panel.title(text.title).description(text.description).no_value(_NO_DATA).datasource(SOURCE)


_NO_DATA: Final = "no data"
"""Where nothing is known. A query that knows that there is none says so by a series: see `query.none`."""


def instant(expression: str, legend: str = "", *, as_table: bool = False) -> prometheus.Dataquery:
    """A query for now: of what is gone it shows nothing, where one over time would show its last value for ever."""
    target = prometheus.Dataquery().expr(expression).instant().datasource(SOURCE)
    if as_table:
        return target.format(prometheus_model.PromQueryFormat.TABLE)
    return target.legend_format(legend or "__auto")


def over_time(line: Line) -> prometheus.Dataquery:
    """A query over the time shown."""
    return prometheus.Dataquery().expr(line.expression).range().legend_format(line.legend).datasource(SOURCE)


@dataclass(frozen=True, slots=True)
class Scale:
    """How a number is written and judged.

    Attributes:
        judgement: which values are good and bad; without one the number is plain text.
        mappings: values that are shown as words.
        unknown: the colour of no value.
    """

    unit: str = "none"
    judgement: Judgement = ()
    decimals: int | None = None
    mappings: Sequence[model.ValueMapping] = ()
    unknown: str = style.UNKNOWN


def number(text: Text, expression: str, scale: Scale, *, leads: Mapping[str, Any] | None = None) -> Panel:
    """One number, for now: on its colour where it is judged, else as plain text.

    Args:
        text: what it says.
        expression: gives one value without labels, or none.
        scale: of the value.
        leads: where a click leads.
    """
    panel = (
        described(stat.Panel(), text)
        .with_target(instant(expression))
        .unit(scale.unit)
        .mappings(list(scale.mappings))
        .graph_mode(common_model.BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    if scale.judgement or scale.mappings:
        panel = (
            panel.thresholds(style.judged(scale.judgement, fine=style.GOOD, unknown=scale.unknown))
            .color_scheme(build.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
            .color_mode(common_model.BigValueColorMode.BACKGROUND)
        )
    else:
        panel = panel.thresholds(style.unjudged()).color_scheme(_PLAIN).color_mode(common_model.BigValueColorMode.VALUE)
    if leads is not None:
        panel = panel.data_links([build.DashboardLink(leads["title"]).url(leads["url"])])
    return panel if scale.decimals is None else panel.decimals(scale.decimals)


_PLAIN: Final = build.FieldColor().mode(model.FieldColorModeId.FIXED).fixed_color(style.TEXT)


@dataclass(frozen=True, slots=True)
class Look:
    """How lines are drawn.

    Attributes:
        colors: by legend; all others take the palette's.
        limit: a value that is drawn as a line.
        at_least: the axis reaches up to this even where no value does.
        coarse: a point for a minute or more, for ratios and quantiles, which say little about a few tasks.
    """

    colors: Mapping[str, str] | None = None
    stacked: bool = False
    bars: bool = False
    limit: float | None = None
    minimum: float | None = 0
    maximum: float | None = None
    at_least: float | None = None
    coarse: bool = False


def lines(text: Text, queries: Sequence[Line], unit: str, look: Look | None = None) -> Panel:
    """Values over time."""
    look = look or Look()
    panel = (
        described(timeseries.Panel(), text)
        .unit(unit)
        .legend(_legend())
        .tooltip(common.VizTooltipOptions().mode(common_model.TooltipDisplayMode.MULTI).sort(_DESCENDING))
        .line_width(0 if look.stacked else 2)
        .fill_opacity(75 if look.stacked else 0)
        .show_points(common_model.VisibilityMode.NEVER)
        .color_scheme(build.FieldColor().mode(model.FieldColorModeId.PALETTE_CLASSIC))
    )
    if look.stacked:
        panel = panel.stacking(common.StackingConfig().mode(common_model.StackingMode.NORMAL).group("A"))
    if look.bars:
        panel = panel.draw_style(common_model.GraphDrawStyle.BARS).fill_opacity(80)
    panel = panel.thresholds(style.unjudged())
    if look.limit is not None:
        drawn = common.GraphThresholdsStyleConfig().mode(common_model.GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds(style.limit(look.limit)).thresholds_style(drawn)
    if look.minimum is not None:
        panel = panel.min(look.minimum)
    if look.maximum is not None:
        panel = panel.max(look.maximum)
    if look.at_least is not None:
        panel = panel.axis_soft_max(look.at_least)
    for name, color in (look.colors or {}).items():
        panel = panel.override_by_name(name, [fixed(color)])
    if look.coarse:
        panel = panel.interval(_COARSE)
    return panel.targets([over_time(query) for query in queries])


_COARSE: Final = "1m"
_DESCENDING: Final = common_model.SortOrder.DESCENDING


def fixed(color: str) -> model.DynamicConfigValue:
    """A field's property: this colour."""
    return model.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": color})


def _legend() -> common.VizLegendOptions:
    # Below: at the side, it takes half of a panel on a small screen, and more with long names.
    legend = common.VizLegendOptions().show_legend(True)
    return legend.display_mode(common_model.LegendDisplayMode.LIST).placement(common_model.LegendPlacement.BOTTOM)


def timeline(text: Text, query: Line, mappings: Sequence[model.ValueMap]) -> Panel:
    """What each thing was, over time, in words and colours.

    Colours come from the mappings alone: with thresholds Grafana would draw ranges of values, and with a text for
    missing values it would fill the gaps.
    """
    return (
        statetimeline.Panel()
        .title(text.title)
        .description(text.description)
        .datasource(SOURCE)
        .with_target(over_time(query))
        .interval(_COARSE)
        .unit("none")
        .mappings(list(mappings))
        .color_scheme(_PLAIN)
        .legend(_legend())
        .tooltip(common.VizTooltipOptions().mode(common_model.TooltipDisplayMode.SINGLE))
        .show_value(common_model.VisibilityMode.NEVER)
        .row_height(0.8)
        .fill_opacity(90)
    )


def durations(text: Text, buckets: str, scheme: str) -> Panel:
    """How many took how long, over time.

    Args:
        text: what it says.
        buckets: gives the growth of each bucket, by `le`.
        scheme: one of Grafana's colour schemes.
    """
    target = over_time(Line(buckets, "{{le}}")).format(prometheus_model.PromQueryFormat.HEATMAP)
    color = (
        heatmap.HeatmapColorOptions().mode(heatmap_model.HeatmapColorMode.SCHEME).scheme(scheme).exponent(0.5).steps(64)
    )
    return (
        described(heatmap.Panel(), text)
        .with_target(target)
        .interval(_COARSE)
        .unit("s")
        .calculate(False)
        .color(color)
        .y_axis(heatmap.YAxisConfig().unit("s"))
        .cell_values(heatmap.CellValues().unit("short"))
        .tooltip(heatmap.HeatmapTooltip().mode(common_model.TooltipDisplayMode.SINGLE).y_histogram(True))
        .show_legend()
    )
