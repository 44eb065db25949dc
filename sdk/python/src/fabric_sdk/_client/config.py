"""Where the gateway is and with which token: the environment, else the user's config file."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..errors import UnreachableError

__all__ = ["Target", "target"]


@dataclass(frozen=True)
class Target:
    """A gateway as a client sees it."""

    url: str
    token: str

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise _unreachable(f"the gateway's URL is {self.url!r}; it must be such as http://127.0.0.1:7700")

    def __repr__(self) -> str:
        return f"Target(url={self.url!r}, token='***')"


def target() -> Target:
    """FABRIC_URL and FABRIC_TOKEN, else what `fabric up` wrote."""
    url, token = os.environ.get("FABRIC_URL"), os.environ.get("FABRIC_TOKEN")
    if url and token:
        return Target(url, token)
    path = os.environ.get("FABRIC_CONFIG") or os.path.expanduser("~/.config/fabric/config.json")
    try:
        with open(path, encoding="utf-8") as file:
            stored = json.load(file)
    except FileNotFoundError:
        stored = {}
    except ValueError as error:
        raise _unreachable(f"{path} is not JSON: {error}") from error
    url = url or stored.get("url")
    if not url:
        raise _unreachable(f"no gateway is known: FABRIC_URL is not set and {path} names none; `fabric up` starts one")
    return Target(url, token or stored.get("token", ""))


def _unreachable(message: str) -> UnreachableError:
    return UnreachableError(message, code="fabric_unreachable", retryable=True, fault="platform")
