"""Lists whose pages do not belong together."""

import pytest

from exporter.errors import SchemaMismatch
from support.raw import RawConnection, RawRequest, answer, connected, raw_platform

pytestmark = pytest.mark.loopback


def listing(path: str, ids: list[str], total: int, number: int) -> bytes:
    """A page of a list."""
    name, key = ("task_list", "id") if path == "/r/tasks" else ("agent_list", "agent_id")
    meta = {"current_page": number, "per_page": 100, "total_count": total}
    return answer({name: [{key: each} for each in ids], "page_meta": meta})


@pytest.mark.parametrize("echo", [True, False])
async def test_a_list_that_ignores_the_page_number_is_a_failure(*, echo: bool) -> None:
    """A platform that ignores the page number is detected by a repeated page or by the number in it."""

    async def handler(connection: RawConnection, request: RawRequest) -> None:
        number = int(request.query["current_page"]) if echo else 1
        await connection.send(listing(request.path, [f"a{i}" for i in range(100)], 300, number))

    async with raw_platform(handler) as platform, connected(platform) as client:
        for ask in (client.team.agents, lambda number: client.team.tasks("running", number)):
            await ask(1)
            with pytest.raises(SchemaMismatch, match="page 1"):
                await ask(3)
        assert [reason for _, _, reason in client.log.failures] == ["schema", "schema"]


async def test_a_list_that_moved_is_no_such_list() -> None:
    """A page that repeats because items moved has another total, and a page may be requested again."""
    totals = iter([200, 300, 300])

    async def handler(connection: RawConnection, request: RawRequest) -> None:
        number = int(request.query["current_page"])
        await connection.send(listing(request.path, [f"a{i}" for i in range(100)], next(totals), number))

    async with raw_platform(handler) as platform, connected(platform) as client:
        for number in (1, 2, 2):
            assert (await client.team.agents(number)).number == number
