"""The smallest app: two functions without dependencies.

fabric deploy hello.py, then: fabric invoke hello/hello --json '{"name": "you"}'
"""

import fabric_sdk as fabric

app = fabric.App("hello")


@app.function()
def hello(name: str = "world") -> str:
    """Greets."""
    print(f"greeting {name}")
    return f"Hello, {name}!"


@app.function()
def add(a: float, b: float) -> float:
    """Adds."""
    return a + b


@app.local_entrypoint()
def main(name: str = "world") -> None:
    """fabric run hello.py --name you"""
    print(hello.remote(name))
