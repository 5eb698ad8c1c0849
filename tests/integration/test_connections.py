"""The exporter over raw sockets: connections that break, and unexpected bytes."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

from support import RunningExporter, run_exporter, wait_until
from support.raw import RawConnection, RawRequest, answer, healthy, raw_platform

QUICK = {"interval": "1s", "stale_after": "1h"}


def config(base_url: str) -> dict[str, object]:
    """Two teams that share the connections."""
    teams = [{"name": "render"}, {"name": "film"}]
    return {"api": {"base_url": base_url, "timeout": "5s"}, "collect": QUICK, "teams": teams}


TOKENS = {"render": "sk-render-0123456789abcdef", "film": "sk-film-0123456789abcdef"}


async def test_idle_connections_that_a_middlebox_forgets_cost_no_poll(
    prepare: Callable[..., RunningExporter], programs: AsyncExitStack
) -> None:
    """If every connection is reset at its second request, no poll fails, and exactly the sent requests are counted."""

    async def handler(connection: RawConnection, _: RawRequest) -> None:
        if connection.requests > 1:
            connection.reset()
        else:
            await connection.send(answer())

    platform = await programs.enter_async_context(raw_platform(handler))
    exporter = await programs.enter_async_context(prepare(config(platform.base_url), tokens=TOKENS))
    await exporter.wait_ready()

    async def polled_often() -> bool:
        teams = (await exporter.json("/api/v1/status"))["teams"]
        assert all(each["failures_in_a_row"] == 0 for team in teams for each in team["collectors"])
        return all(len(each["attempts"]) >= 4 for team in teams for each in team["collectors"])

    await wait_until(polled_often, within=30)
    samples = await exporter.samples()
    assert samples.value("cyberun_up", team_name="render") == samples.value("cyberun_up", team_name="film") == 1
    failures = samples.series("cyberun_exporter_api_request_failures_total")
    assert failures
    assert all(samples.value("cyberun_exporter_api_request_failures_total", **labels) == 0 for labels in failures)
    assert await exporter.stop() == 0
    assert any(connection.requests > 1 for connection in platform.connections)


async def test_a_late_duplicate_answer_reaches_no_other_team(
    prepare: Callable[..., RunningExporter], programs: AsyncExitStack
) -> None:
    """If each answer arrives twice, one team's agents are never shown as another's."""

    async def handler(connection: RawConnection, request: RawRequest) -> None:
        team = next(name for name, token in TOKENS.items() if token == request.token)
        agents = [{"agent_id": f"{team}-1"}] if request.path == "/r/agents" else []
        meta = {"current_page": 1, "per_page": 100, "total_count": len(agents)}
        whole = answer({"task_list": [], "agent_list": agents, "page_meta": meta})
        await connection.send(whole)
        await asyncio.sleep(0.05)
        await connection.send(whole)

    platform = await programs.enter_async_context(raw_platform(handler))
    exporter = await programs.enter_async_context(prepare(config(platform.base_url), tokens=TOKENS))
    await exporter.wait_ready()

    for _ in range(20):
        await asyncio.sleep(0.2)
        agents = (await exporter.samples()).series("cyberun_agent_connected")
        assert {(labels["team_name"], labels["agent_id"]) for labels in agents} == {
            ("render", "render-1"),
            ("film", "film-1"),
        }


async def test_a_proxy_is_named_before_it_is_used(
    prepare: Callable[..., RunningExporter], programs: AsyncExitStack
) -> None:
    """The start, `check` and `check --online` name the proxy and the variable it comes from, without its password."""
    platform = await programs.enter_async_context(raw_platform(healthy))
    proxy = f"me:secret@127.0.0.1:{platform.port}"
    environment = {"HTTP_PROXY": proxy, "NO_PROXY": "10.0.0.0/8,*.elsewhere.example"}
    files = prepare(config("http://platform.example/api/v1"), tokens=TOKENS, environment=environment)
    shown = []
    for command in (["check"], ["check", "--online"]):
        done = await run_exporter(
            *command, f"--config.file={files.config_path}", directory=files.directory, environment=environment
        )
        assert done.code == 0, done.stderr
        shown.append(done.stdout)
    exporter = await programs.enter_async_context(files)
    await exporter.wait_ready()
    assert await exporter.stop() == 0
    for text in (*shown, exporter.logs):
        assert f"http://***@127.0.0.1:{platform.port} (HTTP_PROXY)" in text
        assert "secret" not in text
    assert all(request.target.startswith("http://platform.example/api/v1/") for request in platform.requests)
