"""Which agents work, which do not, and why?"""

from dataclasses import replace
from typing import Final

from exporter import catalog
from grafana.builders import common, links, style
from grafana.builders.common import AGENT, TEAM, by_team, free_memory
from grafana.builders.frame import Board, Place, Section
from grafana.builders.grid import BACKGROUND, COLORED, GAUGE, HIDDEN_JOB, JOB, Column, Key, grid
from grafana.builders.grid import TEAM as TEAM_KEY
from grafana.builders.panel import Line, Look, Panel, Scale, Text, lines, number, timeline
from grafana.builders.query import RANGE, Selector, age, longest

SELECT: Final = Selector(("team_name", "agent_id"))
_ROWS: Final = 50
"""Of the table. All agents of a large fleet would be half a megabyte at each refresh."""
_BANDS: Final = 30
"""Of the timeline, which Grafana draws on one page, however many there are."""
_AGENT_KEY: Final = Key("agent_id", "Agent", leads=(links.AGENTS,))
_KEYS: Final = (HIDDEN_JOB, TEAM_KEY, _AGENT_KEY)


def board() -> Board:
    """The dashboard."""
    return Board(
        uid=links.AGENTS,
        title="Cyberun / Agents",
        answers="Which agents work, which do not, and why?",
        selector=SELECT,
        sections=(
            Section("", [Place(panel, 4, 4) for panel in _first_row()]),
            Section("Each agent", [Place(_table(), 24, 12), Place(_statuses(), 24, 14)]),
            Section("Load", [Place(_demand(), 12, 8), Place(_use(), 12, 8)]),
            Section("Work done", [Place(_done(), 10, 8), Place(_failures(), 14, 8)]),
            Section("GPU memory", [Place(_memory(), 12, 8), Place(_least_memory(), 12, 8)]),
            Section("Presence", [Place(_heartbeats(), 8, 8), Place(_sessions(), 8, 8), Place(_syncs(), 8, 8)]),
            Section("Inventory", [Place(_versions(), 12, 8), Place(_cards(), 6, 8), Place(_labels(), 6, 8)]),
        ),
    )


def _with_status(status: str) -> str:
    # The status series of the chosen agents, since the fleet's totals know no agent.
    return f"sum({SELECT(catalog.AGENT_STATUS, common.of_status(status))})"


def _first_row() -> tuple[Panel, ...]:
    return (
        number(Text("Connected", catalog.AGENT_CONNECTED), f"sum({SELECT(catalog.AGENT_CONNECTED)})", Scale("short")),
        number(
            Text("Disconnected", "Agents that are expected or were connected a while ago."),
            f"sum(1 - {SELECT(catalog.AGENT_CONNECTED)})",
            Scale("short", style.ANY_IS_A_WARNING),
        ),
        number(
            Text("Unhealthy", "Connected agents whose health check fails: they take no tasks."),
            _with_status("unhealthy"),
            Scale("short", style.ANY_IS_A_WARNING),
        ),
        number(
            Text("Syncing", "Connected agents that fetch models: they take no tasks until done."),
            _with_status("syncing"),
            Scale("short"),
        ),
        number(
            Text(
                "Oldest heartbeat",
                "Of the connected agents, by the platform's clock. One that grows old is about to be lost.",
            ),
            f"max({age(SELECT(catalog.AGENT_LAST_HEARTBEAT))})",
            Scale("s", style.HEARTBEAT, decimals=0),
        ),
        number(
            Text("Least free GPU memory", "Free memory of the GPU that has the least, as a share of its size."),
            free_memory(SELECT, ""),
            Scale("percentunit", style.VRAM_FREE, decimals=1),
        ),
    )


# --- Each agent ---


def _urgent() -> str:
    """The agents of the table's rows: by status, the worst first; among equals, those whose state is youngest."""
    since = f"{SELECT(catalog.AGENT_CONNECTED_SINCE)} or {SELECT(catalog.AGENT_LAST_SEEN)}"
    since = f"({since} or 0 * {SELECT(catalog.AGENT_CONNECTED)})"
    # A time stamp has ten digits, so the status counts first.
    return f"bottomk({_ROWS}, 1e10 * ({common.status_codes(SELECT)}) - on ({AGENT}) {since})"


def _of_urgent(expression: str) -> str:
    return f"({expression}) and on ({AGENT}) {_urgent()}"


