"""Fixtures of the Python tests."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parents[2] / "sdk" / "python" / "src"), str(Path(__file__).parent)]

from runner import Runner  # noqa: E402


@pytest.fixture
def runner():
    """Makes runners with a booted, ready shim; ends them all."""
    made: list[tuple[Runner, str]] = []

    def make(code: str = "", *, boot: bool = True, **options) -> Runner:
        folder = tempfile.mkdtemp(prefix="fab")  # a unix socket's path has to be short
        one = Runner(Path(folder), code, **options)
        made.append((one, folder))
        if boot:
            one.boot()
            one.ready()
        return one

    yield make
    for one, folder in made:
        one.end()
        shutil.rmtree(folder)
