import pytest

from fixtures import full_exporter, stable_exposition


@pytest.fixture
async def expositions() -> dict[str, str]:
    """The full fixture's exposition by the name of its golden file."""
    exporter = await full_exporter()
    return {
        "metrics.prom": await stable_exposition(exporter, openmetrics=False),
        "metrics.openmetrics": await stable_exposition(exporter, openmetrics=True),
    }
