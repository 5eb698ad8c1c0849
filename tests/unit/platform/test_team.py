import json
import threading
from typing import Any

import pytest

from exporter.platform import paths, wire
from exporter.platform.bounds import SLOW_BYTES
from fixtures import FakeClient


@pytest.mark.parametrize("list_name", ["agent_list", "task_list"])
@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
async def test_a_large_answer_is_decoded_beside_the_loop(
    monkeypatch: pytest.MonkeyPatch, list_name: str, *, large: bool
) -> None:
    """Only large answers are decoded in a thread, because that would block the event loop for too long."""
    threads: list[threading.Thread] = []
    decoder = "decode_agents" if list_name == "agent_list" else "decode_tasks"
    decode = getattr(wire, decoder)

    def noted(*arguments: Any) -> Any:
        threads.append(threading.current_thread())
        return decode(*arguments)

    monkeypatch.setattr(wire, decoder, noted)
    meta = {"current_page": 1, "per_page": 100, "total_count": 0}
    body = json.dumps({list_name: [], "page_meta": meta, "more": "x" * (SLOW_BYTES if large else 1)}).encode()
    path, status = (paths.RUNTIME_AGENTS, "") if list_name == "agent_list" else (paths.TASKS, "running")
    client = FakeClient(raw={(path, status): body}).asking()
    page: Any = await (client.agents(1) if list_name == "agent_list" else client.tasks("running", 1))
    assert page.total == 0
    assert [thread is threading.main_thread() for thread in threads] == [not large]
