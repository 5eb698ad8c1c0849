"""Which agents work, which do not, and why?"""

from dataclasses import replace
from typing import Final

from exporter import catalog
from grafana.builders import common, inventory, links, style
from grafana.builders.common import AGENT, ALL, TEAM, by_team, free_memory
from grafana.builders.frame import Board, Place, Section
from grafana.builders.grid import AGENT as AGENT_KEY
from grafana.builders.grid import BACKGROUND, COLORED, GAUGE, GPU_MODEL_WIDTH, HIDDEN_JOB, JOB, Column, Key, grid, ratio
from grafana.builders.grid import TEAM as TEAM_KEY
from grafana.builders.panel import Line, Look, Panel, Scale, Text, lines, number, timeline
from grafana.builders.query import LOWEST, Selector, age, longest, none

SELECT: Final = Selector(("team_name", "agent_id"))
_ROWS: Final = 50
"""Of the table. All agents of a large fleet would take half a megabyte at each refresh."""
_BANDS: Final = 30
"""Of the timeline, of which Grafana 11 draws all at once, however many there are."""
_KEYS: Final = (HIDDEN_JOB, TEAM_KEY, AGENT_KEY)
_ALL_AGENTS: Final = {"job": ALL, "team_name": ALL, "agent_id": ALL}


def board() -> Board:
    """The dashboard."""
    return Board(
        uid=links.AGENTS,
        title="Cyberun / Agents",
        answers="Which agents work, which do not, and why?",
        selector=SELECT,
        sections=(
            Section(
                "", [Place(panel, width, 4) for panel, width in zip(_first_row(), (4, 4, 4, 3, 4, 5), strict=True)]
            ),
            Section("Each agent", [Place(_table(), 24, 12), Place(_statuses(), 24, 14)]),
            Section("Load", [Place(_demand(), 12, 8), Place(_use(), 12, 8)]),
            Section("Work done", [Place(_done(), 10, 8), Place(_failures(), 14, 8)]),
            Section("GPU memory", [Place(_memory(), 11, 8), Place(_least_memory(), 13, 8)]),
            Section("Presence", [Place(_heartbeats(), 7, 8), Place(_sessions(), 7, 8), Place(_syncs(), 10, 8)]),
            Section("Inventory", inventory.places()),
        ),
    )


def _with_status(status: str) -> str:
    # From the status of each agent: the fleet's totals cannot be filtered by agent.
    return f"sum({SELECT(catalog.AGENT_STATUS, common.of_status(status))})"


def _first_row() -> tuple[Panel, ...]:
    return (
        number(
            Text("Connected", "Agents that the platform lists now."),
            f"sum({SELECT(catalog.AGENT_CONNECTED)})",
            Scale("short"),
        ),
        number(
            Text(
                "Disconnected", "Agents that are not connected, but expected or connected within collect.agent_memory."
            ),
            f"sum(1 - {SELECT(catalog.AGENT_CONNECTED)})",
            Scale("short", style.ANY_IS_A_WARNING),
        ),
        number(
            Text("Unhealthy", "Connected agents whose health check fails. They take no tasks."),
            _with_status("unhealthy"),
            Scale("short", style.ANY_IS_A_WARNING),
        ),
        number(
            Text("Syncing", "Connected agents that download models. They take no tasks until they have finished."),
            _with_status("syncing"),
            Scale("short"),
        ),
        number(
            Text(
                "Oldest heartbeat",
                "Age of the oldest heartbeat of a connected agent, by the platform's clock. An agent whose heartbeats"
                " stop is about to disconnect.",
            ),
            f"max({age(SELECT(catalog.AGENT_LAST_HEARTBEAT))})",
            Scale("s", style.HEARTBEAT, decimals=0),
        ),
        number(
            Text("Least free GPU memory", "Free share of the memory of the GPU that has the least."),
            free_memory(SELECT, ""),
            Scale("percentunit", style.VRAM_FREE, decimals=1),
        ),
    )


# --- Each agent ---


