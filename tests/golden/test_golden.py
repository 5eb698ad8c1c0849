"""The exposition of the full fixture, byte for byte. `pytest --update-golden tests/golden` writes it anew."""

import difflib
import os
import subprocess
from pathlib import Path

import pytest

from support import parse_openmetrics, parse_text, required

HERE = Path(__file__).parent
UPDATE = 'if this is meant: make test PYTEST_ARGS="tests/golden --update-golden"'
NAMES = ("metrics.prom", "metrics.openmetrics")


@pytest.mark.parametrize("name", NAMES)
def test_exposition_is_as_recorded(name: str, expositions: dict[str, str], *, update_golden: bool) -> None:
    """The exposition is the recorded one, byte for byte."""
    path = HERE / name
    if update_golden:
        path.write_text(expositions[name], encoding="utf-8", newline="")
    recorded, found = path.read_text(encoding="utf-8"), expositions[name]
    if found != recorded:
        changed = difflib.unified_diff(recorded.splitlines(), found.splitlines(), "recorded", "found", n=0, lineterm="")
        pytest.fail("\n".join((UPDATE, *changed)), pytrace=False)


def test_golden_files_parse_strictly() -> None:
    """Both files parse, have no duplicate series, and agree."""
    text = parse_text((HERE / "metrics.prom").read_text(encoding="utf-8"))
    openmetrics = parse_openmetrics((HERE / "metrics.openmetrics").read_text(encoding="utf-8"))
    assert text.values == openmetrics.values
    assert len(text.values) > 500


def test_samples_of_the_documentation_are_in_it() -> None:
    """The documented sample answers, verbatim, are a team of the fixture: counted, shown, and marked as truncated."""
    samples = parse_text((HERE / "metrics.prom").read_text(encoding="utf-8"))
    assert samples.value("cyberun_tasks", team_name="samples", status="completed") == 42
    who = {"team_name": "samples", "agent_id": "gpu-node-01"}
    assert samples.value("cyberun_agent_gpu_vram_free_bytes", **who, gpu="0") == 22548578304
    assert samples.value("cyberun_agent_running_tasks", **who) == 3
    for collector in ("tasks", "agents"):
        assert samples.value("cyberun_collector_truncated", team_name="samples", collector=collector) == 1


def test_promtool_finds_nothing_to_complain_about() -> None:
    """`promtool check metrics`, which also lints names, has no complaint about the text format."""
    command = [required("promtool"), "check", "metrics"]
    exposition = (HERE / "metrics.prom").read_bytes()
    result = subprocess.run(command, input=exposition, capture_output=True, check=False, env=dict(os.environ))
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
