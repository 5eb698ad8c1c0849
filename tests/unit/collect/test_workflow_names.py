"""The names of workflows are optional, rarely requested, and shown if known."""

import pytest

from exporter.collect.workflow_names import INTERVAL
from exporter.errors import NotFound, RequestTimeout
from fixtures import FakeClient, Rig
from support import Samples

WORKFLOWS = "/r/workflows"


def names(found: Samples) -> dict[str, tuple[str, str]]:
    series = found.series("cyberun_workflow_info", team_name="render")
    return {labels["workflow_id"]: (labels["workflow_slug"], labels["display_name"]) for labels in series}


@pytest.fixture
def client() -> FakeClient:
    """A platform with more workflows than fit on a page, two of which have running tasks."""
    listed = [{"id": f"w{n:03}", "workflow_slug": f"slug-{n}", "display_name": f"Flow {n}"} for n in range(150)]
    running = [{"id": str(n), "task_status": "running", "workflow_id": f"w{n:03}"} for n in (7, 120)]
    return FakeClient(tasks={"running": running}, workflows=listed)


async def test_none_is_asked_for_without_the_setting(client: FakeClient) -> None:
    """Without collect.workflows nothing is requested and nothing is shown."""
    found = await Rig.of(client).poll()
    assert client.asked(WORKFLOWS) == 0
    assert not found.series("cyberun_workflow_tasks_finished_total")


async def test_a_page_in_five_minutes(client: FakeClient) -> None:
    """There is one request every five minutes, for the next page; names are shown from the next poll on."""
    rig = Rig.of(client, workflows=5)
    await rig.poll()
    assert names(await rig.poll(after=INTERVAL - 1)) == {"w007": ("slug-7", "Flow 7")}
    assert client.asked(WORKFLOWS) == 1
    await rig.poll(after=1.0)
    assert names(await rig.poll(after=30.0)).keys() == {"w007", "w120"}
    pages = [query["current_page"] for path, query in client.requests if path == WORKFLOWS]
    await rig.poll(after=INTERVAL)
    assert [*pages, client.requests[-1][1].get("current_page")][:2] == [1, 2]
    assert client.asked(WORKFLOWS) == 3


@pytest.mark.parametrize(("error", "counted"), [(NotFound("404"), 0), (RequestTimeout("no answer"), 1)])
async def test_names_are_optional(client: FakeClient, error: Exception, counted: int) -> None:
    """A platform without such a list is not a failure; workflows are then known only by their ids."""
    client.failures[WORKFLOWS] = error  # type: ignore[assignment]  # one of the platform's
    rig = Rig.of(client, workflows=5)
    await rig.poll()
    found = await rig.poll(after=30.0)
    assert found.value("cyberun_up", team_name="render") == 1
    assert (names(found), client.asked(WORKFLOWS)) == ({}, 1)
    assert len(found.series("cyberun_workflow_tasks_finished_total", team_name="render")) == 3 * 3
    name = "cyberun_exporter_api_request_failures_total"
    labels = found.series(name, team_name="render", path=WORKFLOWS)
    assert sum(found.value(name, **each) or 0 for each in labels) == counted
