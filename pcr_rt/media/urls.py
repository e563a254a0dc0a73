"""Addresses of videos and streams. Passwords in them may hold any character."""

from __future__ import annotations

import re

__all__ = ["hide_password", "is_url", "url_path"]


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
    path = url.partition("://")[2].partition("/")[2]
    return re.split("[?#]", path, maxsplit=1)[0]
