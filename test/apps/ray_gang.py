"""Ray on a gang: what the test of `fabric.ray.cluster` calls. Its image takes a minute to make."""

from __future__ import annotations

import sys

import fabric_sdk as fabric

image = fabric.Image.python(f"3.{sys.version_info[1]}").pip_install("ray")
app = fabric.App("ray_gang", image=image, memory=1024, timeout=300)


@app.function(gang=2, procs=1)
def squares(n: int) -> list[int]:
    """One from each of Ray's nodes."""
    with fabric.ray.cluster() as cluster:
        if not cluster.is_head:
            return []
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        @ray.remote
        def square(x: int) -> tuple[int, str]:
            return x * x, ray.get_runtime_context().get_node_id()

        ray.init()
        places = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in ray.nodes()]
        found = ray.get([square.options(scheduling_strategy=place).remote(n) for place in places])
        assert len({node for _value, node in found}) == len(places)
        return [value for value, _node in found]
