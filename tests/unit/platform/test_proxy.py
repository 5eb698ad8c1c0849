import pytest

from exporter.errors import ConfigError
from exporter.platform.proxy import environment_proxy

PROXY = "http://me:pass@proxy.example:3128"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("environ", "base_url", "proxy"),
    [
        ({}, "https://core.cyberun.cloud/api/v1", None),
        ({"HTTPS_PROXY": PROXY}, "https://core.cyberun.cloud/api/v1", PROXY),
        ({"https_proxy": PROXY}, "https://core.cyberun.cloud/api/v1", PROXY),
        ({"HTTPS_PROXY": ""}, "https://core.cyberun.cloud/api/v1", None),
        ({"HTTP_PROXY": PROXY}, "https://core.cyberun.cloud/api/v1", None),
        ({"HTTP_PROXY": PROXY}, "http://platform.example/api/v1", PROXY),
        ({"ALL_PROXY": PROXY}, "https://core.cyberun.cloud/api/v1", PROXY),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "cyberun.cloud"}, "https://core.cyberun.cloud/api/v1", None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}, "https://core.cyberun.cloud/api/v1", None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "a.example:8443"}, "https://a.example:8443/api/v1", None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "a.example:8443"}, "https://a.example/api/v1", PROXY),
        ({"HTTP_PROXY": PROXY}, "http://127.0.0.1:8080/api/v1", None),
        ({"HTTP_PROXY": PROXY}, "http://[::1]:8080/api/v1", None),
        ({"HTTP_PROXY": PROXY}, "http://localhost:8080/api/v1", None),
    ],
)
def test_the_environment_names_the_proxy(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], base_url: str, proxy: str | None
) -> None:
    """The variables mean what they mean to curl; a platform on this machine is asked directly."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert environment_proxy(base_url) == proxy


@pytest.mark.parametrize("value", ["socks5://proxy.example", "proxy.example:3128", "http://", "http://[pass"])
def test_a_proxy_of_another_kind_is_a_configuration_mistake(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """The variable is named; its value, which may hold a password, is not."""
    monkeypatch.setenv("HTTPS_PROXY", value)
    with pytest.raises(ConfigError) as caught:
        environment_proxy("https://core.cyberun.cloud/api/v1")
    assert caught.value.mistakes == ("HTTPS_PROXY: not usable; expected http://host:port",)