def _urgent() -> str:
    """The agents in the table: the worst status first, among equals the most recent change."""
    since = f"{SELECT(catalog.AGENT_CONNECTED_SINCE)} or {SELECT(catalog.AGENT_LAST_SEEN)}"
    since = f"({since} or 0 * {SELECT(catalog.AGENT_CONNECTED)})"
    # A time stamp has ten digits, so the status decides first.
    return f"bottomk({_ROWS}, 1e10 * ({common.status_codes(SELECT)}) - on ({AGENT}) {since})"


def _of_urgent(expression: str) -> str:
    return f"({expression}) and on ({AGENT}) {_urgent()}"


def _table() -> Panel:
    running, capacity = SELECT(catalog.AGENT_RUNNING_TASKS), SELECT(catalog.AGENT_GPU_CAPACITY)
    last_heard = f"{age(SELECT(catalog.AGENT_LAST_HEARTBEAT))} or {age(SELECT(catalog.AGENT_LAST_SEEN))}"
    columns = [
        Column("Status", common.status_codes(SELECT), mappings=style.AGENT_STATUS_IN_TABLE, cell=BACKGROUND),
        Column("Last heard", last_heard, unit="s", judgement=style.HEARTBEAT, cell=COLORED, decimals=0),
        Column("Connected for", age(SELECT(catalog.AGENT_CONNECTED_SINCE)), unit="s", decimals=1),
        Column("Running", running, unit="short"),
        Column("Capacity", capacity, unit="short"),
        ratio("In use", f"{running} / ({capacity} > 0)", style.USE),
        ratio("Free VRAM", free_memory(SELECT, AGENT), style.VRAM_FREE),
        Column("Completed", SELECT.increase_in_range(catalog.AGENT_TASKS_COMPLETED), unit="short", decimals=0),
        Column("Information", f"max by ({AGENT}, agent_version) ({SELECT(catalog.AGENT_INFO)})", shown=False),
    ]
    about = (
        f"The {_ROWS} agents that most need attention, the worst status first; choose a team or agents to see others."
        " Last heard: the last heartbeat, or for a disconnected agent when it was last listed. Free VRAM: of its GPU"
        " that has the least. Completed: in the time shown. An agent links to itself alone."
    )
    keys = [JOB, TEAM_KEY, AGENT_KEY, Key("agent_version", "Version", width=75)]
    bounded = [replace(column, expression=_of_urgent(column.expression)) for column in columns]
    return grid(Text("Agents", about), keys, bounded, sort={"Status": False, "Last heard": True})


def _statuses() -> Panel:
    out_of_service = f"1 - ({common.ready(SELECT)})"
    about = (
        f"The {_BANDS} agents that were neither idle nor busy for the longest in the time shown. Rows that turn red"
        " together share a cause, such as a site or a network; a single row that keeps changing is a faulty machine."
    )
    chosen = longest(_BANDS, common.status_codes(SELECT), out_of_service, AGENT)
    all_in_service = none(
        SELECT(catalog.AGENT_CONNECTED), {"team_name": ALL, "agent_id": "in service"}, f"{style.IN_SERVICE_CODE}"
    )
    query = Line(f"{chosen} or on () {all_in_service}", "{{team_name}} / {{agent_id}}")
    return timeline(Text("Status of the agents longest out of service", about), query, style.AGENT_STATUS)


# --- Load ---


def _demand() -> Panel:
    queries = [
        Line(f"sum({SELECT(catalog.AGENT_GPU_CAPACITY)})", "capacity"),
        Line(f"sum({SELECT(catalog.AGENT_RUNNING_TASKS)})", "running"),
    ]
    about = "Capacity of the chosen agents and the tasks running on them. If more run than fit, a number is wrong."
    colors = {"capacity": "blue", "running": "green"}
    return lines(Text("Running tasks against capacity", about), queries, "short", Look(colors=colors))


def _use() -> Panel:
    running = f"sum by ({TEAM}) ({SELECT(catalog.AGENT_RUNNING_TASKS)})"
    capacity = f"sum by ({TEAM}) ({SELECT(catalog.AGENT_GPU_CAPACITY)})"
    about = "Running tasks as a share of the capacity of each team's agents. A team far above the others lacks GPUs."
    text = Text("Capacity in use by team", about)
    return by_team(text, f"{running} / ({capacity} > 0)", "percentunit", Look(at_least=1, coarse=True))


