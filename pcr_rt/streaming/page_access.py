"""Decide who may see the live page."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from urllib.parse import urlencode, urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

__all__ = ["Access"]

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

ANYWHERE = ("", "0.0.0.0", "::")


class Access:
    """Let in this machine's own browsers, or those that know the token.

    On a loopback address the request has to name one too, and its origin has to be this page:
    otherwise any web site could look at the camera through its visitor's browser. On other
    addresses the token comes with the first request and is kept in a cookie.
    """

    def __init__(self, host: str, token: str | None = None) -> None:
        self.host = host
        self.token = token or (None if is_loopback(host) else secrets.token_urlsafe(16))
        # Browsers send cookies to all ports of a host, so each page needs a name of its own.
        self._cookie = f"pcr_rt_{secrets.token_hex(4)}"
        self.middleware = self._make_middleware()

    @property
    def is_local(self) -> bool:
        """Whether only this machine's own browsers are let in."""
        return is_loopback(self.host)

    def url(self, port: int) -> str:
        """Return the address to open in a browser, on another machine too."""
        host = _outer_address(self.host) if self.host in ANYWHERE else self.host
        host = f"[{host}]" if ":" in host else host
        query = "?" + urlencode({"token": self.token}) if self.token else ""
        return f"http://{host}:{port}/{query}"

    def _make_middleware(self) -> Middleware:
        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            if not all(map(_is_utf8, request.headers.values())):  # aiohttp could not answer
                raise web.HTTPBadRequest(text="The request is not UTF-8.")
            given = request.query.get("token") or request.cookies.get(self._cookie, "")
            if self.token and not secrets.compare_digest(
                given.encode(errors="surrogateescape"), self.token.encode()
            ):
                raise web.HTTPForbidden(text="Open the address with the token that was printed.")
            named, origin = _host(f"//{request.host}"), request.headers.get("Origin")
            if is_loopback(self.host) and not is_loopback(named):
                raise web.HTTPForbidden(text="This page is for this machine only.")
            if origin is not None and origin.partition("://")[2] != request.host:
                raise web.HTTPForbidden(text="Another site may not look in here.")
            response = await handler(request)
            if not response.prepared:
                response.headers.update(HEADERS)
                if self.token:
                    response.set_cookie(self._cookie, self.token, httponly=True, samesite="Strict")
            return response

        return check


def _outer_address(host: str) -> str:
    """This machine's address in its network, which phones can open without knowing its name."""
    family, far = (
        (socket.AF_INET6, "2001:db8::1") if host == "::" else (socket.AF_INET, "192.0.2.1")
    )
    try:
        # Nothing is sent: that a datagram socket is connected says which way it would go.
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((far, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return socket.gethostname()


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _host(url: str) -> str:
    """The host of a URL; nothing for one that is none, which no browser sends."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Tell whether an address or name is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
