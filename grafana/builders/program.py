"""The exporters as processes: versions, configuration, memory. Part of the dashboard about the exporter."""

from typing import Final

from exporter import catalog
from exporter.catalog import Metric
from grafana.builders import style
from grafana.builders.frame import Place
from grafana.builders.grid import BACKGROUND, COLORED, JOB, Column, Key, grid
from grafana.builders.panel import Line, Look, Panel, Text, lines
from grafana.builders.query import (
    PROCESS_CPU,
    PROCESS_MEMORY,
    PROCESS_START,
    RATE,
    Selector,
    age,
    foreign,
    of_exporters,
)

SELECT: Final = Selector(("team_name",))
_INSTANCE: Final = "{{instance}}"


def places() -> list[Place]:
    """The panels, from left to right."""
    return [Place(_builds(), 24, 5), Place(_series(), 8, 7), Place(_memory(), 8, 7), Place(_cpu(), 8, 7)]


def _builds() -> Panel:
    each = "job, instance"
    columns = [
        Column(
            "Build",
            f"max by ({each}, version, revision, python_version) ({SELECT.each(catalog.BUILD_INFO)})",
            shown=False,
        ),
        Column("Running for", f"max by ({each}) ({of_exporters(age(foreign(PROCESS_START)))})", unit="s", decimals=1),
        Column(
            "Configuration",
            f"min by ({each}) ({SELECT.each(catalog.CONFIG_RELOAD_SUCCESSFUL)})",
            mappings=style.FAILING_ONLY,
            cell=BACKGROUND,
        ),
        Column(
            "Configuration read",
            f"max by ({each}) ({age(SELECT.each(catalog.CONFIG_RELOAD_SUCCESS))})",
            unit="s",
            decimals=1,
        ),
        _count("Internal errors", catalog.INTERNAL_ERRORS),
        _count("Log lines lost", catalog.LOG_LINES_DROPPED),
    ]
    titles = {"instance": "Instance", "version": "Version", "revision": "Revision", "python_version": "Python"}
    about = (
        "Each exporter: its version, how long it has been running, and whether its last attempt to load its"
        " configuration succeeded; its internal errors and lost log lines in the time shown."
    )
    keys = [JOB, *(Key(label, title) for label, title in titles.items())]
    return grid(Text("Exporters", about), keys, columns, sort={"Configuration": False, "Instance": False})


def _count(title: str, metric: Metric) -> Column:
    """How much the counter of each exporter rose in the time shown."""
    rise = f"sum by (job, instance) ({SELECT.increase_in_range(metric)})"
    return Column(title, rise, unit="short", judgement=style.ANY_IS_A_WARNING, cell=COLORED, decimals=0)


def _series() -> Panel:
    queries = [
        Line(f"sum({SELECT(catalog.SERIES)})", "served"),
        Line(f"sum({SELECT(catalog.SERIES_DROPPED)}) > 0", "left out"),
    ]
    about = "Series about the teams' tasks and agents, and those left out because a limit was reached."
    colors = {"served": "blue", "left out": "red"}
    return lines(Text("Series", about), queries, "short", Look(colors=colors))


def _memory() -> Panel:
    text = Text("Memory", "Resident memory of each exporter. A line that never stops rising is a leak.")
    return lines(text, [Line(of_exporters(foreign(PROCESS_MEMORY)), _INSTANCE)], "bytes")


def _cpu() -> Panel:
    text = Text("CPU", "CPU time of each exporter, in cores. Near 1, polls and scrapes have to wait.")
    return lines(text, [Line(of_exporters(f"rate({foreign(PROCESS_CPU)}[{RATE}])"), _INSTANCE)], "none")
