"""The API paths that this exporter calls, below the base URL; each is also a value of the `path` label."""

from typing import Final

TASKS: Final = "/r/tasks"
WORKFLOWS: Final = "/r/workflows"
AGENTS: Final = "/agents"
"""Device keys and user JWTs."""
RUNTIME_AGENTS: Final = "/r/agents"
"""The same list for integration keys, which may call runtime paths only."""
ME: Final = "/users/me"
REFRESH: Final = "/auth/refresh"
