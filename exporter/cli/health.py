"""`health`: ask the exporter on this machine, for the health check of an image."""

import sys
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException

from exporter.config import Settings

PATIENCE = 5.0
"""Seconds."""


def health(settings: Settings) -> int:
    """Ask the running exporter's health check; 0 when it is healthy, else 1."""
    address = settings.web.listen_address
    host = address.host or "127.0.0.1"
    connection = HTTPConnection(host, address.port, timeout=PATIENCE)
    try:
        connection.request("GET", "/-/healthy")
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        print(f"no answer from {host}:{address.port}: {error}", file=sys.stderr)
        return 1
    finally:
        connection.close()
    if status != HTTPStatus.OK:
        print(f"{host}:{address.port} answers {status}", file=sys.stderr)
        return 1
    return 0
