import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from exporter.cli import PRINTING, main
from exporter.expose.reference import markdown
from support import free_port

pytestmark = pytest.mark.loopback

ROOT = Path(__file__).parents[3]

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command with this YAML document; gives the exit code and what was printed on either stream."""
    for variable in os.environ:
        if variable.startswith("CYBERUN_"):
            monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)

    def run_command(command: str, document: str | None = None, *flags: str) -> tuple[int, str, str]:
        if document is not None:
            (tmp_path / "c.yaml").write_text(document, encoding="utf-8")
            flags = ("--config.file=c.yaml", *flags)
        code = main([command, *flags])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run_command


def test_metrics(run: Run) -> None:
    """`metrics` prints the reference, which docs/metrics.md holds."""
    assert run("metrics") == (0, markdown(), "")
    page = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    assert page.partition("-->\n\n")[2] == markdown(), "out of date, run `make generate`"


def test_check(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """`check` of a configuration without a mistake ends with 0."""
    monkeypatch.setenv("RENDER", "sk-MARKER-0123456789")
    code, out, err = run("check", "teams: [{name: render, token_env: RENDER}]")
    assert (code, err) == (0, "")
    assert "render" in out


@pytest.mark.parametrize("command", ["serve", "check", "once"])
@pytest.mark.parametrize(
    ("document", "mistakes"),
    [
        ("", 1),  # no team
        ("teams: [{name: render, token_env: NONE}]", 1),
        ("teams: [{name: render, token_file: missing}]", 1),
        ("teams: [{name: render, token_file: c.yaml}]", 1),
        ("collect: {interval: 0s}\nlog: {level: loud}\nteems: []\nteams: [{name: render, token_env: T}]", 3),
        ("teams: [", 1),
        ("teams: [{name: a, token_env: A}, {name: b, token_env: B}]", 2),
        ("api: {ca_file: c.yaml}\nteams: [{name: render, token_env: GOOD}]", 1),
    ],
)
def test_bad_configuration(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: str, document: str, mistakes: int
) -> None:
    """Mistakes give exit code 2 before anything is opened, and only one line each on standard error."""
    monkeypatch.setenv("GOOD", "sk-good")
    code, out, err = run(command, document)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == mistakes


@pytest.mark.parametrize(
    "document",
    [
        "teams: [{name: render, token_env: BAD}]",
        "teams: [{name: render, token_file: bad}]",
        "teams: [{name: render, token_env: sk-MARKER-0123456789}]",
        "teams: [{name: render, token: sk-MARKER-0123456789}]",
        "teams: [{name: sk-MARKER-0123456789, token_file: bad, team_id: sk-MARKER-0123456789}]",
        "teams: sk-MARKER-0123456789",
        "teams: [sk-MARKER-0123456789",
    ],
)
def test_credentials_are_never_printed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, document: str
) -> None:
    """Wherever a credential was put by mistake, no message repeats it."""
    monkeypatch.setenv("BAD", "ak-MARKER")
    (tmp_path / "bad").write_text("MARKER MARKER", encoding="utf-8")
    code, out, err = run("check", document)
    assert (code, out) == (2, "")
    assert err
    assert "MARKER" not in err


def test_missing_file(run: Run) -> None:
    """A configuration file that is not there is a mistake."""
    code, out, err = run("check", None, "--config.file=missing.yaml")
    assert (code, out) == (2, "")
    assert "missing.yaml" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("command", ["demo", "simulate"])
@pytest.mark.parametrize(
    ("flag", "name"),
    [
        ("--faults=nonsense", "--faults"),
        ("--reverse-assumption=users", "--reverse-assumption: found 'users'; allowed: status_field, "),
        ("--web.listen-address=nowhere", "--web.listen-address"),
    ],
)
def test_bad_flags_of_the_simulation(run: Run, command: str, flag: str, name: str) -> None:
    """Mistakes in flags are named by the flag."""
    code, _, err = run(command, None, flag)
    assert code == 2
    assert f"flag {name}" in err
    assert len(err.splitlines()) == 1


def test_a_credential_in_place_of_a_file_is_not_echoed(run: Run) -> None:
    """The path that cannot be read is not repeated when it is a credential."""
    code, _, err = run("check", None, "--config.file=sk-MARKER-0123456789abc")
    assert (code, "MARKER" in err) == (2, False)


def test_the_demo_tells_no_address_before_it_has_it(run: Run, taken_port: int) -> None:
    """A port in use is reported instead of printing the address."""
    code, out, err = run("demo", None, f"--web.listen-address=127.0.0.1:{taken_port}")
    assert (code, out) == (1, "")
    assert "in use" in err


def test_port_in_use(run: Run, taken_port: int) -> None:
    """An address that cannot be listened on is a failure while running: exit code 1 and one line."""
    code, _, err = run("simulate", None, f"--web.listen-address=127.0.0.1:{taken_port}")
    assert code == 1
    assert err.startswith("cyberun-exporter: ")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("command", PRINTING)
def test_what_prints_needs_standard_output(run: Run, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """A command that was started with `>&-` and has something to print fails at once, and says why."""
    monkeypatch.setattr(sys, "stdout", None)
    code, _, err = run(command)
    assert (code, err) == (1, "cyberun-exporter: standard output is closed\n")


def test_a_health_check_needs_no_standard_output(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that has nothing to print does its work without standard output."""
    monkeypatch.setattr(sys, "stdout", None)
    code, _, err = run("health", None, f"--web.listen-address=127.0.0.1:{(port := free_port())}")
    assert (code, f"127.0.0.1:{port}: " in err) == (1, True)


@pytest.mark.parametrize("problem", [None, OSError("no file")])
def test_garbage_is_collected_again_after_a_command_was_loaded(
    run: Run, monkeypatch: pytest.MonkeyPatch, problem: OSError | None
) -> None:
    """Collections would take a tenth of the start, but whatever happens then, the command runs with them."""
    seen = []

    class Watched(ModuleType):
        def run(self, _: object) -> int:
            seen.append(gc.isenabled())
            return 0

    def load(name: str) -> ModuleType:
        seen.append(gc.isenabled())
        if problem:
            raise problem
        return Watched(name)

    monkeypatch.setattr("exporter.cli.import_module", load)
    assert run("metrics")[0] == (1 if problem else 0)
    assert seen == ([False] if problem else [False, True])
    assert gc.isenabled()
