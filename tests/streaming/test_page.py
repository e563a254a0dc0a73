from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import chromium
import cv2
import numpy as np
import pytest

from pcr_rt.errors import InputError
from pcr_rt.poses import Poses
from pcr_rt.streaming.page import LONGEST, MOST_IDLE, LivePage
from pcr_rt.streaming.pipeline import PoseStream
from pcr_rt.streaming.reader import SourceStats
from pcr_rt.streaming.results import Result
from pcr_rt.streaming.sources import FrameSource
from toy_streams import ToyEstimator, numbered


def result(index: int = 0, *, source: int = 0, size: tuple[int, int] = (64, 48)) -> Result:
    poses = Poses(
        keypoints=np.full((2, 17, 2), 20.0),
        keypoint_scores=np.ones((2, 17)),
        boxes=np.tile([5, 5, 40, 40], (2, 1)),
        scores=[0.9, 0.75],
        ids=[4, 17],
        source=source,
        frame_index=index,
        timestamp=index / 10,
        age_ms=40.0,
    )
    return Result(np.full((size[1], size[0], 3), index % 256, np.uint8), poses, 10.0)


@pytest.fixture
def page() -> Iterator[LivePage]:
    live = LivePage(port=0)
    yield live
    live.close()


async def ask(viewer: aiohttp.ClientWebSocketResponse) -> tuple[dict[str, Any], Any]:
    """Ask for the next image: (what is said of it, the image)."""
    await viewer.send_str("next")
    data = await viewer.receive_bytes(timeout=10)
    (length,) = struct.unpack_from("<I", data)
    head = json.loads(data[4 : 4 + length])
    return head, cv2.imdecode(np.frombuffer(data[4 + length :], np.uint8), cv2.IMREAD_COLOR)


def test_a_viewer_gets_the_newest_image_and_what_is_in_it(page: LivePage) -> None:
    async def view() -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{page.url}live") as v:
            for index in range(50):
                page.write(result(index))
            head, image = await ask(v)
            assert head["frame_index"] == 49
            assert head["colours"] == "people"
            facts = [(p["id"], p["score"], p["label"], p["at"]) for p in head["people"]]
            assert facts == [(4, 0.9, "#4", [5, 5]), (17, 0.75, "#17", [5, 5])]
            # Okabe and Ito: reddish purple and bluish green.
            assert [p["tag"] for p in head["people"]] == ["#cc79a7", "#009e73"]
            assert {p["text"] for p in head["people"]} == {"#202020"}
            assert head["age_ms"] >= 40
            assert head["viewers"] == 1
            assert image.shape == (48, 64, 3)
            page.write(result(50, size=(2 * LONGEST, 200)))
            head, image = await ask(v)
            assert head["frame_index"] == 50
            assert image.shape == (100, LONGEST, 3)

    asyncio.run(view())


def test_all_sources_have_their_turn(page: LivePage) -> None:
    async def view() -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{page.url}live") as v:
            seen = []
            for index in range(6):
                for source in range(3):
                    page.write(result(index, source=source))
                seen.append((await ask(v))[0]["source"])
            assert sorted(set(seen)) == [0, 1, 2]

    asyncio.run(view())


def test_viewers_that_never_read_slow_nothing(page: LivePage) -> None:
    async def view() -> float:
        async with aiohttp.ClientSession() as session:
            lazy = [await session.ws_connect(f"{page.url}live") for _ in range(3)]
            for viewer in lazy:
                for _ in range(100):
                    await viewer.send_str("next")
            large = result(0, size=(1280, 720))
            start = time.monotonic()
            for _ in range(200):
                page.write(large)
            seconds = time.monotonic() - start
            async with session.ws_connect(f"{page.url}live") as quick:
                page.write(result(7))
                assert (await ask(quick))[0]["frame_index"] == 7
            return seconds

    assert asyncio.run(view()) < 5  # 200 images encoded for three viewers would take longer


