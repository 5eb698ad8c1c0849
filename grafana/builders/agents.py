"""Which agents work, which do not, and why?"""

from typing import Final

from exporter import catalog
from exporter.catalog import Metric
from grafana.builders import common, frame, style
from grafana.builders.common import PRESENCE
from grafana.builders.frame import Board, Place, Section
from grafana.builders.grid import BACKGROUND, COLORED, GAUGE, Column, Key, grid
from grafana.builders.panel import Line, Look, Panel, Text, bars, lines, number, timeline
from grafana.builders.query import RANGE, Selector, age

SELECT: Final = Selector(("team_name", "agent_id"))
_NAME: Final = "{{team_name}} / {{agent_id}}"
_CARD: Final = "{{team_name}} / {{agent_id}} GPU {{gpu}}"


def board() -> Board:
    """The dashboard."""
    return Board(
        uid=frame.AGENTS,
        title="Cyberun / Agents",
        answers="Which agents work, which do not, and why?",
        selector=SELECT,
        sections=(
            Section("", [Place(panel, 4, 4) for panel in _first_row()]),
            Section("Each agent", [Place(_table(), 24, 12), Place(_statuses(), 24, 14)]),
            Section("Load", [Place(_demand(), 8, 8), Place(_use(), 8, 8), Place(_done(), 8, 8)]),
            Section("GPU memory", [Place(_memory(), 12, 8), Place(_least_memory(), 12, 8)]),
            Section("Presence", [Place(_heartbeats(), 8, 8), Place(_sessions(), 8, 8), Place(_syncs(), 8, 8)]),
            Section(
                "Inventory",
                [Place(_versions(), 12, 8), Place(_cards(), 6, 8), Place(_labels(), 6, 8)],
            ),
        ),
    )


def _each(metric: Metric, matchers: str = "") -> str:
    """One value per agent, however many exporters poll its team."""
    return f"max by ({PRESENCE}) ({SELECT(metric, matchers)})"


def _with_status(status: str) -> str:
    # The status series of the chosen agents, since the fleet's totals know no agent.
    return f"sum({SELECT(catalog.AGENT_STATUS, common.of_status(status))})"


def _first_row() -> tuple[Panel, ...]:
    heartbeat = f"max({age(SELECT(catalog.AGENT_LAST_HEARTBEAT))})"
    free = f"min({SELECT(catalog.AGENT_GPU_VRAM_FREE)} / {SELECT(catalog.AGENT_GPU_VRAM_SIZE)})"
    gone = f"sum(1 - {SELECT(catalog.AGENT_CONNECTED)})"
    return (
        number(
            Text("Connected", catalog.AGENT_CONNECTED, empty="no agents"),
            f"sum({SELECT(catalog.AGENT_CONNECTED)})",
            "short",
            style.COUNT,
        ),
        number(
            Text("Disconnected", "Agents that are expected or were connected a while ago.", empty="no agents"),
            gone,
            "short",
            style.ANY_IS_A_WARNING,
        ),
        number(
            Text("Unhealthy", "Connected agents whose health check fails: they take no tasks.", empty="no agents"),
            _with_status("unhealthy"),
            "short",
            style.ANY_IS_A_WARNING,
        ),
        number(
            Text("Syncing", "Connected agents that fetch models: they take no tasks until done.", empty="no agents"),
            _with_status("syncing"),
            "short",
            style.COUNT,
        ),
        number(
            Text(
                "Oldest heartbeat",
                "Of the connected agents, by the platform's clock. One that grows old is about to be lost.",
                empty="no agents",
            ),
            heartbeat,
            "s",
            style.HEARTBEAT,
            decimals=0,
        ),
        number(
            Text("Fullest GPU", "Free memory of the GPU that has the least, as a share.", empty="no GPUs"),
            free,
            "percentunit",
            style.VRAM_FREE,
            decimals=1,
        ),
    )


def _table() -> Panel:
    free, size = SELECT(catalog.AGENT_GPU_VRAM_FREE), SELECT(catalog.AGENT_GPU_VRAM_SIZE)
    running, capacity = _each(catalog.AGENT_RUNNING_TASKS), _each(catalog.AGENT_GPU_CAPACITY)
    columns = [
        Column("Status", common.status_codes(SELECT), mappings=style.AGENT_STATUS, cell=BACKGROUND, width=120),
        Column("Running", running, unit="short", width=90),
        Column("Capacity", capacity, unit="short", width=90),
        Column(
            "In use",
            f"{running} / ({capacity} > 0)",
            unit="percentunit",
            steps=style.USE,
            cell=GAUGE,
            maximum=1,
            decimals=0,
        ),
        Column(
            "Least free VRAM",
            f"min by ({PRESENCE}) ({free} / {size})",
            unit="percentunit",
            steps=style.VRAM_FREE,
            cell=GAUGE,
            maximum=1,
            decimals=0,
        ),
        Column(
            "Heartbeat",
            age(_each(catalog.AGENT_LAST_HEARTBEAT)),
            unit="s",
            steps=style.HEARTBEAT,
            cell=COLORED,
            decimals=0,
            width=100,
        ),
        Column("Last seen", age(_each(catalog.AGENT_LAST_SEEN)), unit="s", decimals=0, width=100),
        Column("Connected for", age(_each(catalog.AGENT_CONNECTED_SINCE)), unit="s", decimals=1, width=120),
        Column(
            "Completed",
            f"max by ({PRESENCE}) ({SELECT.increase(catalog.AGENT_TASKS_COMPLETED, over=RANGE)})",
            unit="short",
            decimals=0,
            width=110,
        ),
        Column(
            "Information",
            f"max by ({PRESENCE}, agent_version) ({SELECT(catalog.AGENT_INFO)})",
            shown=False,
        ),
    ]
    keys = [
        Key("team_name", "Team", link=frame.AGENTS, width=140),
        Key("agent_id", "Agent", link=frame.AGENTS, width=200),
        Key("agent_version", "Version", width=90),
    ]
    about = (
        "One row per agent, those that need attention first; completed tasks are those within the time shown."
        " A disconnected agent has only a last-seen time. A click on an agent shows it alone."
    )
    return grid(Text("Agents", about, empty="no agents"), keys, columns, sort="Status", descending=False)


