"""The unit for a machine without containers, as systemd's own checker reads it."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "docs" / "examples" / "cyberun-exporter.service"
TEXT = UNIT.read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "linux.md").read_text(encoding="utf-8")


def lines(key: str) -> list[str]:
    """The values of a key, which may be given several times."""
    return re.findall(rf"^{key}=(.*)$", TEXT, re.MULTILINE)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that exists on this machine, as the checker asks for it."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not on PATH")
    path = tmp_path / UNIT.name
    path.write_text(TEXT.replace("/opt/cyberun-exporter/bin/cyberun-exporter", "/bin/true"), encoding="utf-8")
    return path


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What the checker says."""
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)


def test_systemd_knows_every_line(unit: Path) -> None:
    """The checker finds nothing; it would report an unknown setting."""
    result = analyze("verify", str(unit))
    assert (result.returncode, result.stdout + result.stderr) == (0, "")
    unit.write_text(unit.read_text().replace("ProtectHome=", "ProtectHom="))
    assert "ProtectHom" in analyze("verify", str(unit)).stderr


def test_the_unit_is_as_closed_as_the_page_says(unit: Path) -> None:
    """The exposure that systemd computes is at most what docs/linux.md names."""
    (named,) = re.findall(r"gives it (\d\.\d) of 10", PAGE)
    threshold = str(round(float(named) * 10))
    result = analyze("security", "--offline=true", f"--threshold={threshold}", str(unit))
    assert result.returncode == 0, result.stdout


def test_credentials_are_systemd_s() -> None:
    """Keys come from LoadCredential, at the path that the page configures; no other user or variable has them."""
    assert lines("LoadCredential") == ["token:/etc/cyberun-exporter/secrets"]
    assert f"token_file: /run/credentials/{UNIT.name}/token_render" in PAGE
    assert lines("DynamicUser") == ["yes"]
    assert not lines("User")
    assert not lines("Environment")


def test_reload_and_restart_know_the_exporter() -> None:
    """A reload is SIGHUP, mistakes cause no restarts, and a stop has enough time."""
    assert lines("ExecReload") == ['/bin/sh -c "kill -HUP $MAINPID"']
    assert lines("RestartPreventExitStatus") == ["2"]
    assert int(lines("TimeoutStopSec")[0]) > 5


def test_settings_are_given_once() -> None:
    """No setting is given twice except those that accumulate, and each is in its section."""
    seen = re.findall(r"^(\w+)=", TEXT, re.MULTILINE)
    assert {key for key in seen if seen.count(key) > 1} == {"SystemCallFilter"}
    parser = configparser.ConfigParser(strict=False)
    parser.read_string(TEXT)
    assert parser.sections() == ["Unit", "Service", "Install"]
