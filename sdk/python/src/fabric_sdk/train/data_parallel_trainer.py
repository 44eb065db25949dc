"""The trainer of Ray Train without a framework: runs a loop on every rank."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Callable

from .. import _channel
from ..errors import InvalidError
from ._configs import BackendConfig, DataConfig, RunConfig, ScalingConfig

if TYPE_CHECKING:
    from ._result import Result

__all__ = ["DataParallelTrainer"]

_DEPRECATED = {
    "resume_from_checkpoint": "give RunConfig(name=...): get_checkpoint() finds what a run of that name saved",
    "metadata": "give what the loop needs in train_loop_config",
    "validation_config": "evaluate in the training loop and report what it measured",
}


class DataParallelTrainer:
    """`fit()` runs `train_loop_per_worker` on every rank: here, inside a function; from elsewhere on fabric."""

    def __init__(
        self,
        train_loop_per_worker: Callable[..., Any],
        *,
        train_loop_config: Mapping[str, Any] | None = None,
        backend_config: BackendConfig | None = None,
        scaling_config: ScalingConfig | None = None,
        run_config: RunConfig | None = None,
        datasets: Mapping[str, Any] | None = None,
        dataset_config: DataConfig | None = None,
        resume_from_checkpoint: Any = None,
        metadata: Any = None,
        validation_config: Any = None,
    ) -> None:
        absent = {
            "resume_from_checkpoint": resume_from_checkpoint,
            "metadata": metadata,
            "validation_config": validation_config,
        }
        for name, value in absent.items():
            if value is not None:
                raise InvalidError(
                    f"{type(self).__name__}({name}=...) is not available in fabric; {_DEPRECATED[name]}",
                    code="bad_request",
                )
        self.train_loop_per_worker = getattr(train_loop_per_worker, "__fabric_function__", train_loop_per_worker)
        self.takes_config = _takes_config(self.train_loop_per_worker)
        self.train_loop_config = dict(train_loop_config or {})
        self.scaling_config = _of(ScalingConfig, "scaling_config", scaling_config)
        self.run_config = _of(RunConfig, "run_config", run_config)
        self.backend_config = _of(BackendConfig, "backend_config", backend_config)
        self.dataset_config = _of(DataConfig, "dataset_config", dataset_config)
        self.datasets = dict(datasets or {})

    def fit(self) -> Result:
        """Train, and wait for the end of it. A run of the same name goes on from its latest checkpoint.

        Inside a function it runs in place. From elsewhere it becomes an invocation that goes on when its caller does
        not: fit() of the same name then waits for it. Raises TrainingFailedError."""
        if _channel.current() is not None:
            from ._place import fit_here

            return fit_here(self)
        from ._submit import fit_on_fabric

        return fit_on_fabric(self)

    def in_container(self) -> Callable[[DataParallelTrainer], dict[str, Any]]:
        """What fit() submits; the module it is in is imported before ranks are forked."""
        from ._place import train

        return train


def _of(kind: type[Any], name: str, given: Any) -> Any:
    if given is None:
        return kind()
    if not isinstance(given, kind):
        raise InvalidError(f"{name} is {given!r}; it must be a fabric_sdk.train.{kind.__name__}", code="bad_request")
    return given


def _takes_config(loop: Any) -> bool:
    """A loop has one parameter that must be given, its config, or none."""
    if not callable(loop):
        raise InvalidError(f"train_loop_per_worker is {loop!r}; it must be a function", code="bad_request")
    needed = [
        one
        for one in inspect.signature(loop).parameters.values()
        if one.default is one.empty and one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
    ]
    if len(needed) > 1 or any(one.kind is one.KEYWORD_ONLY for one in needed):
        names = ", ".join(one.name for one in needed)
        raise InvalidError(
            f"train_loop_per_worker needs {names}; it must take one argument, its config, or none", code="bad_request"
        )
    return len(needed) == 1