def _table() -> Panel:
    running, capacity = SELECT(catalog.AGENT_RUNNING_TASKS), SELECT(catalog.AGENT_GPU_CAPACITY)
    columns = [
        Column("Status", common.status_codes(SELECT), mappings=style.AGENT_STATUS, cell=BACKGROUND, width=110),
        Column("Running", running, unit="short"),
        Column("Capacity", capacity, unit="short"),
        Column(
            "In use",
            f"{running} / ({capacity} > 0)",
            unit="percentunit",
            judgement=style.USE,
            cell=GAUGE,
            maximum=1,
            decimals=0,
        ),
        Column(
            "Least free VRAM",
            free_memory(SELECT, AGENT),
            width=125,
            unit="percentunit",
            judgement=style.VRAM_FREE,
            cell=GAUGE,
            maximum=1,
            decimals=0,
        ),
        Column(
            "Heartbeat",
            age(SELECT(catalog.AGENT_LAST_HEARTBEAT)),
            unit="s",
            judgement=style.HEARTBEAT,
            cell=COLORED,
            decimals=0,
        ),
        Column("Last seen", age(SELECT(catalog.AGENT_LAST_SEEN)), unit="s", decimals=0),
        Column("Connected for", age(SELECT(catalog.AGENT_CONNECTED_SINCE)), unit="s", decimals=1, width=115),
        Column(
            "Completed",
            SELECT.increase(catalog.AGENT_TASKS_COMPLETED, over=RANGE),
            unit="short",
            decimals=0,
        ),
        Column("Information", f"max by ({AGENT}, agent_version) ({SELECT(catalog.AGENT_INFO)})", shown=False),
    ]
    about = (
        f"Those that need attention first, {_ROWS} at most: choose a team or agents to see others. Completed tasks are"
        " those within the time shown. A disconnected agent has only a last-seen time. A click shows it alone."
    )
    keys = [JOB, replace(TEAM_KEY, width=105), replace(_AGENT_KEY, width=160), Key("agent_version", "Version")]
    bounded = [replace(column, expression=_of_urgent(column.expression)) for column in columns]
    return grid(Text("Agents", about), keys, bounded, sort={"Status": False, "Last seen": True})


def _statuses() -> Panel:
    connected = SELECT(catalog.AGENT_CONNECTED)
    ready = f"max by ({AGENT}) ({SELECT.each(catalog.AGENT_STATUS, common.READY)})"
    # An agent that is away has no status, and is out of service all the same.
    absent = f"1 - ({ready} or 0 * {connected})"
    about = (
        f"The {_BANDS} agents that were out of service for longest. Rows that turn red together share a cause,"
        " such as a site or a network; one row that keeps changing is one bad machine."
    )
    query = Line(longest(_BANDS, common.status_codes(SELECT), absent, AGENT), "{{team_name}} / {{agent_id}}")
    return timeline(Text("Status of the agents longest out of service", about), query, style.AGENT_STATUS)


# --- Load ---


def _demand() -> Panel:
    queries = [
        Line(f"sum({SELECT(catalog.AGENT_GPU_CAPACITY)})", "capacity"),
        Line(f"sum({SELECT(catalog.AGENT_RUNNING_TASKS)})", "running"),
    ]
    about = (
        "What the chosen agents offer and what runs on them. Running above capacity means that one of both is wrong."
    )
    colors = {"capacity": "blue", "running": "green"}
    return lines(Text("Running tasks against capacity", about), queries, "short", Look(colors=colors))


def _use() -> Panel:
    running = f"sum by ({TEAM}) ({SELECT(catalog.AGENT_RUNNING_TASKS)})"
    capacity = f"sum by ({TEAM}) ({SELECT(catalog.AGENT_GPU_CAPACITY)})"
    about = "Running tasks by the capacity of each team's agents: a team far above the others lacks GPUs."
    text = Text("Capacity in use by team", about)
    return by_team(text, f"{running} / ({capacity} > 0)", "percentunit", Look(at_least=1, coarse=True))


def _done() -> Panel:
    about = "Agents that completed most within the time shown, by their own counts, which restart when they reconnect."
    done = f"topk({common.FEW}, {SELECT.increase(catalog.AGENT_TASKS_COMPLETED, over=RANGE)})"
    columns = [Column("Completed", done, unit="short", decimals=0, cell=GAUGE, color=style.GOOD)]
    return grid(Text("Most productive agents", about), _KEYS, columns, sort={"Completed": True})


