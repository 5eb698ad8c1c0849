import pytest

from exporter.errors import ConfigError
from exporter.platform.proxy import environment_proxy

PROXY = "http://me:pass@proxy.example:3128"
CLOUD = "https://core.cyberun.cloud/api/v1"


@pytest.mark.parametrize(
    ("environ", "base_url", "proxy", "variable"),
    [
        ({}, CLOUD, None, None),
        ({"HTTPS_PROXY": PROXY}, CLOUD, PROXY, "HTTPS_PROXY"),
        ({"https_proxy": PROXY, "HTTPS_PROXY": "http://other"}, CLOUD, PROXY, "https_proxy"),
        ({"https_proxy": "", "HTTPS_PROXY": PROXY}, CLOUD, None, None),
        ({"HTTPS_PROXY": " "}, CLOUD, None, None),
        ({"HTTP_PROXY": PROXY}, CLOUD, None, None),
        ({"HTTP_PROXY": PROXY}, "http://platform.example/api/v1", PROXY, "HTTP_PROXY"),
        ({"HTTP_PROXY": "proxy.example:3128"}, "http://a.example/api", "http://proxy.example:3128", "HTTP_PROXY"),
        ({"HTTPS_PROXY": "me:pass@proxy.example"}, CLOUD, "http://me:pass@proxy.example", "HTTPS_PROXY"),
        ({"HTTPS_PROXY": "https://proxy.example"}, CLOUD, "https://proxy.example", "HTTPS_PROXY"),
        ({"ALL_PROXY": PROXY}, CLOUD, PROXY, "ALL_PROXY"),
        ({"HTTP_PROXY": PROXY}, "http://127.0.0.1:8080/api/v1", None, None),
        ({"HTTP_PROXY": PROXY}, "http://[::1]:8080/api/v1", None, None),
        ({"HTTP_PROXY": PROXY}, "http://localhost:8080/api/v1", None, None),
    ],
)
def test_the_environment_names_the_proxy(
    environ: dict[str, str], base_url: str, proxy: str | None, variable: str | None
) -> None:
    """Lower-case variables come first, the scheme's own before ALL_PROXY; loopback is always direct."""
    found = environment_proxy(base_url, environ)
    assert (found and found.url, found and found.variable) == (proxy, variable)


@pytest.mark.parametrize(
    ("exempt", "host", "direct"),
    [
        ("*", "core.cyberun.cloud", True),
        ("cyberun.cloud", "core.cyberun.cloud", True),
        ("core.cyberun.cloud", "core.cyberun.cloud", True),
        ("CORE.Cyberun.Cloud", "core.cyberun.cloud", True),
        ("run.cloud", "core.cyberun.cloud", False),
        (".cyberun.cloud", "core.cyberun.cloud", True),
        (".cyberun.cloud", "cyberun.cloud", False),
        ("*.cyberun.cloud", "core.cyberun.cloud", True),
        ("*.cyberun.cloud", "cyberun.cloud", False),
        ("other.example, .cyberun.cloud", "core.cyberun.cloud", True),
        ("other.example .cyberun.cloud", "core.cyberun.cloud", True),
        ("a.example:8443", "a.example:8443", True),
        ("a.example:8443", "a.example", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.0/8", "core.cyberun.cloud", False),
        ("fd00::/8", "[fd12::1]", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3:443", "10.1.2.3", True),
        ("10.1.2.3:80", "10.1.2.3", False),
        ("[fd12::1]:443", "[fd12::1]", True),
        ("fd12::1", "[fd12::1]", True),
        ("10.0.0.0/99", "10.1.2.3", False),
        ("", "core.cyberun.cloud", False),
    ],
)
def test_who_is_asked_directly(exempt: str, host: str, *, direct: bool) -> None:
    """NO_PROXY means the same as in Go: domains, suffixes with a dot or a star, addresses, networks and ports."""
    found = environment_proxy(f"https://{host}/api/v1", {"HTTPS_PROXY": PROXY, "NO_PROXY": exempt})
    assert (found is None) is direct


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("value", ["socks5://proxy.example", "http://", "http://[pass"])
def test_a_proxy_of_another_kind_is_a_configuration_mistake(variable: str, value: str) -> None:
    """The message names the variable, but not its value, which may contain a password."""
    with pytest.raises(ConfigError) as caught:
        environment_proxy(CLOUD, {variable: value})
    assert caught.value.mistakes == (f"{variable}: not usable; expected http://host:port",)


def test_a_proxy_is_named_without_its_password() -> None:
    """A proxy is shown without its password and with the variable that it comes from."""
    proxy = environment_proxy(CLOUD, {"HTTPS_PROXY": PROXY})
    assert str(proxy) == "http://***@proxy.example:3128 (HTTPS_PROXY)"
    assert "pass" not in repr(proxy)
