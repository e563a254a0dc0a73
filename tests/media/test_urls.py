from __future__ import annotations

import pytest

from pcr_rt.media.urls import hide_password, is_url, url_path


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://me:se@cret@10.0.0.2:554/a?b=1", "rtsp://***@10.0.0.2:554/a?b=1"),
        ("rtsp://me:s3#cret@host/x", "rtsp://***@host/x"),
        ("rtsp://me:s[cret@host", "rtsp://***@host"),
        ("rtsp://10.0.0.2/a@b", "rtsp://10.0.0.2/a@b"),
        ("clip@home.mp4", "clip@home.mp4"),
    ],
)
def test_passwords_are_hidden(url: str, shown: str) -> None:
    assert hide_password(url) == shown


def test_the_path_is_without_query_and_fragment() -> None:
    assert url_path("http://me:s#c[ret@host/films/a.mp4?token=/b.jpg#t=3") == "films/a.mp4"
    assert url_path("rtsp://host") == ""
    assert url_path("http://host?file=/a.mp4") == ""


def test_files_are_no_addresses() -> None:
    assert is_url("https://host/a.mp4")
    assert not is_url("2024-05-01T10:30:00.mp4")