def _failures() -> Panel:
    failed = SELECT.increase(catalog.AGENT_TASKS_FAILED, over=RANGE)
    completed = SELECT.increase(catalog.AGENT_TASKS_COMPLETED, over=RANGE)
    most = f"topk({common.FEW}, {failed} > 0)"
    columns = [
        Column("Failed", most, unit="short", decimals=0, cell=GAUGE, color=style.BAD),
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
        "Agents on which most tasks failed within the time shown. One agent with a share far above the others' breaks"
        " work that others would complete."
    )
    return grid(Text("Failing agents", about, empty="none known"), _KEYS, columns, sort={"Failed": True})


# --- GPU memory ---


def _memory() -> Panel:
    about = "Free share of the GPU of each team that has the least."
    look = Look(maximum=1, table=True, coarse=True)
    return by_team(
        Text("Least free GPU memory by team", about), free_memory(SELECT, TEAM), "percentunit", look, least=True
    )


def _least_memory() -> Panel:
    about = f"The {common.FEW} GPUs with the least free memory: tasks that need large models fail there first."
    free = f"bottomk({common.FEW}, {free_memory(SELECT, f'{AGENT}, gpu')})"
    columns = [
        Column("Free", free, unit="percentunit", decimals=0, judgement=style.VRAM_FREE, cell=GAUGE, maximum=1),
        Column(
            "Model",
            f"max by ({AGENT}, gpu, device_name) ({SELECT(catalog.AGENT_GPU_INFO)}) and on ({AGENT}, gpu) {free}",
            shown=False,
        ),
    ]
    keys = [*_KEYS, Key("gpu", "GPU", width=65), Key("device_name", "Model", width=190)]
    return grid(Text("GPUs with the least free memory", about), keys, columns, sort={"Free": False})


# --- Presence ---


def _heartbeats() -> Panel:
    about = "Age of the oldest heartbeat of each team's connected agents. A team whose line rises is losing an agent."
    oldest = f"max by ({TEAM}) ({age(SELECT(catalog.AGENT_LAST_HEARTBEAT))})"
    return by_team(Text("Oldest heartbeat by team", about), oldest, "s", Look(limit=300, coarse=True))


def _sessions() -> Panel:
    about = "Age of the youngest connection of each team: each fall to 0 is an agent that connected anew."
    youngest = f"min by ({TEAM}) ({age(SELECT(catalog.AGENT_CONNECTED_SINCE))})"
    return by_team(Text("Youngest connection", about), youngest, "s", Look(coarse=True), least=True)


def _syncs() -> Panel:
    progress = f"bottomk({_ROWS}, {SELECT(catalog.AGENT_SYNC)})"
    keys = [*_KEYS, Key("phase", "Phase")]
    columns = [Column("Progress", progress, unit="percentunit", decimals=0, cell=GAUGE, color="yellow", maximum=1)]
    text = Text("Files being synced", catalog.AGENT_SYNC, empty="none known")
    return grid(text, keys, columns, sort={"Progress": False})


# --- Inventory ---


def _versions() -> Panel:
    labels = {
        "agent_version": "Agent",
        "tool": "Tool",
        "tool_version": "Tool version",
        "pytorch_version": "PyTorch",
        "os_type": "System",
        "platform_arch": "Platform",
    }
    columns = [Column("Agents", f"count by ({', '.join(labels)}) ({SELECT(catalog.AGENT_INFO)})", unit="short")]
    keys = [Key(label, title) for label, title in labels.items()]
    about = (
        "How many agents run which versions: a row with few agents is an upgrade that some missed or that went too far."
    )
    return grid(Text("Versions", about), keys, columns, sort={"Agents": True})


def _cards() -> Panel:
    columns = [Column("GPUs", f"count by (device_name) ({SELECT(catalog.AGENT_GPU_INFO)})", cell=GAUGE, color="purple")]
    text = Text("GPU models", "GPUs of the connected agents by model, as their drivers name them.")
    return grid(text, [Key("device_name", "Model", width=190)], columns, sort={"GPUs": True})


def _labels() -> Panel:
    counted = f"topk({_ROWS}, count by (label) ({SELECT(catalog.AGENT_LABEL)}))"
    columns = [Column("Agents", counted, cell=GAUGE, color="purple")]
    text = Text("Agent labels", catalog.AGENT_LABEL, empty="none known")
    return grid(text, [Key("label", "Label", width=190)], columns, sort={"Agents": True})
