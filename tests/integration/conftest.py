import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from exporter.demo import ASSUMED, ASSUMPTIONS, Assumptions, SimulatedPlatform, reverse
from support import (
    AlertmanagerFactory,
    CommandFactory,
    Completed,
    ExporterFactory,
    PrometheusFactory,
    RunningAlertmanager,
    RunningExporter,
    RunningPrometheus,
    run_exporter,
)

REVERSE = "--reverse-assumptions"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests that are marked `both_ways` twice, unless all tests run with the assumptions reversed."""
    twice = metafunc.definition.get_closest_marker("both_ways") and not metafunc.config.getoption(REVERSE)
    if twice and "assumed" in metafunc.fixturenames:
        metafunc.parametrize("assumed", [False, True], ids=["assumed", "reversed"], indirect=True)


@pytest.fixture
def assumed(request: pytest.FixtureRequest) -> Assumptions:
    """How the platform behaves where its documentation is silent.

    As assumed; or all assumptions are reversed, but those that the test is marked to need.
    """
    if not getattr(request, "param", request.config.getoption(REVERSE)):
        return ASSUMED
    needed = {name for mark in request.node.iter_markers("assumes") for name in mark.args}
    assert needed <= set(ASSUMPTIONS), f"allowed: {', '.join(ASSUMPTIONS)}"
    return reverse(*(name for name in ASSUMPTIONS if name not in needed))


@pytest.fixture
def platform(assumed: Assumptions) -> SimulatedPlatform:
    """A simulated platform without teams; `base_url` serves it in the test's own loop."""
    return SimulatedPlatform(assumed=assumed)


@pytest.fixture
async def base_url(platform: SimulatedPlatform) -> AsyncIterator[str]:
    """Where the platform is served."""
    async with platform.serve() as url:
        yield url


@pytest.fixture
async def programs() -> AsyncIterator[AsyncExitStack]:
    """Whatever is entered here is stopped at the end, in reverse order."""
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def prepare(platform: SimulatedPlatform, base_url: str, tmp_path: Path) -> Callable[..., RunningExporter]:
    """An exporter with its own folder of files, not started."""
    numbers = itertools.count(1)

    def make(
        config: Mapping[str, Any] | None = None, *, tokens: Mapping[str, str] | None = None, **more: Any
    ) -> RunningExporter:
        keys = {name: team.token for name, team in platform.teams.items() if team.token}
        config = {"teams": [{"name": name} for name in keys], **(config or {})}
        config["api"] = {"base_url": base_url, **config.get("api", {})}
        directory = tmp_path / f"exporter-{next(numbers)}"
        directory.mkdir()
        return RunningExporter.configured(directory, config, tokens=keys if tokens is None else tokens, **more)

    return make


@pytest.fixture
def exporter_factory(prepare: Callable[..., RunningExporter], programs: AsyncExitStack) -> ExporterFactory:
    async def start(config: Mapping[str, Any] | None = None, **more: Any) -> RunningExporter:
        return await programs.enter_async_context(prepare(config, **more))

    return start


@pytest.fixture
def run_command(prepare: Callable[..., RunningExporter]) -> CommandFactory:
    async def run(
        command: str,
        config: Mapping[str, Any] | None = None,
        *,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Completed:
        files = prepare(config, **more)
        return await run_exporter(
            command,
            f"--config.file={files.config_path}",
            *arguments,
            directory=files.directory,
            environment=environment,
        )

    return run


@pytest.fixture
def prometheus(programs: AsyncExitStack, tmp_path: Path) -> PrometheusFactory:
    async def start(config: Mapping[str, Any]) -> RunningPrometheus:
        directory = tmp_path / "prometheus"
        directory.mkdir()
        server = await programs.enter_async_context(RunningPrometheus.configured(directory, config))
        await server.wait_ready(within=30)
        return server

    return start


@pytest.fixture
def alertmanager(programs: AsyncExitStack, tmp_path: Path) -> AlertmanagerFactory:
    async def start(config: Mapping[str, Any]) -> RunningAlertmanager:
        directory = tmp_path / "alertmanager"
        directory.mkdir()
        server = await programs.enter_async_context(RunningAlertmanager.configured(directory, config))
        await server.wait_ready(within=30)
        return server

    return start
