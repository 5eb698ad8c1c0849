"""Command line: one PNG per dashboard."""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from grafana import reading
from tools.preview.data import Prometheus, Window
from tools.preview.page import WIDTH, page

_BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
_FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-lcd-text",
    "--hide-scrollbars",
)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.preview", description="Draw the dashboards, without Grafana."
    )
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", help="its address (%(default)s)")
    parser.add_argument("--minutes", type=float, default=15, help="the time shown (%(default)s)")
    parser.add_argument("--scrape-interval", type=float, default=5, help="seconds (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path("docs/images"), help="a folder (%(default)s)")
    parser.add_argument("--scale", type=float, default=1, help="of the picture (%(default)s)")
    parser.add_argument("dashboards", nargs="*", help="uids (all)")
    return parser.parse_args()


def main() -> int:
    """Exit code 0, or 1 where there is no browser."""
    arguments = _arguments()
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        print(f"needs one of {', '.join(_BROWSERS)}", file=sys.stderr)
        return 1
    now, span = time.time(), 60 * arguments.minutes
    window = Window(now - span, now, max(span / 120, arguments.scrape_interval))
    prometheus = Prometheus(arguments.prometheus.rstrip("/"), window, arguments.scrape_interval)
    arguments.output.mkdir(parents=True, exist_ok=True)
    for uid, dashboard in reading.load().items():
        if arguments.dashboards and uid not in arguments.dashboards:
            continue
        document, height = page(dashboard, prometheus)
        picture = arguments.output / f"{uid}.png"
        _shoot([browser, *_FLAGS, f"--force-device-scale-factor={arguments.scale}"], document, height, picture)
    return 0


def _shoot(browser: Sequence[str], document: str, height: int, picture: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "page.html"
        source.write_text(document, encoding="utf-8")
        size = f"--window-size={WIDTH},{height}"
        command = [
            *browser,
            f"--user-data-dir={folder}",
            f"--screenshot={picture.resolve()}",
            size,
            source.as_uri(),
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=60)  # noqa: S603  the browser found above
    print(f"{picture}: {picture.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    sys.exit(main())
