"""Image: what a function's containers start from, described layer by layer."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union

from .errors import InvalidError

__all__ = ["DEFAULT_PYTHON", "Image"]

DEFAULT_PYTHON = "3.11"

_PYTHON = re.compile(r"3\.\d{1,2}")
_APT = re.compile(r"[a-z0-9][a-z0-9+.:~=_-]*")
_PIP = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9._, -]*\])? ?([<>=!~][<>=!~A-Za-z0-9.*+, -]*)?"
    r"(;[A-Za-z0-9._'\"<>=!~() -]*)?"
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_SHELL = re.compile(r"[|&;<>()$`*?~#{}\n]|\\$")

Command = Union[str, Sequence[str]]


@dataclass(frozen=True)
class Image:
    """An immutable description; every method returns a longer one.

    >>> Image.python("3.11").pip_install("numpy>=2").spec()["layers"]
    [{'kind': 'pip', 'packages': ['numpy>=2']}]
    """

    python_version: str = DEFAULT_PYTHON
    layers: tuple[dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.python_version, str) or not _PYTHON.fullmatch(self.python_version):
            raise _invalid(f"python_version is {self.python_version!r}; it must be a minor version such as '3.11'")

    @classmethod
    def python(cls, version: str = DEFAULT_PYTHON) -> Image:
        """A small Linux with this Python."""
        return cls(version)

    @classmethod
    def debian_slim(cls, python_version: str = DEFAULT_PYTHON) -> Image:
        """The same under Modal's name."""
        return cls(python_version)

    def pip_install(self, *packages: str | Sequence[str]) -> Image:
        """Python packages, as requirements: `"numpy>=2"`."""
        return self._with(kind="pip", packages=_words("pip_install", packages, _PIP, 256, "such as 'numpy>=2'"))

    def apt_install(self, *packages: str | Sequence[str]) -> Image:
        """Debian packages."""
        return self._with(kind="apt", packages=_words("apt_install", packages, _APT, 128, "a Debian package name"))

    def run_commands(self, *commands: Command) -> Image:
        """Commands run while the image builds. A list is taken as it is; a string is split into words, or given to
        `/bin/sh -c` where it uses the shell's own signs."""
        if not commands:
            raise _invalid("run_commands() got no command; give at least one")
        return self._with(kind="run", commands=[_argv(command) for command in commands])

    def env(self, variables: Mapping[str, str]) -> Image:
        """Environment variables of everything that follows and of the function."""
        for name, value in variables.items():
            if not _VARIABLE.fullmatch(name):
                raise _invalid(f"env() got the name {name!r}; names are letters, digits and '_'")
            if not isinstance(value, str):
                raise _invalid(f"env() got {name}={value!r}; values are strings")
        return self._with(kind="env", variables=dict(variables))

    def spec(self) -> dict[str, Any]:
        """As deployments carry it."""
        return {"python": self.python_version, "layers": [dict(layer) for layer in self.layers]}

    def key(self) -> str:
        """Equal descriptions have equal keys."""
        return hashlib.sha256(json.dumps(self.spec(), sort_keys=True).encode()).hexdigest()[:16]

    def _with(self, **layer: Any) -> Image:
        return dataclasses.replace(self, layers=(*self.layers, layer))

    def __hash__(self) -> int:
        return hash(self.key())


def _words(method: str, given: Sequence[str | Sequence[str]], rule: re.Pattern[str], most: int, like: str) -> list[str]:
    words: list[str] = []
    for item in given:
        words.extend([item] if isinstance(item, str) else item)
    if not words:
        raise _invalid(f"{method}() got no package; give at least one")
    for word in words:
        if not isinstance(word, str) or len(word) > most or not rule.fullmatch(word):
            raise _invalid(f"{method}() got {word!r}; each package must be {like}")
    return words


def _argv(command: Command) -> list[str]:
    if isinstance(command, str):
        argv = ["/bin/sh", "-c", command] if _SHELL.search(command) else shlex.split(command)
    else:
        argv = list(command)
    if not argv:
        raise _invalid(f"run_commands() got {command!r}; a command has at least one word")
    for word in argv:
        if not isinstance(word, str) or not 1 <= len(word) <= 512 or any(ord(c) < 32 or ord(c) == 127 for c in word):
            raise _invalid(
                f"run_commands() got the word {word!r}; words have 1 to 512 characters, no control characters"
            )
    return argv


def _invalid(message: str) -> InvalidError:
    return InvalidError(message, code="image_spec_invalid")
