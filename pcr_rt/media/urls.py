"""Addresses of videos and streams. Passwords in them may hold any character."""

from __future__ import annotations

import re

__all__ = ["TIMEOUT_S", "hide_password", "is_url", "url_path"]

TIMEOUT_S = 5.0
"""To connect, and for each read."""


def is_url(text: str) -> bool:
    """Whether this is an address, and no file."""
    return "://" in text


def hide_password(text: str) -> str:
    """The URL without its user and password, fit for a log; anything else as it is."""
    scheme, separator, rest = text.partition("://")
    authority, slash, path = rest.partition("/")
    if "@" not in authority:
        return text
    return f"{scheme}{separator}***@{authority.rpartition('@')[2]}{slash}{path}"


def url_path(url: str) -> str:
    """The path of a URL, without query and fragment."""
    authority, _, path = url.partition("://")[2].partition("/")
    if re.search("[?#]", authority.rpartition("@")[2]):  # the slash is one of the query
        return ""
    return re.split("[?#]", path, maxsplit=1)[0]