def test_connections_that_ask_for_nothing_shut_nobody_out(page: LivePage) -> None:
    """Also those that never end their request; the oldest go, a viewer stays."""
    page.write(result())
    port = int(page.url.rstrip("/").rpartition(":")[2])

    async def view() -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{page.url}live") as viewer,
        ):
            await ask(viewer)
            idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(MOST_IDLE + 20)]
            for connection in idle[:-1]:
                with contextlib.suppress(OSError):
                    connection.sendall(b"GET / HTTP/1.1")
            page.write(result(1))
            assert (await ask(viewer))[0]["frame_index"] == 1
            async with session.get(page.url) as answer:
                assert answer.status == 200
            await asyncio.sleep(0.2)
            open_ones = 0
            for connection in idle:
                connection.settimeout(0.05)
                try:
                    open_ones += connection.recv(1) != b""
                except TimeoutError:
                    open_ones += 1
                except ConnectionError:
                    pass
                connection.close()
            assert 0 < open_ones <= MOST_IDLE

    asyncio.run(view())


def test_the_number_of_viewers_is_limited() -> None:
    page = LivePage(port=0, max_viewers=2)

    async def view() -> None:
        async with aiohttp.ClientSession() as session:
            first = await session.ws_connect(f"{page.url}live")
            second = await session.ws_connect(f"{page.url}live")
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(f"{page.url}live")
            assert refused.value.status == 503
            await first.close()
            for _ in range(100):
                await asyncio.sleep(0.02)
                if page.viewers < 2:
                    break
            third = await session.ws_connect(f"{page.url}live")
            assert [second.closed, third.closed] == [False, False]

    asyncio.run(view())
    page.close()


async def status(url: str, method: str = "GET", **options: Any) -> int:
    async with (
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.request(method, url, **options) as answer,
    ):
        await answer.read()
        return answer.status


def test_other_sites_cannot_look_in(page: LivePage) -> None:
    async def check() -> None:
        assert await status(page.url) == 200
        for headers in (
            {"Host": "evil.example"},
            {"Origin": "http://evil.example"},
            {"Origin": "http://["},
            {"Host": "["},
        ):
            assert await status(page.url, headers=headers) == 403
            assert await status(f"{page.url}live", headers=headers) == 403
        own = page.url.removesuffix("/")
        assert await status(page.url, headers={"Origin": own}) == 200

    asyncio.run(check())


def test_another_address_needs_the_token() -> None:
    page = LivePage("0.0.0.0", port=0)
    port = page.url.split(":")[2].split("/")[0]
    token = page.url.partition("token=")[2]
    plain = f"http://127.0.0.1:{port}/"

    async def check() -> None:
        assert len(token) >= 20
        assert await status(plain) == 403
        assert await status(f"{plain}live") == 403
        assert await status(f"{plain}?token={token[:-1]}x") == 403
        assert await status(f"{plain}?token=%FF") == 403
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar) as session:
            async with session.get(f"{plain}?token={token}") as answer:
                assert answer.status == 200
                assert "HttpOnly" in answer.headers["Set-Cookie"]
            async with session.get(f"{plain}page.js") as answer:
                assert answer.status == 200
            async with session.ws_connect(f"{plain}live") as viewer:
                page.write(result(3))
                assert (await ask(viewer))[0]["frame_index"] == 3

    asyncio.run(check())
    page.close()


def test_pages_on_two_ports_do_not_shut_each_other_out() -> None:
    pages = [LivePage("0.0.0.0", port=0) for _ in range(2)]
    addresses = [f"http://127.0.0.1:{page.url.split(':')[2].split('/')[0]}/" for page in pages]

    async def check() -> None:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
            for page, address in zip(pages, addresses, strict=True):
                await session.get(address, params={"token": page.url.partition("token=")[2]})
            for address in addresses:
                async with session.get(f"{address}page.js") as answer:
                    assert answer.status == 200

    asyncio.run(check())
    for page in pages:
        page.close()


@pytest.mark.parametrize("port", [-1, 70000, "8080", None])
def test_what_is_no_port_is_refused(port: Any) -> None:
    with pytest.raises(InputError, match="give a number from 0 to 65535"):
        LivePage(port=port)


def test_large_and_strange_requests_are_refused(page: LivePage) -> None:
    async def check() -> None:
        assert await status(page.url, "POST", data=b"x" * 100_000) in (405, 413)
        assert await status(f"{page.url}x" * 1) == 404
        assert await status(f"{page.url}static/../page.py") == 404
        assert await status(page.url, headers={"X-Long": "x" * 20_000}) == 400
        assert await status(page.url, headers={"Host": "a:99999"}) == 403
        async with aiohttp.ClientSession() as session:
            viewer = await session.ws_connect(f"{page.url}live")
            await viewer.send_str("x" * 100_000)
            assert (await viewer.receive(timeout=10)).type in (
                aiohttp.WSMsgType.CLOSE,
                aiohttp.WSMsgType.CLOSED,
                aiohttp.WSMsgType.CLOSING,
            )

    asyncio.run(check())


