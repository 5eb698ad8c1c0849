"""What the agents are: versions, GPU models, labels. Part of the dashboard about agents."""

from typing import Final

from exporter import catalog
from grafana.builders import style
from grafana.builders.frame import Place
from grafana.builders.grid import GAUGE, GPU_MODEL_WIDTH, Column, Key, grid
from grafana.builders.panel import Panel, Text
from grafana.builders.query import Selector, none

SELECT: Final = Selector(("team_name", "agent_id"))
_ROWS: Final = 50


def places() -> list[Place]:
    """The panels, from left to right."""
    return [Place(_versions(), 24, 6), Place(_models(), 12, 8), Place(_labels(), 12, 8)]


def _versions() -> Panel:
    labels = {
        "agent_version": "Agent version",
        "tool": "Tool",
        "tool_version": "Tool version",
        "comfyui_version": "ComfyUI",
        "pytorch_version": "PyTorch",
        "os_type": "System",
        "platform_arch": "Platform",
    }
    columns = [Column("Agents", f"count by ({', '.join(labels)}) ({SELECT(catalog.AGENT_INFO)})", unit="short")]
    keys = [Key(label, title, width=110) for label, title in labels.items()]
    about = "Agents by the versions they run. A row with few agents can be an upgrade that is not finished."
    return grid(Text("Versions", about), keys, columns, sort={"Agents": True})


def _models() -> Panel:
    models = f"count by (device_name) ({SELECT(catalog.AGENT_GPU_INFO)})"
    columns = [Column("GPUs", models, cell=GAUGE, color=style.BAR)]
    text = Text("GPU models", "GPUs of the connected agents, by the model that the driver reports.")
    return grid(text, [Key("device_name", "Model", width=GPU_MODEL_WIDTH)], columns, sort={"GPUs": True})


def _labels() -> Panel:
    counted = f"topk({_ROWS}, count by (label) ({SELECT(catalog.AGENT_LABEL)}))"
    no_label = none(SELECT(catalog.AGENT_CONNECTED), {"label": "none known"})
    columns = [Column("Agents", f"{counted} or on () {no_label}", cell=GAUGE, color=style.BAR)]
    text = Text("Agent labels", "Agents by label. Needs collect.agent_labels.")
    return grid(text, [Key("label", "Label", width=190)], columns, sort={"Agents": True})
