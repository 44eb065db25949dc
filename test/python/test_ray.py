"""Ray on a gang, with a `ray` of our own: what starts where, how ranks find each other, and that nothing is left."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import zlib
from pathlib import Path

import fabric_sdk as fabric
import pytest

from runner import SDK

#: Stands in for `ray start --block`: tells its arguments, serves the port of a head, ends by SIGTERM.
START = """
import json, os, signal, socket, sys
from pathlib import Path
Path(os.environ["TOLD"], os.environ["RANK"]).write_text(json.dumps(sys.argv[1:]))
if os.environ.get("BROKEN") == os.environ["RANK"]:
    sys.exit("no such option")
ports = [argument.split("=")[1] for argument in sys.argv if argument.startswith("--port=")]
server = socket.create_server(("127.0.0.1", int(ports[0] if ports else 0)))
signal.pause()
"""

RAY = """
import os
def init(**_): pass
def shutdown(): pass
def nodes(): return [{"Alive": True} for name in os.listdir(os.environ["TOLD"])]
"""

RANK = """
import os, sys
import fabric_sdk as fabric
with fabric.ray.cluster(num_gpus=0, timeout=20) as cluster:
    print(cluster.is_head, os.environ.get("RAY_ADDRESS") == cluster.address, flush=True)
    if cluster.is_head:
        assert os.environ["RANK"] == "0" and input() == "go"
print("left", os.environ.get("RAY_ADDRESS"))
"""


@pytest.fixture
def gang(tmp_path):
    package = tmp_path / "lib" / "ray" / "scripts"
    package.mkdir(parents=True)
    (package / "scripts.py").write_text(START)
    (package / "__init__.py").touch()
    (package.parent / "__init__.py").write_text(RAY)
    (tmp_path / "told").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    ranks = []

    def start(rank: int, **more: str) -> subprocess.Popen[str]:
        env = {
            **os.environ,
            "PYTHONPATH": f"{SDK}:{tmp_path / 'lib'}",
            "TOLD": str(tmp_path / "told"),
            "RANK": str(rank),
            "WORLD_SIZE": "2",
            "LOCAL_WORLD_SIZE": "1",
            "FABRIC_RANK_THREADS": "3",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "TORCHELASTIC_RUN_ID": f"inv_{port}-1",
            **more,
        }
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        ranks.append(
            subprocess.Popen([sys.executable, "-c", RANK], env=env, text=True, start_new_session=True, **pipes)
        )
        return ranks[-1]

    start.folder = Path("/tmp", f"ray-{zlib.crc32(f'inv_{port}-1'.encode()):08x}")
    start.told = tmp_path / "told"
    yield start
    for one in ranks:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(one.pid, signal.SIGKILL)  # as a gang's parent does
        one.communicate()


def test_a_head_and_a_worker_stand_until_the_head_leaves(gang):
    worker, head = gang(1), gang(0)
    assert head.stdout.readline() == "True True\n" and worker.stdout.readline() == "False False\n"
    assert worker.poll() is None
    assert head.communicate("go\n", timeout=20) == ("left None\n", "")
    assert worker.communicate(timeout=20) == ("left None\n", "")
    of_head, of_worker = (json.loads((gang.told / str(rank)).read_text()) for rank in (0, 1))
    assert of_head[:3] == of_worker[:3] == ["start", "--block", "--disable-usage-stats"]
    assert "--head" in of_head and {"--num-cpus=3", "--num-gpus=0"} <= set(of_head) & set(of_worker)
    port = next(one for one in of_head if one.startswith("--port=")).split("=")[1]
    assert f"--address=127.0.0.1:{port}" in of_worker
    assert not gang.folder.exists()


@pytest.mark.parametrize("broken", ["0", "1"])
def test_a_ray_that_does_not_start_is_told_by_its_last_lines(gang, broken):
    ranks = [gang(0, BROKEN=broken), gang(1, BROKEN=broken)]
    if broken == "1":
        ranks[0].stdin.write("go\n")
    told = ranks[int(broken)].communicate(timeout=30)[1]
    assert "RuntimeError: ray start ended with exit code 1: no such option" in told


def test_outside_of_gangs_and_with_several_ranks_it_is_refused(monkeypatch):
    with pytest.raises(fabric.InvalidError, match="inside of functions with gang="), fabric.ray.cluster():
        pass
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(fabric.InvalidError, match="procs=1"), fabric.ray.cluster():
        pass
