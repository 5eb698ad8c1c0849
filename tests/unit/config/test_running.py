from pathlib import Path

import pytest

from exporter.config.address import ListenAddress
from exporter.config.running import Running, find

ENVIRON = {"CYBERUN_EXPORTER_WEB__LISTEN_ADDRESS": ":2"}


def shown(running: Running) -> str:
    """Its addresses."""
    return " ".join(map(str, running.addresses))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("web: {listen_address: '[::1]:1'}\nteams: [{nonsense: 1}]\nmisspelt: 1\n", "[::1]:1"),
        ("web: {listen_address: ':1', telemetry_path: bad, misspelt: 1}", ":1"),
        ("web: {listen_address: [':1', ':2']}", ":1 :2"),
        ("web: {listen_address: [':1', nonsense]}", ":10042"),
        ("web: {listen_address: nonsense}", ":10042"),
        ("web: {listen_address: 5}", ":10042"),
        ("web: 5", ":10042"),
        ("web:", ":10042"),
        ("[]", ":10042"),
        ("", ":10042"),
        ("web: {listen_address: ':1'}\nteams: [", ":10042"),
    ],
)
def test_mistakes_do_not_hide_the_address(tmp_path: Path, text: str, address: str) -> None:
    """A running exporter is found even if its file was broken since; flags win over environment, and that over file."""
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8")
    assert shown(find(path, {"CYBERUN_EXPORTER_TEAMS": "["}, {})) == address
    assert shown(find(path, ENVIRON, {})) == ":2"
    assert shown(find(path, ENVIRON, {"web": {"listen_address": [":3", "[::1]:4"]}})) == ":3 [::1]:4"


def test_without_a_file(tmp_path: Path) -> None:
    """Without a file, or with one that is gone, the default counts."""
    expected = Running((ListenAddress(None, 10042),), tls=False)
    assert find(None, {}, {}) == find(tmp_path / "gone", {}, {}) == expected


def test_a_web_configuration_is_a_hint_of_tls(tmp_path: Path) -> None:
    """From every source."""
    path = tmp_path / "c.yaml"
    path.write_text("web: {config_file: web.yml}", encoding="utf-8")
    assert find(path, {}, {}).tls
    assert find(None, {"CYBERUN_EXPORTER_WEB__CONFIG_FILE": "web.yml"}, {}).tls
    assert find(None, {}, {"web": {"config_file": "web.yml"}}).tls
