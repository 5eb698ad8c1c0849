"""The alerts that fire, for whoever looks at a dashboard first.

Prometheus records them as `ALERTS`: no target exposes it, and these alerts have no label `instance`.
"""

from typing import Final

from grafana.builders import links, style
from grafana.builders.common import ALL
from grafana.builders.grid import AGENT, COLORED, JOB, TEAM, Column, Key, grid
from grafana.builders.panel import Panel, Scale, Text, number
from grafana.builders.query import labelled, none

RUNBOOKS: Final = "https://github.com/cyberun-cloud/cyberun-exporter/blob/main/docs/runbooks"
"""As in the rules. To keep the runbooks elsewhere, replace it in both; the chart does so by itself."""
PANEL: Final = 8
"""The id of the table on the Overview, after six numbers and a heading."""

# An alert about an exporter has no team; one about the absence of all exporters has no job either.
_OURS: Final = 'alertname=~"Cyberun.+", job=~"|$job", team_name=~"|$team_name"'
_FIRING: Final = f'ALERTS{{alertstate="firing", {_OURS}}}'
_KEYS: Final = "job, team_name, agent_id, alertname"
# Recorded by the same rules: without it, nothing is known about alerts.
_RECORDED: Final = 'collector:cyberun_collector_last_success_timestamp_seconds:intervals_ago{job=~"$job"}'
_LOADED: Final = f"last_over_time({_RECORDED}[1h])"


def number_firing() -> Panel:
    """Whether the rules say that something is wrong."""
    about = (
        "Firing alerts of this exporter's rules, including silenced ones. No data if this Prometheus does not evaluate"
        " the rules."
    )
    expression = f"count({_FIRING}) or {none(_LOADED)}"
    leads = links.panel(links.OVERVIEW, PANEL, "Show the alerts")
    return number(Text("Firing alerts", about), expression, Scale("none", style.ANY_IS_A_WARNING), leads=leads)


def firing() -> Panel:
    """What to do about it."""
    severity = " or ".join(
        f'{code} * (max by ({_KEYS}) ({_FIRING[:-1]}, severity="{name}"}}) == 1)'
        for name, code in style.SEVERITY_CODES.items()
    )
    since = f"max by ({_KEYS}) (ALERTS_FOR_STATE{{{_OURS}}}) and on ({_KEYS}) {_FIRING}"
    quiet = none(_LOADED, value=f"{style.NONE_FIRING}")
    columns = [
        Column("Severity", _named(f"{severity} or on () {quiet}"), mappings=style.SEVERITY, cell=COLORED),
        Column("For", _named(f"time() - ({since})"), unit="s", decimals=1),
    ]
    keys = [
        JOB,
        TEAM,
        AGENT,
        Key("alertname", "Alert", width=270, url=f"{RUNBOOKS}/${{__value.raw}}.md"),
    ]
    about = (
        "Firing alerts of this exporter's rules, the most severe first. An alert links to its runbook, a team or an"
        " agent to its dashboards."
    )
    return grid(Text("Firing alerts and their runbooks", about), keys, columns, sort={"Severity": False, "For": True})


def _named(expression: str) -> str:
    # An alert that is not about one of them is about all: a link to no agent would lead to an empty dashboard.
    return labelled(expression, {"job": ALL, "team_name": ALL, "agent_id": ALL})
