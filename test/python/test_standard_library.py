"""The shim starts and runs with the standard library alone."""

from __future__ import annotations

import ast
import json
import sys

import pytest

from runner import SDK

SOURCES = sorted((SDK / "fabric_sdk").rglob("*.py"))
ONLY_INSIDE_TRY_OR_OUTSIDE_CONTAINERS = {"cloudpickle", "tqdm"}
#: What loops that train bring themselves; `fabric_sdk.train` loads the modules that import them when they are used.
FRAMEWORKS = {"lightning", "pytorch_lightning", "torch", "transformers"}
#: What a folder or a file of the SDK may import besides: nothing loads it but code that uses it.
USES = {"train": FRAMEWORKS, "ray.py": {"ray"}}


@pytest.mark.skipif(sys.version_info < (3, 10), reason="Python 3.9 does not list its standard modules")
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(SDK)))
def test_imports_name_standard_modules(source):
    names = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add((node.module or "").partition(".")[0])
    foreign = names - set(sys.stdlib_module_names)
    allowed = ONLY_INSIDE_TRY_OR_OUTSIDE_CONTAINERS.union(*(USES.get(part, ()) for part in source.parts))
    assert foreign <= allowed
    assert not (foreign and "_shim" in source.parts)


@pytest.mark.skipif(sys.version_info < (3, 10), reason="Python 3.9 does not list its standard modules")
def test_a_running_shim_has_loaded_nothing_else(runner):
    r = runner("import sys\ndef f(): return sorted({name.partition('.')[0] for name in sys.modules})", boot=False)
    r.boot(env={"PYTHONPATH": str(SDK)}, flags=("-S",)).ready()
    loaded = set(r.call())
    assert loaded - set(sys.stdlib_module_names) <= {"fabric_sdk", "user", "__main__", "__mp_main__"}
    assert not loaded & {"asyncio", "http", "ssl", "email", "multiprocessing"}, "these cost start time"


def test_pickles_work_without_cloudpickle(runner):
    r = runner("def f(x): return (x, 1)", boot=False)
    r.boot(env={"PYTHONPATH": str(SDK)}, flags=("-S",)).ready()
    assert r.call([1], accept_pickle=True) == ([1], 1)


def test_no_file_is_long():
    long = {str(path): lines for path in SOURCES if (lines := len(path.read_text().splitlines())) > 300}
    assert not long, json.dumps(long)
