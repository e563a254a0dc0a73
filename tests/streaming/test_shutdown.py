from __future__ import annotations

import signal
import threading

import pytest

from pcr_rt.streaming.shutdown import finished_first


def test_ctrl_c_waits_for_the_end_of_the_block() -> None:
    done = []
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), finished_first() as heard:
        assert not heard
        signal.raise_signal(signal.SIGINT)
        assert heard
        done.append("the rest")
    assert done == ["the rest"]
    assert signal.getsignal(signal.SIGINT) is before


def test_an_error_of_the_block_is_what_is_raised() -> None:
    with pytest.raises(ValueError, match="own"), finished_first():
        signal.raise_signal(signal.SIGINT)
        raise ValueError("own")


def test_handlers_of_others_and_other_threads_are_left_alone() -> None:
    def own(*given: object) -> None: ...

    before = signal.signal(signal.SIGINT, own)
    try:
        with finished_first():
            assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, before)
    outcome: list[object] = []

    def elsewhere() -> None:
        with finished_first() as heard:
            outcome.append(heard)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert outcome == [[]]
