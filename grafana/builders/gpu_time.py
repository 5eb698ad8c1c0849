"""How long GPUs worked, by type and workflow. Part of the dashboard about tasks."""

from dataclasses import replace
from typing import Final

from exporter import catalog
from grafana.builders import links, style
from grafana.builders.common import ALL, FAILED, FEW, TEAM, TRIED, of_status
from grafana.builders.frame import Place
from grafana.builders.grid import COLORED, GPU_MODEL_WIDTH, HIDDEN_JOB, Column, Key, grid
from grafana.builders.grid import TEAM as TEAM_KEY
from grafana.builders.panel import Line, Look, Panel, Text, lines
from grafana.builders.query import HIGHEST, Selector, chosen, labelled, none

SELECT: Final = Selector(("team_name", "workflow_id"))


def places() -> list[Place]:
    """The panels about GPU types, from left to right."""
    return [Place(_execution(), 11, 8), Place(_execution_table(), 13, 8)]


def _execution() -> Panel:
    worked = f"sum by (gpu_type) ({SELECT.rate(catalog.TASK_EXECUTION)})"
    # Grafana would show an empty name in the legend.
    query = Line(chosen(HIGHEST, FEW, labelled(worked, {"gpu_type": "unknown"}), "gpu_type"), "{{gpu_type}}")
    about = (
        "Run time of finished tasks per second, by GPU type: roughly the number of GPUs at work. A task counts when it"
        f" ends. Shows the {FEW} types with {HIGHEST.words}."
    )
    return lines(Text("GPUs at work by type", about), [query], "short", Look(coarse=True))


def _execution_table() -> Panel:
    labels = "gpu_type, target_pool"
    grown = {
        status: SELECT.increase_in_range(catalog.TASK_EXECUTION, of_status(status))
        for status in catalog.FINAL_TASK_STATUSES
    }
    columns = [
        Column(status.capitalize(), f"sum by ({labels}) ({growth}) > 0", unit="s", decimals=1)
        for status, growth in grown.items()
    ]
    nothing = none(SELECT(catalog.TASKS), {"gpu_type": ALL, "target_pool": ALL})
    columns[0] = replace(columns[0], expression=f"{columns[0].expression} or on () {nothing}")
    about = (
        "Run time of the tasks that finished in the time shown, by final status, GPU type and target pool. A name is"
        " missing if the platform does not report it."
    )
    keys = [Key("gpu_type", "GPU type", width=GPU_MODEL_WIDTH), Key("target_pool", "Pool", width=110)]
    text = Text("Run time by GPU type and pool", about)
    return grid(text, keys, columns, sort={"Completed": True})


def workflows() -> Panel:
    """What the time went to."""
    labels = f"{TEAM}, workflow_id"
    finished, failed, tried, worked = (
        f"sum by ({labels}) ({SELECT.increase_in_range(metric, matchers)})"
        for metric, matchers in (
            (catalog.WORKFLOW_TASKS_FINISHED, ""),
            (catalog.WORKFLOW_TASKS_FINISHED, FAILED),
            (catalog.WORKFLOW_TASKS_FINISHED, TRIED),
            (catalog.WORKFLOW_EXECUTION, ""),
        )
    )
    labels_of_none = {"job": ALL, "team_name": ALL, "workflow_id": ALL, "display_name": "none counted"}
    columns = [
        Column(
            "Finished", f"{finished} or on () {none(SELECT(catalog.TASKS), labels_of_none)}", unit="short", decimals=0
        ),
        Column(
            "Failed",
            f"{failed} / ({tried} > 0)",
            unit="percentunit",
            judgement=style.FAILURES,
            cell=COLORED,
            decimals=1,
        ),
        Column("Run time", worked, unit="s", decimals=1),
        Column("Mean run time", f"{worked} / ({finished} > 0)", unit="s", decimals=1),
        Column("Names", SELECT(catalog.WORKFLOW_INFO), shown=False),
    ]
    about = (
        "Tasks that finished in the time shown, by workflow: those with most finished tasks, all others as other. Needs"
        " collect.workflows above 0. A workflow links to itself alone."
    )
    keys = [
        HIDDEN_JOB,
        TEAM_KEY,
        Key("workflow_id", "Workflow", leads=(links.TASKS,), width=325),
        Key("display_name", "Name", width=180),
        Key("workflow_slug", "Slug", width=150),
    ]
    return grid(Text("Workflows", about), keys, columns, sort={"Run time": True, "Finished": True})
