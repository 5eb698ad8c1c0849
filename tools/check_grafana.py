"""Checks that a running Grafana loaded the dashboards unchanged, and that it can run their queries.

usage: python -m tools.check_grafana http://127.0.0.1:3000

The Grafana must be provisioned with the files below grafana/, allow anonymous viewers, and have a Prometheus that
scrapes an exporter. Variables are asked with all of their values.
"""

import argparse
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any, Final

from grafana import reading

_PATIENCE: Final = 120
_SOURCE: Final = {"type": "prometheus", "uid": "prometheus"}
# Grafana fills these in by itself; the others are the browser's.
_VALUES: Final = reading.EVERYTHING | {"__rate_interval": "$__rate_interval", "__interval": "1m", "__range": "15m"}


def _call(url: str, body: Mapping[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310  the user's address
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  as above
        return json.load(answer)


def _wait(url: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            for uid in reading.load():
                _call(f"{url}/api/dashboards/uid/{uid}")
        except (OSError, ValueError):
            if time.monotonic() > deadline:
                raise
            time.sleep(1)
        else:
            return


def _mistakes(url: str) -> Iterator[str]:
    for uid, board in reading.load().items():
        answer = _call(f"{url}/api/dashboards/uid/{uid}")
        if not answer["meta"].get("provisioned"):
            yield f"{uid}: not provisioned"
        shown = [panel["title"] for panel in answer["dashboard"]["panels"]]
        if shown != [panel["title"] for panel in board["panels"]]:
            yield f"{uid}: other panels: {shown}"
        for panel in reading.panels(board):
            for target in panel["targets"]:
                for mistake in _refused(url, target):
                    yield f"{uid}: {panel['title']} {target['refId']}: {mistake}"


def _refused(url: str, target: Mapping[str, Any]) -> Iterator[str]:
    query = {**target, "expr": reading.filled(target["expr"], _VALUES), "datasource": _SOURCE}
    query |= {"intervalMs": 15000, "maxDataPoints": 500}
    try:
        answer = _call(f"{url}/api/ds/query", {"queries": [query], "from": "now-15m", "to": "now"})
    except urllib.error.HTTPError as error:
        yield f"{error.code}: {error.read()[:500]!r}"
        return
    result = answer["results"][target["refId"]]
    if result.get("error"):
        yield result["error"]


def main() -> int:
    """Exit code 0 when all is well; 1 with one line per mistake."""
    parser = argparse.ArgumentParser(prog="python -m tools.check_grafana", description=__doc__)
    parser.add_argument("url", help="Grafana's address")
    url = parser.parse_args().url.rstrip("/")
    _wait(url)
    mistakes = list(_mistakes(url))
    print("\n".join(mistakes) or "all dashboards are provisioned, and all of their queries are answered")
    return int(bool(mistakes))


if __name__ == "__main__":
    sys.exit(main())
