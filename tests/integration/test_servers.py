import socket
from pathlib import Path

import pytest

from support import AlertmanagerFactory, PrometheusFactory, RunningPrometheus, Series, wait_until


async def test_prometheus_scrapes_and_answers(prometheus: PrometheusFactory) -> None:
    """A Prometheus that a test starts scrapes its targets and answers queries."""
    server = await prometheus(
        {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "scrape_configs": [{"job_name": "nobody", "static_configs": [{"targets": ["127.0.0.1:1"]}]}],
        }
    )

    async def scraped() -> list[Series]:
        return await server.query("up")

    (up,) = await wait_until(scraped)
    assert (up.labels["job"], up.value) == ("nobody", 0)
    assert [target["health"] for target in await server.targets()] == ["down"]
    assert await server.stop() == 0


async def test_alertmanager_answers(alertmanager: AlertmanagerFactory) -> None:
    """An Alertmanager that a test starts returns its alerts, of which there are none yet."""
    server = await alertmanager({"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]})
    assert await server.alerts() == []


async def test_a_failing_test_leaves_nothing_behind(tmp_path: Path) -> None:
    """A program stops and its port is free, even if the test that uses it fails."""
    server = RunningPrometheus.configured(tmp_path, {})

    async def fail() -> None:
        async with server:
            await server.wait_ready(within=30)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    with socket.create_server(("127.0.0.1", server.port)):
        assert await server.stop() == 0


async def test_a_program_that_ends_early_is_reported(tmp_path: Path) -> None:
    """Waiting for a program that ends fails at once, with its output."""
    async with RunningPrometheus.configured(tmp_path, {"no_such_key": 1}) as server:
        with pytest.raises(AssertionError, match="no_such_key"):
            await server.wait_ready()
