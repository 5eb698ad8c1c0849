from itertools import chain
from pathlib import Path

import pytest

from exporter import __version__
from exporter.cli.arguments import COMMANDS, Arguments, Simulation, parse
from exporter.service.shard import Shard

LISTEN = {"web": {"listen_address": ":1"}}


@pytest.mark.parametrize(
    ("argv", "arguments"),
    [
        ([], Arguments("serve")),
        (["serve"], Arguments("serve")),
        (["--config.file", "a.yaml"], Arguments("serve", Path("a.yaml"))),
        (["--config.file=a.yaml"], Arguments("serve", Path("a.yaml"))),
        (["serve", "--web.listen-address", ":1"], Arguments("serve", None, LISTEN)),
        (["--web.listen-address=:1"], Arguments("serve", None, LISTEN)),
        (
            ["--web.listen-address=:1", "--web.listen-address", "[::1]:2"],
            Arguments("serve", None, {"web": {"listen_address": [":1", "[::1]:2"]}}),
        ),
        (["--web.telemetry-path=/m"], Arguments("serve", None, {"web": {"telemetry_path": "/m"}})),
        (["--web.config.file=w.yaml"], Arguments("serve", None, {"web": {"config_file": "w.yaml"}})),
        (["--web.enable-lifecycle"], Arguments("serve", None, {"web": {"enable_lifecycle": True}})),
        (
            ["--log.level=debug", "--log.format=json"],
            Arguments("serve", None, {"log": {"level": "debug", "format": "json"}}),
        ),
        (["--shard=2", "--total-shards=3"], Arguments("serve", shard=Shard(2, 3))),
        (["check", "--config.file=a.yaml"], Arguments("check", Path("a.yaml"))),
        (["check", "--web.config.file=w.yaml"], Arguments("check", None, {"web": {"config_file": "w.yaml"}})),
        (["once", "--shard=0", "--total-shards=2"], Arguments("once", shard=Shard(0, 2))),
        (["health", "--web.listen-address=:1"], Arguments("health", None, LISTEN)),
        (["metrics"], Arguments("metrics")),
        (["demo"], Arguments("demo", simulation=Simulation(3, 36, 0, ""))),
        (
            ["demo", "--teams=2", "--agents=5", "--seed=-7", "--faults=hang", "--web.listen-address=:1"],
            Arguments("demo", None, LISTEN, Simulation(2, 5, -7, "hang")),
        ),
        (["simulate", "--agents=1"], Arguments("simulate", simulation=Simulation(3, 1, 0, ""))),
        (
            ["simulate", "--reverse-assumption=users_me", "--reverse-assumption", "stable_order"],
            Arguments("simulate", simulation=Simulation(reversed_assumptions=("users_me", "stable_order"))),
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_flags(argv: list[str], arguments: Arguments) -> None:
    """The default command is `serve`; a flag that is not given overrides nothing."""
    assert parse(argv) == arguments


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        (["server"], "no command 'server'; allowed: serve, check, once, demo, simulate, health, metrics"),
        ([""], "no command ''"),
        (["check", "serve"], "unrecognized arguments: serve\n"),
        (["--log.level=info", "check"], "unrecognized arguments: check; the command comes before all flags"),
        (["--config.file"], "expected one argument"),
        (["--config"], "unrecognized arguments: --config"),  # flags are never guessed from their beginning
        (["--web.listen", ":1"], "unrecognized arguments"),
        (["--token=sk-1"], "unrecognized arguments"),
        (["--shard=1"], "flag --shard: found 1; allowed: below --total-shards, 1"),
        (["--total-shards=3"], "flag --total-shards: found 3 without --shard; allowed: both"),
        (["--shard=-1"], "found '-1'; allowed: a whole number from 0 to 100000"),
        (["--total-shards=0"], "found '0'; allowed: a whole number from 1 to 100000"),
        (["demo", "--agents=1.5"], "found '1.5'; allowed: a whole number from 1 to 100000"),
        (["demo", "--teams=100001"], "found '100001'"),
        (["demo", "--agents=many"], "found 'many'"),
        (["demo", "--seed=x"], "invalid int value: 'x'"),
        (["demo", "--config.file=a.yaml"], "unrecognized arguments"),
        (["metrics", "--log.level=debug"], "unrecognized arguments"),
        (["once", "--web.listen-address=:1"], "unrecognized arguments"),
        (["serve", "--agents=3"], "unrecognized arguments"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_usage(argv: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Bad usage ends with 2 and says on standard error what was found and what is allowed."""
    with pytest.raises(SystemExit) as caught:
        parse(argv)
    printed = capsys.readouterr()
    assert caught.value.code == 2
    assert problem in printed.err
    assert printed.out == ""


@pytest.mark.parametrize(
    "argv", [["--token=sk-MARKER-0123456789abc"], ["sk-MARKER-0123456789abc"], ["--shard", "sk-MARKER-0123456789abc"]]
)
def test_a_credential_is_not_echoed(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A credential that was typed by mistake is not printed again."""
    with pytest.raises(SystemExit):
        parse(argv)
    assert "MARKER" not in capsys.readouterr().err


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_version(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command prints its version and that of Python."""
    with pytest.raises(SystemExit) as caught:
        parse([*([command] if command else []), "--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith(f"cyberun-exporter {__version__} (Python 3.")


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command has a help; that of the program lists them all."""
    with pytest.raises(SystemExit) as caught:
        parse([command, "--help"])
    printed = capsys.readouterr().out
    assert caught.value.code == 0
    assert ("usage: cyberun-exporter [" if command == "serve" else f"usage: cyberun-exporter {command} [") in printed
    if command == "serve":
        assert all(f"  {name} " in printed for name in COMMANDS)


@pytest.mark.parametrize("total", [1, 2, 3, 7])
def test_shards_share_the_teams(total: int) -> None:
    """Each team belongs to exactly one shard, and every shard has some."""
    names = [f"team-{i}" for i in range(300)]
    held = [[name for name in names if Shard(number, total).holds(name)] for number in range(total)]
    assert sorted(chain.from_iterable(held)) == sorted(names)
    assert all(len(names) / total / 2 < len(each) < len(names) / total * 2 for each in held)


def test_shards_do_not_change_with_the_release() -> None:
    """A team belongs to the same shard in every process and release, because otherwise its counters would restart."""
    assert [next(n for n in range(3) if Shard(n, 3).holds(name)) for name in ("render", "film", "archive")] == [0, 1, 2]
