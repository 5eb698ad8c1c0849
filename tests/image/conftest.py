import os
from collections.abc import Iterator

import pytest

from support.container import Engine


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The engine and the image that `make image-test` names; what a test leaves running is removed."""
    if "IMAGE" not in os.environ:
        pytest.skip("run by make image-test, which builds the image")
    engine = Engine(tuple(os.environ["ENGINE"].split()), os.environ["IMAGE"])
    yield engine
    engine.remove_all()
