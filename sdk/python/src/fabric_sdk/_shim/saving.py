"""Reports: handing a checkpoint's files over to the runner, and waiting for it, or going on meanwhile."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import from_body
from . import attempts
from .attempts import Attempt

if TYPE_CHECKING:
    from concurrent.futures import Future


class Saving:
    """Reports of the attempts of one container."""

    def __init__(
        self,
        ask: Callable[[dict[str, Any]], Any],
        ask_behind: Callable[[Attempt, dict[str, Any], Callable[[dict[str, Any]], None]], None],
        scratch: str,
    ) -> None:
        self._ask = ask
        #: Returns at once; the receiving thread gives the answer to its last argument.
        self._ask_behind = ask_behind
        self._scratch = scratch

    def report(self, attempt: Attempt, metrics: dict[str, Any], directory: str | None, step: int | None) -> int:
        operation = _reporting(attempt, metrics, step)
        if directory is None:
            if attempt.behind is not None and attempt.behind.done():
                _raise_once(attempt)
            return _step(self._ask(operation))
        _raise_once(attempt)
        operation["directory"], folder = self._handover()
        try:
            shutil.copytree(directory, folder)
            return _step(self._ask(operation))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def behind(
        self, attempt: Attempt, metrics: dict[str, Any], directory: str | None, step: int | None, given: bool
    ) -> Future[int]:
        """With `given`, hard links take the place of copies, and the function's folder goes. A rank without a directory
        does not wait for what the others save."""
        from concurrent.futures import Future  # brings logging with it, which few functions need

        _raise_once(attempt)
        operation = {**_reporting(attempt, metrics, step), "behind": True}
        name, folder = self._handover()
        saved: Future[int] = Future()
        saved.set_running_or_notify_cancel()

        def answered(answer: dict[str, Any]) -> None:
            shutil.rmtree(folder, ignore_errors=True)
            if answer["ok"]:
                saved.set_result(_step(answer["value"]))
            else:
                saved.set_exception(from_body({"fault": "user", **answer["error"]}))

        try:
            if directory is not None:
                operation["directory"] = name
                shutil.copytree(directory, folder, copy_function=_link if given else shutil.copy2)
                if given:
                    shutil.rmtree(directory)
            attempt.behind = saved
            self._ask_behind(attempt, operation, answered)
        except BaseException:
            attempt.behind = None
            shutil.rmtree(folder, ignore_errors=True)
            raise
        if attempt.slice is not None or attempts.batch.get() is not None:
            _raise_once(attempt)  # its inputs end one by one, so that none of them could wait for it
        return saved

    def _handover(self) -> tuple[str, str]:
        """A folder that is not there yet, as the runner names it and as we do."""
        name = f".fabric/checkpoints/{os.urandom(16).hex()}"
        return name, os.path.join(self._scratch, name)


def end(attempt: Attempt, error: BaseException) -> None:
    """The function has raised: what is being saved behind it is stored first, so that a retry finds it."""
    if attempt.behind is not None and isinstance(error, Exception) and attempt.reason is None:
        _tell(attempt.behind.exception(), error)


async def end_async(attempt: Attempt, error: BaseException) -> None:
    """`end` without blocking the loop."""
    if attempt.behind is not None and isinstance(error, Exception) and attempt.reason is None:
        import asyncio

        (problem,) = await asyncio.gather(asyncio.wrap_future(attempt.behind), return_exceptions=True)
        _tell(problem if isinstance(problem, BaseException) else None, error)


def _tell(problem: BaseException | None, error: BaseException) -> None:
    if problem is not None and problem is not error:
        print(f"a checkpoint was not saved: {problem}", file=sys.stderr)


def _raise_once(attempt: Attempt) -> None:
    """Waits for the save before; whoever goes on after hearing that it failed may."""
    behind = attempt.behind
    if behind is not None:
        problem = behind.exception()
        attempt.behind = None
        if problem is not None:
            raise problem


def _step(value: dict[str, Any]) -> int:
    for warning in value.get("warnings", []):
        print(f"fabric: {warning}", file=sys.stderr)
    return int(value["step"])


def keep_rule(num_to_keep: int | None, attribute: str | None, order: str) -> dict[str, Any]:
    """As a report tells it."""
    named = {"num_to_keep": num_to_keep, "attribute": attribute, "order": order if attribute is not None else None}
    return {key: value for key, value in named.items() if value is not None}


def _reporting(attempt: Attempt, metrics: dict[str, Any], step: int | None) -> dict[str, Any]:
    more = {"step": step, "keep": attempt.keep or None, "per_rank": attempt.per_rank or None}
    return {"op": "report", "metrics": metrics, **{key: value for key, value in more.items() if value is not None}}


def _link(source: str, target: str, *, follow_symlinks: bool = True) -> Any:
    try:
        if not os.path.islink(source):
            os.link(source, target)
            return target
    except OSError:
        pass  # another filesystem, or one without links
    return shutil.copy2(source, target, follow_symlinks=follow_symlinks)
