"""Serve the live page: annotated video, people, rates and counters in any browser.

Viewers ask for each image, and get the newest one; nothing queues up for a slow viewer, and without
viewers nothing is drawn or encoded. The server has a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import struct
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
from aiohttp import WSMsgType, web

from pcr_rt.colours import Colour, person_shades
from pcr_rt.drawing import DrawOptions, label_text
from pcr_rt.errors import InputError
from pcr_rt.streaming.page_access import Access
from pcr_rt.streaming.results import Result
from pcr_rt.streaming.sinks import Sink, StreamLike, scaled

__all__ = ["LivePage"]

log = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
FILES = {"": "page.html", "page.css": "page.css", "page.js": "page.js"}
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
DEFAULT_PORT = 8080
LARGEST_REQUEST = 4096
MOST_IDLE = 32
"""Connections that watch nothing; one more ends the oldest, so that nobody can use them all up."""
LONGEST = 1280
"""Pixels of the longer side; larger frames are scaled down before they are drawn on and sent."""
JPEG_QUALITY = 80
START_S, STOP_S = 10.0, 5.0
HEARTBEAT_S = 20.0
QUIET_S = 2.0
"""After so long without an image, viewers get the counters alone."""


class LivePage(Sink):
    """Serve a stream's results as a web page.

    host: addresses other than this machine's own need ``token``, one is made if none is given;
    ``url`` contains it. port 0 takes a free one. max_viewers: how many may watch at once. Raises
    InputError if the page cannot be served there.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        *,
        token: str | None = None,
        max_viewers: int = 8,
    ) -> None:
        if not isinstance(port, int) or not 0 <= port < 65536:
            raise InputError(f"{port!r} is no port: give a number from 0 to 65535.")
        self.name = "live page"
        self.max_viewers = max_viewers
        self._access = Access(host, token)
        self._stream: StreamLike | None = None
        self._newest: dict[int, _Image] = {}
        self._viewers: dict[web.WebSocketResponse, Any] = {}
        """Each with its connection."""
        self._loop = asyncio.new_event_loop()
        self._news = asyncio.Condition()
        self._started: threading.Event = threading.Event()
        self._failures: list[OSError] = []
        self._ended = False
        self._port = port
        self._thread = threading.Thread(target=self._serve, name="pcr-rt live page", daemon=True)
        self._thread.start()
        self._started.wait(START_S)
        for failure in self._failures:
            self._thread.join(STOP_S)
            reason = failure.strerror or failure
            raise InputError(
                f"The live page cannot be served on {host}:{port} ({reason}): choose another port."
            )
        self.url = self._access.url(self._port)

    @classmethod
    def at(cls, address: str) -> LivePage:
        """Serve the page at "port" or "host:port"; InputError if the address is neither."""
        text = address if ":" in address else f":{address}"
        try:
            parts = urlsplit(f"//{text}")
            port = parts.port
        except ValueError:
            port = None
        if port is None:
            raise InputError(f"{address!r} is no address to serve on: give a port or host:port.")
        return cls(parts.hostname or "127.0.0.1", port)

    @property
    def is_local(self) -> bool:
        """Whether only this machine's own browsers are let in."""
        return self._access.is_local

    @property
    def viewers(self) -> int:
        """The number of viewers now."""
        return len(self._viewers)

    # The stream's side

    def attach(self, stream: StreamLike) -> None:
        """Show the counters of this stream."""
        self._stream = stream

    def write(self, result: Result) -> None:
        """Replace the newest image of the result's source."""
        source = result.poses.source or 0
        number = self._newest[source].number + 1 if source in self._newest else 1
        self._newest[source] = _Image(result, number)
        self._tell()

    def close(self) -> None:
        """Tell the viewers that this is the end, and stop serving."""
        self._ended = True
        self._tell()
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._quit.set)
            self._thread.join(STOP_S)

    def _tell(self) -> None:
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._notify(), self._loop)

    # The server's thread

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main())
        finally:
            self._loop.close()

    async def _main(self) -> None:
        self._quit = asyncio.Event()
        app = web.Application(
            client_max_size=LARGEST_REQUEST, middlewares=[self._access.middleware]
        )
        app.router.add_get("/live", self._live)
        app.router.add_get("/{name:[a-z.]*}", self._file)
        runner = web.AppRunner(app, access_log=None, keepalive_timeout=15, shutdown_timeout=1)
        await runner.setup()
        requests = runner.server
        assert requests is not None

        def end_the_oldest() -> None:
            watching = list(self._viewers.values())
            idle = [c.transport for c in requests.connections if c not in watching]
            there = [t for t in idle if t is not None and not t.is_closing()]
            for transport in there[:-MOST_IDLE]:
                transport.abort()

        def connection() -> Any:
            self._loop.call_later(0.01, end_the_oldest)  # it does not count before it is made
            return requests()

        try:
            server = await self._loop.create_server(
                connection, self._access.host, self._port, backlog=16
            )
            self._port = server.sockets[0].getsockname()[1]
        except OSError as error:
            self._failures.append(error)
            await runner.cleanup()
            return
        finally:
            self._started.set()
        await self._quit.wait()
        await asyncio.sleep(0.2)  # the viewers' last message
        server.close()
        for viewer in list(self._viewers):
            await viewer.close()
        await runner.cleanup()

    async def _notify(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def _file(self, request: web.Request) -> web.StreamResponse:
        name = FILES.get(request.match_info["name"])
        if name is None:
            raise web.HTTPNotFound
        path = STATIC / name
        return web.Response(text=path.read_text(), content_type=TYPES[path.suffix])

    async def _live(self, request: web.Request) -> web.StreamResponse:
        """Serve one viewer: each message "next" asks for an image that it has not seen."""
        if len(self._viewers) >= self.max_viewers:
            raise web.HTTPServiceUnavailable(
                text=f"The limit of {self.max_viewers} viewers is reached."
            )
        socket = web.WebSocketResponse(max_msg_size=LARGEST_REQUEST, heartbeat=HEARTBEAT_S)
        self._viewers[socket] = request.protocol
        try:
            await socket.prepare(request)
            seen: dict[int, int] = {}
            async for message in socket:
                if message.type != WSMsgType.TEXT or message.data != "next":
                    break
                image = await self._next(seen)
                if image is None:
                    note = {"ended": self._ended, **self._counters()}
                    await socket.send_str(json.dumps(note))
                    if self._ended:
                        break
                    continue
                seen.pop(image.source, None)  # to the end: the others' turns come first
                seen[image.source] = image.number
                jpeg, head = await asyncio.to_thread(image.encoded)
                text = json.dumps({**head, **self._counters()}).encode()
                await socket.send_bytes(struct.pack("<I", len(text)) + text + jpeg)
        except ConnectionError:
            pass  # the viewer has gone
        finally:
            self._viewers.pop(socket, None)
        return socket

    async def _next(self, seen: dict[int, int]) -> _Image | None:
        """Wait for the newest image of the source whose last one this viewer got longest ago.

        None if none comes for a while, or at the end.
        """

        def fresh() -> list[_Image]:
            return [p for p in self._newest.values() if p.number > seen.get(p.source, 0)]

        async with self._news:
            with contextlib.suppress(asyncio.TimeoutError):
                there = self._news.wait_for(lambda: fresh() or self._ended)
                await asyncio.wait_for(there, QUIET_S)
        turns = {source: turn for turn, source in enumerate(seen)}
        return min(fresh(), key=lambda p: turns.get(p.source, -1), default=None)

    def _counters(self) -> dict[str, Any]:
        stats = [] if self._stream is None else [asdict(s) for s in self._stream.stats]
        return {"sources": stats, "viewers": self.viewers}


class _Image:
    """Encode a result as JPEG, once for all viewers and only when one asks."""

    def __init__(self, result: Result, number: int) -> None:
        self.source = result.poses.source or 0
        self.number = number
        self.made = time.monotonic()
        self._result = result
        self._lock = threading.Lock()
        self._sent: tuple[bytes, dict[str, Any]] | None = None

    def encoded(self) -> tuple[bytes, dict[str, Any]]:
        """Return the JPEG and the facts that go with it."""
        with self._lock:
            if self._sent is None:
                self._sent = self._encode()
        jpeg, head = self._sent
        waited = (time.monotonic() - self.made) * 1e3
        return jpeg, {**head, "age_ms": (self._result.poses.age_ms or 0.0) + waited}

    def _encode(self) -> tuple[bytes, dict[str, Any]]:
        drawing = self._result.drawing
        frame, poses = scaled(self._result.frame, self._result.poses, LONGEST)
        # The browser writes the labels: it knows how large the image is shown.
        unlabelled: DrawOptions = {**drawing, "ids": False, "scores": False}
        drawn = poses.draw(frame, **unlabelled)
        jpeg = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
        colours = drawing.get("colours", "people")
        ids = [None] * len(poses) if poses.ids is None else poses.ids.tolist()
        people = []
        for number, (id_, score) in enumerate(zip(ids, poses.scores.tolist(), strict=True), 1):
            label = label_text(
                id_,
                score,
                show_ids=drawing.get("ids", True),
                show_scores=drawing.get("scores", False),
            )
            shades = person_shades(number if id_ is None else id_, colours)
            people.append(
                {
                    "id": id_,
                    "score": round(score, 2),
                    "label": label,
                    "at": np.rint(poses.boxes[number - 1, :2]).astype(int).tolist(),
                    "tag": _css(shades.tag),
                    "text": _css(shades.text),
                }
            )
        return jpeg, {
            "source": self.source,
            "frame_index": poses.frame_index,
            "timestamp": poses.timestamp,
            "colours": colours,
            "people": people,
        }


def _css(colour: Colour) -> str:
    blue, green, red = colour
    return f"#{red:02x}{green:02x}{blue:02x}"
