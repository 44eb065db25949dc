"""Running a trainer's loop in this process: in a user's function, or in the one that fit() submits."""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING, Any

from ..errors import InvalidError, PlatformError
from . import _run
from ._context import TrainContext, get_context
from ._failures import WorkerGroupError
from ._report import here
from ._result import Result

if TYPE_CHECKING:
    from .data_parallel_trainer import DataParallelTrainer

__all__ = ["fit_here", "train"]


def fit_here(trainer: DataParallelTrainer) -> Result:
    """In a user's own function. Among several ranks the function's `retries` are the budget: they fail together."""
    try:
        context = get_context()
    except InvalidError as error:
        raise InvalidError(
            "fit() was called while a module is imported in a container, or in a thread of its own; put it below"
            ' `if __name__ == "__main__":` or into a function',
            code="bad_request",
        ) from error
    _check_ranks(trainer, context)
    left = trainer.run_config.failures.retries() if context.get_world_size() == 1 else 0
    while True:
        try:
            outcome = train(trainer)
        except PlatformError:
            raise  # no fault of the loop's: it is not to cost one of its retries
        except Exception as error:
            if left == 0:
                rank = context.get_world_rank()
                raise WorkerGroupError(f"{type(error).__name__}: {error}", {rank: error}) from error
            left -= 1
            traceback.print_exc()
            print("fabric: the training failed and starts again from its latest checkpoint", file=sys.stderr)
            continue
        return Result(outcome["series"], outcome["rows"], outcome["return_value"])


def train(trainer: DataParallelTrainer) -> dict[str, Any]:
    """One attempt: the series' name, the reports and what the loop returned."""
    context = get_context()
    _check_ranks(trainer, context)
    name = trainer.run_config.name
    kept = trainer.run_config.checkpoints
    channel = here("fit")
    channel.keep(
        kept.num_to_keep,
        kept.checkpoint_score_attribute,
        kept.checkpoint_score_order,
        trainer.run_config.metrics_per_rank,
    )
    if name is not None:
        channel.series(name, True)
    whole = {one: not trainer.dataset_config.is_split(one) for one in trainer.datasets}
    run = _run.Run(name, trainer.datasets, whole)
    with _run.running(run), trainer.backend_config.group(trainer.scaling_config):
        arguments = (trainer.train_loop_config,) if trainer.takes_config else ()
        value = trainer.train_loop_per_worker(*arguments)
    return {"series": name or context.invocation_id, "rows": run.settled(), "return_value": value}


def _check_ranks(trainer: DataParallelTrainer, context: TrainContext) -> None:
    wanted, there = trainer.scaling_config.num_workers, context.get_world_size()
    if wanted != there:
        raise InvalidError(
            f"num_workers is {wanted}, but this function has {there} rank{'s' if there > 1 else ''}; call fit() outside"
            " of functions to get as many as it says",
            code="bad_request",
        )
