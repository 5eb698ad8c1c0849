"""`health`: ask the exporter on this machine, for the health check of an image."""

import ssl
import sys
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection

from exporter.config import ListenAddress, Web

PATIENCE = 5.0
"""Seconds."""


def health(web: Web) -> int:
    """Ask the running exporter's health check; 0 when it is healthy, else 1.

    Whether it serves TLS is found out, not read: the file that says so may have changed since the exporter read it. Its
    certificate is not verified, as it is for another name than that of the loopback. An exporter that hangs up
    for want of a certificate of ours counts as healthy: its event loop was there to do so.
    """
    schemes = (_ask_https, _ask_http) if web.config_file else (_ask_http, _ask_https)
    problems: list[str] = []
    for ask in schemes:
        try:
            status = ask(web.listen_address)
        except (OSError, HTTPException) as error:
            problems.append(str(error))
            continue
        if status == HTTPStatus.OK:
            return 0
        problems.append(f"answers {status}")
        break
    print(
        f"{_host(web.listen_address)}:{web.listen_address.port}: {'; '.join(dict.fromkeys(problems))}", file=sys.stderr
    )
    return 1


def _host(address: ListenAddress) -> str:
    return address.host or "127.0.0.1"


def _ask_http(address: ListenAddress) -> int:
    return _status(HTTPConnection(_host(address), address.port, timeout=PATIENCE))


def _ask_https(address: ListenAddress) -> int:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        return _status(HTTPSConnection(_host(address), address.port, timeout=PATIENCE, context=context))
    except (ConnectionResetError, ssl.SSLEOFError):
        # It hung up on us for want of a certificate. One that hangs would not, nor would one that speaks no TLS.
        return HTTPStatus.OK


def _status(connection: HTTPConnection) -> int:
    try:
        connection.request("GET", "/-/healthy")
        return connection.getresponse().status
    finally:
        connection.close()
