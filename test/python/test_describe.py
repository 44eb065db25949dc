"""What `python -m fabric_sdk.describe` and `fabric_sdk.run` make of app files."""

from __future__ import annotations

import base64
import json
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from fabric_sdk._client.bundle import bundle

from runner import SDK, SITE

EXAMPLES = Path(__file__).parents[2] / "sdk" / "examples"


def python(*args, cwd=None, **env):
    return subprocess.run(
        [sys.executable, *map(str, args)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{SDK}{os.pathsep}{SITE}", **env},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
    )


def describe(path, status=0):
    ran = python("-m", "fabric_sdk.describe", path)
    assert ran.returncode == status, ran.stderr
    assert ran.stdout.count("\n") == 1
    return json.loads(ran.stdout)


@pytest.fixture
def write(tmp_path):
    def write(text, name="app.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    return write


APP = """
import os, sys, fabric_sdk as fabric
print("noise"); os.system("echo more noise")
app = fabric.App("a")
@app.function()
def f(x: int) -> int: return x
"""


def test_a_plain_file(write):
    told = describe(write(APP))
    assert told["app"] == "a" and told["root"] == str(write(APP).parent) and told["pickles"] == {}
    (f,) = told["functions"]
    assert f["entry"] == {"module": "app", "qualname": "f"} and told["images"][f["image"]] == {
        "python": "3.11",
        "layers": [],
    }
    assert told["python"] == f"{sys.version_info[0]}.{sys.version_info[1]}"


def test_a_file_inside_packages(write, tmp_path):
    write("", "src/top/__init__.py")
    write("value = 1", "src/top/other.py")
    write("", "src/top/sub/__init__.py")
    told = describe(write("from ..other import value\n" + APP, "src/top/sub/app.py"))
    assert told["root"] == str(tmp_path / "src") and told["functions"][0]["entry"]["module"] == "top.sub.app"


def test_functions_of_other_modules_keep_their_module(write):
    write("import fabric_sdk as fabric\napp = fabric.App()\n@app.function()\ndef g(): pass", "parts.py")
    told = describe(write("from parts import app", "main.py"))
    assert told["app"] == "main" and told["functions"][0]["entry"] == {"module": "parts", "qualname": "g"}


def test_apps_of_other_modules_may_be_imported_beside_the_files_own(write):
    write("import fabric_sdk as fabric\napp = fabric.App('parts')\n@app.function()\ndef g(): pass", "parts.py")
    mine = "import fabric_sdk as fabric\nmine = fabric.App('mine')\n@mine.function()\ndef f(): pass"
    assert describe(write(f"from parts import app, g\n{mine}", "main.py"))["app"] == "mine"


def test_what_no_import_leads_to_travels_by_value(write):
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    path = write(
        f"""
        import fabric_sdk as fabric
        app = fabric.App("a", image=fabric.Image.python("{version}"))
        OFFSET = 10
        def make(n):
            @app.function(name=f"add{{n}}")
            def add(x): return x + n + OFFSET
        make(1); make(2)
        """,
        "my-app.py",
    )
    told = describe(path)
    assert [f["entry"] for f in told["functions"]] == [{"pickle": "add1.pkl"}, {"pickle": "add2.pkl"}]
    assert pickle.loads(base64.b64decode(told["pickles"]["add2.pkl"]))(1) == 13


def test_by_value_needs_the_same_python(write):
    told = describe(
        write(
            "import fabric_sdk as f\napp = f.App('a', image=f.Image.python('3.1'))\napp.function(name='g')(lambda: 1)"
        ),
        1,
    )
    assert told["error"]["code"] == "python_mismatch" and "3.1;" in told["error"]["message"]


@pytest.mark.parametrize(
    "text, code, words",
    [
        ("import nothing_here", "app_import_failed", "nothing_here"),
        ("def f(:", "app_import_failed", "SyntaxError"),
        ("raise SystemExit(0)", "app_import_failed", "SystemExit"),
        ("import fabric_sdk as f\napp = f.App('a b')", "invalid_name", "app.py:2: the app's name is 'a b'"),
        (
            "import fabric_sdk as f\napp = f.App('a', image=f.Image.python('3.11').pip_install('a\\nRUN b'))",
            "image_spec_invalid",
            "app.py:2: pip_install() got 'a\\nRUN b'",
        ),
        ("import fabric_sdk as f\napp = f.App('a', memroy=1)", "app_import_failed", "did you mean memory?"),
        ("x = 1", "app_not_defined", "no fabric.App"),
        ("import fabric_sdk as f\napp = f.App('a')", "app_not_defined", "no function"),
        ("import fabric_sdk as f\na = f.App('a'); b = f.App('b')", "app_not_defined", "2 apps: a (a), b (b)"),
        (
            "import fabric_sdk as f\napp = f.App('a'); other = f.App()",
            "app_not_defined",
            "app (a), other (without a name)",
        ),
        (
            "import fabric_sdk as f\napp = f.App('a')\n@app.function()\ndef g(): 1\n@app.function()\ndef g(): 2",
            "function_duplicate",
            "'g'",
        ),
    ],
)
def test_failures_are_told_as_json_with_a_code(write, text, code, words):
    told = describe(write(text), 1)["error"]
    assert told["code"] == code and words in told["message"] and "fabric_sdk/" not in told["message"]


def test_a_path_that_is_no_python_file(tmp_path):
    assert describe(tmp_path / "none.py", 1)["error"]["code"] == "app_import_failed"
    assert "without __init__.py" in describe(tmp_path, 1)["error"]["message"]


def test_the_examples_are_described_without_their_packages():
    told = describe(EXAMPLES / "digits.py")
    assert [f["name"] for f in told["functions"]] == ["train", "predict"]
    assert {f["network"] for f in told["functions"]} == {"none"}
    assert told["entrypoints"] == [
        {
            "name": "main",
            "parameters": [
                {"name": "epochs", "annotation": "int", "default": 5},
                {"name": "index", "annotation": "int", "default": 3},
            ],
        }
    ]
    assert [f["name"] for f in describe(EXAMPLES / "hello.py")["functions"]] == ["hello", "add"]


ENTRY = """
from __future__ import annotations
from typing import Optional
import fabric_sdk as fabric
app = fabric.App("a")
@app.local_entrypoint()
def main(count: int, rate: float = 0.5, dry_run: bool = False, names: list[str] = (), who: str | None = None, *rest):
    print([count, rate, dry_run, names, who, rest])
@app.local_entrypoint()
async def later(x: str = "x"): print("later", x)
@app.function()
def f(): pass
"""


def test_entrypoints_take_their_arguments_from_the_command_line(write):
    path = write(ENTRY)
    ran = python("-m", "fabric_sdk.run", path, "main", "--count", "3", "--dry-run", "--names", '["a"]', "--who", "7")
    assert ran.stdout == "[3, 0.5, True, ['a'], '7', ()]\n", ran.stderr
    assert python("-m", "fabric_sdk.run", path, "later").stdout == "later x\n"
    assert python("-m", "fabric_sdk.run", path, "main").returncode == 2
    ran = python("-m", "fabric_sdk.run", path, "nothing")
    assert ran.returncode == 2 and "main, later, f" in ran.stderr


def test_a_run_that_reaches_no_gateway_says_so_in_one_line(write):
    ran = python(
        "-m",
        "fabric_sdk.run",
        write(ENTRY),
        "f",
        FABRIC_URL="http://127.0.0.1:1",
        FABRIC_TOKEN="t",
        FABRIC_APP_VERSION="run_1",
    )
    assert ran.returncode == 1 and ran.stderr.startswith("error: no gateway answers") and "Traceback" not in ran.stderr


def test_bundles_are_the_same_for_the_same_files(write, tmp_path):
    import gzip
    import io
    import tarfile

    write("1", "a.py")
    write("2", "sub/b.py")
    write("x", "__pycache__/a.pyc")
    write("x", "data/big.bin")
    write("data/\n# comment\n*.log\n", ".gitignore")
    write("x", "sub/x.log")
    first = bundle(str(tmp_path), {"f.pkl": b"p"})
    os.utime(tmp_path / "a.py", (1, 1))
    assert bundle(str(tmp_path), {"f.pkl": b"p"}) == first
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(first))) as tar:
        assert sorted(tar.getnames()) == [".gitignore", "a.py", "f.pkl", "sub/b.py"]
        assert {member.mtime for member in tar} == {0}