def _done() -> Panel:
    about = (
        "The agents that completed most tasks in the time shown, by their own counts, which restart at 0 when they"
        " reconnect."
    )
    done = f"topk({common.FEW}, {SELECT.increase_in_range(catalog.AGENT_TASKS_COMPLETED)})"
    columns = [Column("Completed", done, unit="short", decimals=0, cell=GAUGE, color=style.BAR)]
    return grid(Text("Most productive agents", about), _KEYS, columns, sort={"Completed": True})


def _failures() -> Panel:
    failed = SELECT.increase_in_range(catalog.AGENT_TASKS_FAILED)
    completed = SELECT.increase_in_range(catalog.AGENT_TASKS_COMPLETED)
    most = f"topk({common.FEW}, {failed} > 0)"
    no_agent = none(SELECT(catalog.AGENT_CONNECTED), _ALL_AGENTS)
    columns = [
        Column("Failed", f"{most} or on () {no_agent}", unit="short", decimals=0, cell=GAUGE, color=style.BAD),
        Column("Completed", f"{completed} and on ({AGENT}) {most}", unit="short", decimals=0),
        Column(
            "Share failed",
            f"({failed} / ({failed} + {completed})) and on ({AGENT}) {most}",
            unit="percentunit",
            judgement=style.FAILURES,
            cell=COLORED,
            decimals=0,
        ),
    ]
    about = (
        "The agents on which most tasks failed in the time shown. An agent whose share is far above the others' fails"
        " tasks that other agents would complete."
    )
    return grid(Text("Failing agents", about), _KEYS, columns, sort={"Failed": True})


# --- GPU memory ---


def _memory() -> Panel:
    about = "Free share of the memory of each team's GPU that has the least."
    look = Look(maximum=1, coarse=True)
    return by_team(Text("Least free GPU memory by team", about), free_memory(SELECT, TEAM), "percentunit", look, LOWEST)


def _least_memory() -> Panel:
    about = f"The {common.FEW} GPUs with the least free memory. Tasks that need large models fail there first."
    free = f"bottomk({common.FEW}, {free_memory(SELECT, f'{AGENT}, gpu')})"
    columns = [
        ratio("Free", free, style.VRAM_FREE),
        Column(
            "Model",
            f"max by ({AGENT}, gpu, device_name) ({SELECT(catalog.AGENT_GPU_INFO)}) and on ({AGENT}, gpu) {free}",
            shown=False,
        ),
    ]
    keys = [*_KEYS, Key("gpu", "GPU"), Key("device_name", "Model", width=GPU_MODEL_WIDTH)]
    return grid(Text("GPUs with the least free memory", about), keys, columns, sort={"Free": False})


# --- Presence ---


def _heartbeats() -> Panel:
    about = (
        "Age of the oldest heartbeat of each team's connected agents. A line that keeps rising is an agent that is"
        " about to disconnect."
    )
    oldest = f"max by ({TEAM}) ({age(SELECT(catalog.AGENT_LAST_HEARTBEAT))})"
    return by_team(Text("Oldest heartbeat by team", about), oldest, "s", Look(limit=300, coarse=True))


def _sessions() -> Panel:
    about = "Age of each team's newest connection. It drops to 0 whenever an agent reconnects."
    youngest = f"min by ({TEAM}) ({age(SELECT(catalog.AGENT_CONNECTED_SINCE))})"
    return by_team(Text("Newest connection by team", about), youngest, "s", Look(coarse=True), LOWEST)


def _syncs() -> Panel:
    progress = f"bottomk({_ROWS}, {SELECT(catalog.AGENT_SYNC)})"
    no_agent = none(SELECT(catalog.AGENT_CONNECTED), _ALL_AGENTS | {"phase": "no sync"}, "1")
    keys = [*_KEYS, Key("phase", "Phase", width=110)]
    columns = [ratio("Progress", f"{progress} or on () {no_agent}")]
    text = Text("Files being synced", catalog.AGENT_SYNC)
    return grid(text, keys, columns, sort={"Progress": False})
