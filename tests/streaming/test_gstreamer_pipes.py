"""Packets put together by hand, as GStreamer's dataprotocol.c lays them out."""

from __future__ import annotations

import io

import numpy as np
import pytest

from pcr_rt.errors import InputError
from pcr_rt.streaming.gstreamer import TimedFrame, read_frames

CAPS = b"video/x-raw, format=(string)BGR, width=(int)2, height=(int)2, framerate=(fraction)30/1\0"
EVENT = 10318
NEVER = (2**64 - 1).to_bytes(8, "big")


def packet(kind: int, payload: bytes, time: bytes = NEVER, major: int = 1) -> bytes:
    head = bytes([major, 0, 1, 0]) + kind.to_bytes(2, "big") + len(payload).to_bytes(4, "big")
    return head + time + bytes(44) + payload


def read(data: bytes) -> list[TimedFrame]:
    stream = io.BytesIO(data)
    return list(read_frames(lambda count: bytearray(stream.read(count))))


def test_frames_have_their_times_and_padding_is_left_out() -> None:
    rows = bytes([1, 2, 3, 4, 5, 6, 99, 99, 7, 8, 9, 10, 11, 12, 99, 99])  # 6 bytes, padded to 8
    time = (1_500_000_000).to_bytes(8, "big")
    data = packet(EVENT, b"GstEventStreamStart") + packet(2, CAPS) + packet(1, rows, time)
    first, second = read(data + packet(1, rows))
    expected = [[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]]]
    np.testing.assert_array_equal(first.frame, expected)
    assert (first.seconds, first.fps) == (1.5, 30)
    assert second.seconds is None


def test_a_rate_that_is_not_known_is_none() -> None:
    data = packet(2, CAPS.replace(b"30/1", b"0/1")) + packet(1, bytes(16))
    assert read(data)[0].fps is None


def test_a_stream_that_is_cut_off_ends() -> None:
    data = packet(2, CAPS) + packet(1, bytes(16))
    assert len(read(data + packet(1, bytes(16))[:70])) == 1
    assert len(read(data + packet(1, bytes(16))[:20])) == 1


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (packet(1, bytes(16), major=7), "something other than frames"),
        (packet(1, bytes(16)), "16 bytes for 0x0"),
        (packet(2, CAPS) + packet(1, bytes(15)), "15 bytes for 2x2"),
        (packet(2, CAPS) + packet(1, bytes(8)), "8 bytes for 2x2"),
        (packet(2, b"audio/x-raw"), "not BGR frames"),
        (packet(2, CAPS.replace(b"BGR", b"RGB")), "not BGR frames"),
    ],
)
def test_other_streams_are_refused(data: bytes, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        read(data)