def _statuses() -> Panel:
    about = (
        "What each agent was, over time: rows that turn red together share a cause, such as a site or a network;"
        " one row that keeps changing is one bad machine. Choose a team or agents to see fewer."
    )
    text = Text("Status of each agent", about, empty="no agents")
    return timeline(text, Line(common.status_codes(SELECT), _NAME), style.AGENT_STATUS)


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
    running = f"sum by (team_name) ({SELECT(catalog.AGENT_RUNNING_TASKS)})"
    capacity = f"sum by (team_name) ({SELECT(catalog.AGENT_GPU_CAPACITY)})"
    queries = [Line(f"{running} / ({capacity} > 0)", "{{team_name}}")]
    about = "Running tasks by the capacity of each team's agents: a team far below the others has room to lend."
    return lines(Text("Capacity in use by team", about), queries, "percentunit", Look(at_least=1))


def _done() -> Panel:
    done = f"sum by ({PRESENCE}) ({SELECT.increase(catalog.AGENT_TASKS_COMPLETED, over=RANGE)})"
    about = "Agents that completed most within the time shown, by their own counts, which restart when they reconnect."
    text = Text("Most productive agents", about, empty="none completed")
    return bars(text, Line(f"sort_desc(topk(10, {done}))", _NAME), "short", style.steps(style.GOOD))


def _memory() -> Panel:
    free, size = SELECT(catalog.AGENT_GPU_VRAM_FREE), SELECT(catalog.AGENT_GPU_VRAM_SIZE)
    about = "Free share of GPU memory: of each team's GPUs together, and of the single GPU that has the least."
    queries = [
        Line(f"sum by (team_name) ({free}) / sum by (team_name) ({size})", "{{team_name}}"),
        Line(f"min by (team_name) ({free} / {size})", "{{team_name}}: fullest GPU"),
    ]
    return lines(Text("Free GPU memory", about), queries, "percentunit", Look(maximum=1, table=True))


def _least_memory() -> Panel:
    free, size = SELECT(catalog.AGENT_GPU_VRAM_FREE), SELECT(catalog.AGENT_GPU_VRAM_SIZE)
    about = "The ten GPUs with the least free memory: tasks that need large models fail there first."
    text = Text("GPUs with the least free memory", about, empty="no GPUs")
    expression = f"sort(bottomk(10, max by ({PRESENCE}, gpu) ({free} / {size})))"
    return bars(text, Line(expression, _CARD), "percentunit", style.VRAM_FREE, maximum=1)


def _heartbeats() -> Panel:
    query = Line(f"max by (team_name) ({age(SELECT(catalog.AGENT_LAST_HEARTBEAT))})", "{{team_name}}")
    about = "Age of the oldest heartbeat of each team's connected agents. A team whose line rises is losing an agent."
    look = Look(limit=style.steps("transparent", (300, style.BAD)))
    return lines(Text("Oldest heartbeat by team", about), [query], "s", look)


def _sessions() -> Panel:
    query = Line(f"min by (team_name) ({age(SELECT(catalog.AGENT_CONNECTED_SINCE))})", "{{team_name}}")
    about = "Age of the youngest connection of each team: each fall to 0 is an agent that connected anew."
    return lines(Text("Youngest connection", about), [query], "s", Look())


def _syncs() -> Panel:
    text = Text("Files being synced", catalog.AGENT_SYNC, empty="nothing is syncing")
    expression = f"sort_desc(max by ({PRESENCE}, phase) ({SELECT(catalog.AGENT_SYNC)}))"
    return bars(text, Line(expression, _NAME + " {{phase}}"), "percentunit", style.steps("yellow"), maximum=1)


def _versions() -> Panel:
    labels = {
        "agent_version": "Agent version",
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
    return grid(Text("Versions", about, empty="no agents"), keys, columns, sort="Agents")


def _cards() -> Panel:
    text = Text("GPU models", "GPUs of the connected agents by model, as their drivers name them.", empty="no GPUs")
    expression = f"sort_desc(count by (device_name) ({SELECT(catalog.AGENT_GPU_INFO)}))"
    return bars(text, Line(expression, "{{device_name}}"), "short", style.steps("purple"))


def _labels() -> Panel:
    text = Text("Agent labels", catalog.AGENT_LABEL, empty="collect.agent_labels is off")
    expression = f"sort_desc(topk(20, count by (label) ({SELECT(catalog.AGENT_LABEL)})))"
    return bars(text, Line(expression, "{{label}}"), "short", style.steps("purple"))
