from __future__ import annotations

import ipaddress
import socket
from typing import Any

import pytest

from pcr_rt.streaming.page_access import Access


def test_a_local_page_has_no_token_and_its_own_address() -> None:
    access = Access("127.0.0.1")
    assert access.is_local
    assert access.url(8080) == "http://127.0.0.1:8080/"


@pytest.mark.parametrize("host", ["0.0.0.0", ""])
def test_a_page_for_the_network_has_an_address_that_a_phone_can_open(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address of the way out, as the system chooses it; names need a name server."""
    asked: list[Any] = []

    class Socket:
        def __init__(self, family: int, kind: int) -> None:
            assert (family, kind) == (socket.AF_INET, socket.SOCK_DGRAM)

        def __enter__(self) -> Socket:
            return self

        def __exit__(self, *error: object) -> None: ...

        def connect(self, place: tuple[str, int]) -> None:
            asked.append(place[0])

        def getsockname(self) -> tuple[str, int]:
            return "192.168.1.23", 40000

    monkeypatch.setattr(socket, "socket", Socket)
    access = Access(host, "a-token")
    assert not access.is_local
    assert access.url(8080) == "http://192.168.1.23:8080/?token=a-token"
    assert not ipaddress.ip_address(asked[0]).is_loopback


def test_without_a_network_the_name_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*given: object) -> None:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket, "socket", no_network)
    monkeypatch.setattr(socket, "gethostname", lambda: "board")
    assert Access("::", "t").url(80) == "http://board:80/?token=t"


def test_a_host_that_is_named_is_kept() -> None:
    assert Access("10.0.0.7", "t").url(80) == "http://10.0.0.7:80/?token=t"
    assert Access("fd00::7", "t").url(80) == "http://[fd00::7]:80/?token=t"
