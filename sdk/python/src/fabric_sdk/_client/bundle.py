"""A source tree as a tar.gz whose bytes depend on nothing but the files: the bundle of an ephemeral deployment."""

from __future__ import annotations

import fnmatch
import gzip
import io
import os
import tarfile
from collections.abc import Iterator, Mapping

__all__ = ["bundle"]

_ALWAYS_LEFT_OUT = (
    ".git .hg .svn .venv venv node_modules __pycache__ .mypy_cache .pytest_cache .ruff_cache .ipynb_checkpoints"
    " *.pyc *.pyo .DS_Store"
).split()
_IGNORE_FILES = (".gitignore", ".fabricignore")


def bundle(root: str | None, extra: Mapping[str, bytes]) -> bytes:
    """The files below `root` (None: no files) and `extra` ones at its top."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, full in sorted(_files(root)) if root is not None else ():
            with open(full, "rb") as file:
                _add(tar, path, file.read(), executable=os.access(full, os.X_OK))
        for name, data in sorted(extra.items()):
            _add(tar, name, data)
    return gzip.compress(packed.getvalue(), compresslevel=6, mtime=0)


def _add(tar: tarfile.TarFile, path: str, data: bytes, *, executable: bool = False) -> None:
    info = tarfile.TarInfo(path)
    info.size = len(data)
    info.mode = 0o755 if executable else 0o644
    tar.addfile(info, io.BytesIO(data))


def _files(root: str) -> Iterator[tuple[str, str]]:
    patterns = [*_ALWAYS_LEFT_OUT, *_patterns(root)]
    for folder, folders, names in os.walk(root):
        base = os.path.relpath(folder, root)
        relative = {name: name if base == "." else f"{base}/{name}" for name in (*folders, *names)}
        folders[:] = sorted(name for name in folders if not _ignored(relative[name], patterns, folder=True))
        for name in names:
            full = os.path.join(folder, name)
            if os.path.isfile(full) and not _ignored(relative[name], patterns, folder=False):
                yield relative[name], full


def _patterns(root: str) -> list[str]:
    found: list[str] = []
    for name in _IGNORE_FILES:
        path = os.path.join(root, name)
        if os.path.isfile(path):
            with open(path, encoding="utf-8") as file:
                found.extend(line.strip() for line in file if line.strip() and not line.startswith(("#", "!")))
    return found


def _ignored(path: str, patterns: list[str], *, folder: bool) -> bool:
    for pattern in patterns:
        if pattern.endswith("/") and not folder:
            continue
        plain = pattern.rstrip("/")
        subject = path if "/" in plain else path.rpartition("/")[2]
        if fnmatch.fnmatchcase(subject, plain.lstrip("/")):
            return True
    return False
