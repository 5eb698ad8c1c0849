import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from exporter.log import BackgroundHandler

# At the end: the package under test is the installed one, and only `grafana` is taken from the repository.
sys.path.append(str(Path(__file__).parents[1]))

# The same examples every time, and nothing depends on how fast a machine is that others use too.
_UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("repeatable", _UNTIMED, derandomize=True)
settings.register_profile("explore", _UNTIMED, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew instead of comparing")
    parser.addoption(
        "--reverse-assumptions",
        action="store_true",
        help="integration tests: the simulated platform behaves the other way wherever its documentation is silent",
    )


@pytest.fixture(autouse=True)
def _no_log_left_behind() -> Iterator[None]:
    """Lines that a test's log could not write are in the metrics, and would be in those of the next test."""
    yield
    root = logging.getLogger()
    root.handlers[:] = [each for each in root.handlers if not isinstance(each, BackgroundHandler)]


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written rather than compared."""
    return bool(request.config.getoption("--update-golden"))
