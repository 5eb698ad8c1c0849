"""What the alert rules say, for whoever looks at a dashboard first.

`ALERTS` is what Prometheus records about its rules. No target exposes it, and alerts drop the label `instance`.
"""

from typing import Final

from grafana.builders import links, style
from grafana.builders.grid import COLORED, JOB, TEAM, Column, Key, grid
from grafana.builders.panel import Panel, Scale, Text, number

RUNBOOKS: Final = "https://github.com/cyberun-cloud/cyberun-exporter/blob/main/docs/runbooks"
"""As in the rules; who keeps the runbooks elsewhere replaces it in both. The chart does it by itself."""
PANEL: Final = 8
"""The id of the table on the Overview: behind six numbers and a heading."""

# An alert about an exporter has no team, and one about the absence of all has no job either.
_OURS: Final = 'alertname=~"Cyberun.+", job=~"|$job", team_name=~"|$team_name"'
_FIRING: Final = f'ALERTS{{alertstate="firing", {_OURS}}}'
_KEYS: Final = "job, team_name, agent_id, alertname"
# A recording of the rules: where it is missing, so are the alerts.
_LOADED: Final = 'collector:cyberun_collector_last_success_timestamp_seconds:intervals_ago{job=~"$job"}'


def number_firing() -> Panel:
    """Whether the rules say that something is wrong."""
    about = (
        "Alerts of this project's rules that fire, as Prometheus evaluates them, silenced ones included."
        " No number means that this Prometheus has no such rules."
    )
    expression = f"count({_FIRING}) or 0 * count(last_over_time({_LOADED}[1h]))"
    leads = links.panel(links.OVERVIEW, PANEL, "Show the alerts")
    return number(
        Text("Firing alerts", about, empty="no rules"), expression, Scale("none", style.ANY_IS_A_WARNING), leads=leads
    )


def firing() -> Panel:
    """What to do about it."""
    severity = " or ".join(
        f'{code} * (max by ({_KEYS}) ({_FIRING[:-1]}, severity="{name}"}}) == 1)'
        for name, code in style.SEVERITY_CODES.items()
    )
    since = f"max by ({_KEYS}) (ALERTS_FOR_STATE{{{_OURS}}}) and on ({_KEYS}) {_FIRING}"
    columns = [
        Column("Severity", severity, mappings=style.SEVERITY, cell=COLORED),
        Column("For", f"time() - ({since})", unit="s", decimals=1),
    ]
    keys = [
        JOB,
        TEAM,
        Key("agent_id", "Agent", leads=(links.AGENTS,)),
        Key("alertname", "Alert", width=280, url=f"{RUNBOOKS}/${{__value.raw}}.md"),
    ]
    about = (
        "Alerts of this project's rules that fire, the most severe first. A click on one opens its runbook, a click on"
        " a team or an agent what is known about it."
    )
    text = Text("Firing alerts and their runbooks", about, empty="none known")
    return grid(text, keys, columns, sort={"Severity": False, "For": True})