def test_an_address_in_use_is_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="cannot be served on"):
            LivePage.at(f"127.0.0.1:{taken.getsockname()[1]}")


@pytest.mark.parametrize("address", ["", "host", "127.0.0.1:", "1:2:3", "70000"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InputError, match="no address"):
        LivePage.at(address)


class StoodStill:
    """A stream that stays connected but gives no more frames."""

    sources = ()
    stats = (SourceStats("camera 0", read=9, shown=9, connected=True, size=(1080, 1920)),)


@pytest.mark.skipif(chromium.PROGRAM is None, reason="there is no Chromium")
@pytest.mark.slow
def test_chromium_writes_ids_in_its_own_size_and_notices_a_source_that_stands_still(
    page: LivePage,
) -> None:
    """Id 17 is drawn in Okabe and Ito's bluish green, on a 1080x1920 image that is shown small."""
    tall = result(3, size=(1080, 1920))
    tall.poses = tall.poses[[1]].replace(boxes=[[500, 800, 700, 1500]])
    page.attach(StoodStill())  # type: ignore[arg-type]

    async def look() -> None:
        async with chromium.Chromium((500, 700)) as browser:
            await browser.open(page.url)
            page.write(tall)
            await browser.until("document.getElementById('state').textContent === 'live'")
            # The image is 720x1280 when it is sent, and so the box's corner at (333, 533).
            find = """(() => {
                const canvas = document.querySelector("canvas");
                const { data } = canvas.getContext("2d").getImageData(337, 0, 1, 533);
                let rows = 0;
                for (let i = 0; i < data.length; i += 4) {
                    const [red, green, blue] = data.slice(i, i + 3);
                    rows += red < 20 && Math.abs(green - 158) < 20 && blue > 90;
                }
                const shown = canvas.getBoundingClientRect().height;
                return JSON.stringify([canvas.width, canvas.height, rows * shown / 1280]);
            })()"""
            width, height, high = json.loads(await browser.evaluate(find))
            assert (width, height) == (720, 1280)
            assert 13 < high < 26  # CSS pixels of the label's height
            await browser.until(
                "document.getElementById('state').textContent.startsWith('no frames for')"
            )
            page.write(tall)
            await browser.until("document.getElementById('state').textContent === 'live'")

    asyncio.run(look())


@pytest.mark.skipif(chromium.PROGRAM is None, reason="there is no Chromium")
@pytest.mark.slow
def test_chromium_shows_the_stream(tmp_path: Path) -> None:
    def frames() -> Iterator[Any]:
        for number in itertools.count():
            time.sleep(0.02)
            frame = numbered(number, size=(320, 240))
            frame[100:, :, 1] = 200
            yield frame

    page = LivePage(port=0)
    stream = PoseStream(FrameSource(frames(), live=True), ToyEstimator(), track=False, sinks=[page])

    async def look() -> None:
        async with chromium.Chromium((900, 700)) as browser:
            await browser.open(page.url)
            await browser.until("document.getElementById('state').textContent === 'live'")
            await browser.until(
                "document.querySelector('[data-field=people]')?.textContent === '1'"
            )
            field = "document.querySelector('[data-field=shown]').textContent.replace(',', '')"
            first = int(await browser.evaluate(field))
            await browser.until(f"{field} > {first + 20}")
            pixel = "document.querySelector('canvas').getContext('2d').getImageData(250, 200, 1, 1)"
            red, green, blue, _ = await browser.evaluate(f"Array.from({pixel}.data)")
            assert green > 150
            assert max(red, blue) < 60
            await browser.screenshot(tmp_path / "page.png")
            stream.close()
            await browser.until(
                "document.getElementById('state').textContent === 'the stream has ended'"
            )
        assert cv2.imread(str(tmp_path / "page.png")).shape == (700, 900, 3)

    import threading

    runner = threading.Thread(target=stream.run)
    runner.start()
    try:
        asyncio.run(look())
    finally:
        stream.close()
        runner.join()
