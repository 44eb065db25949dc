"""What a rank is: its place among the processes that train together, from the variables of torchrun."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import NoReturn

from ..errors import InvalidError
from . import _run
from ._report import here

__all__ = ["TrainContext", "get_context"]


@dataclass(frozen=True)
class TrainContext:
    """What this attempt is."""

    invocation_id: str
    generation: int
    experiment_name: str

    def get_experiment_name(self) -> str:
        """The name of the RunConfig; without one, the invocation's id."""
        return self.experiment_name

    def get_world_size(self) -> int:
        """Training processes of this invocation."""
        return max(1, _number(1, "WORLD_SIZE"))

    def get_world_rank(self) -> int:
        """This process among them."""
        return _number(0, "RANK")

    def get_local_rank(self) -> int:
        """This process among those of its container."""
        return _number(0, "LOCAL_RANK")

    def get_local_world_size(self) -> int:
        """Training processes of this container."""
        return max(1, _number(1, "LOCAL_WORLD_SIZE"))

    def get_node_rank(self) -> int:
        """This container among those of the invocation."""
        return _number(0, "NODE_RANK", "GROUP_RANK")

    def get_storage(self) -> NoReturn:
        """Ray's developers' interface."""
        raise _without("get_storage", "files go to fabric's bucket by report(metrics, checkpoint=...)")

    def get_metadata(self) -> NoReturn:
        """Deprecated by Ray."""
        raise _without("get_metadata", "give what the loop needs in train_loop_config")

    def get_trial_name(self) -> NoReturn:
        """Deprecated by Ray."""
        raise _without("get_trial_name", "use get_experiment_name()")

    def get_trial_id(self) -> NoReturn:
        """Deprecated by Ray."""
        raise _without("get_trial_id", "use .invocation_id")

    def get_trial_dir(self) -> NoReturn:
        """Deprecated by Ray."""
        raise _without("get_trial_dir", "the working directory is the container's own")

    def get_trial_resources(self) -> NoReturn:
        """Deprecated by Ray."""
        raise _without("get_trial_resources", "what the ScalingConfig asks for is what a rank has")


def get_context() -> TrainContext:
    """What this attempt is."""
    invocation, generation = here("get_context").attempt()
    run = _run.current()
    return TrainContext(invocation, generation, (run.name if run is not None else None) or invocation)


def _number(otherwise: int, *names: str) -> int:
    for name in names:
        value = os.environ.get(name)
        if value is not None:
            if not value.isdigit():
                raise InvalidError(f"{name} is {value!r} in the environment; it must be a number", code="bad_request")
            return int(value)
    return otherwise


def _without(name: str, instead: str) -> InvalidError:
    return InvalidError(f"fabric's context has no {name}(); {instead}", code="bad_request")
