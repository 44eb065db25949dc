"""What a training ended with."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from .. import _channel
from ..checkpoint import Checkpoint, saved_checkpoint
from ..errors import InvalidError, NotFoundError

__all__ = ["Result"]


class Result:
    """`metrics` are the latest reported ones, `path` is where the bucket has its checkpoints, `error` is None: fit()
    raises. Checkpoints are references: their files are brought here when they are first asked for."""

    def __init__(self, series: str, rows: list[dict[str, Any]], return_value: Any = None) -> None:
        self._series = series
        self._rows = rows
        self.return_value = return_value
        self.error: BaseException | None = None
        self.path = f"checkpoints/{series}"
        self.metrics: Mapping[str, Any] | None = rows[-1]["metrics"] if rows else None

    @classmethod
    def from_path(cls, path: str | os.PathLike[str], storage_filesystem: Any = None) -> Result:
        """Of an earlier run: its `Result.path`, or any path that ends in its name."""
        if storage_filesystem is not None:
            raise InvalidError("storage_filesystem must be left out: files are in fabric's bucket", code="bad_request")
        name = os.fspath(path).rstrip("/").rpartition("/")[2]
        rows = _rows_saved(name)
        if not rows:
            raise NotFoundError(f"the series {name!r} has no complete checkpoint", code="checkpoint_not_found")
        return cls(name, rows)

    @cached_property
    def checkpoint(self) -> Checkpoint | None:
        """The latest one, also where this run only went on from it."""
        if _channel.current() is None:
            there = self._there()
            return there[-1][0] if there else None
        try:
            return Checkpoint.load(self._series)
        except NotFoundError:
            return None

    @cached_property
    def best_checkpoints(self) -> list[tuple[Checkpoint, Mapping[str, Any]]]:
        """Those that the series has kept, with their metrics, the best one last; by their steps where no attribute
        says what is best. Inside of functions only those that this run saved, brought here."""
        if _channel.current() is None:
            return sorted(self._there(), key=_worth(self._manifests[-1].get("keep") if self._manifests else None))
        found = []
        for row in self._rows:
            if row["saved"]:
                try:
                    found.append((Checkpoint.load(self._series, row["step"]), row["metrics"]))
                except NotFoundError:  # removed since
                    continue
        return found

    def get_best_checkpoint(self, metric: str, mode: str) -> Checkpoint | None:
        """The one whose `metric` is highest (`mode="max"`) or lowest (`"min"`), of the whole series; None if none."""
        try:
            return Checkpoint.load(self._series, best=metric, order=mode)
        except NotFoundError:
            return None

    @cached_property
    def metrics_dataframe(self) -> Any:
        """A row for each step of the series, over all attempts and runs, as it was reported last; inside of functions
        those of the last attempt. None if there was none."""
        rows = self._rows if _channel.current() is not None else self._history()
        if not rows:
            return None
        try:
            pandas = importlib.import_module("pandas")
        except ImportError as error:
            raise InvalidError("metrics_dataframe needs pandas: pip install pandas", code="bad_request") from error
        by_step = {row["step"]: row["metrics"] for row in rows}
        steps = sorted(by_step)
        return pandas.DataFrame([by_step[step] for step in steps], index=pandas.Index(steps, name="step"))

    def _history(self) -> list[dict[str, Any]]:
        from .._client.checkpoints import metrics

        return metrics(self._series)

    @cached_property
    def _manifests(self) -> list[dict[str, Any]]:
        from .._client.checkpoints import listed

        return listed(self._series)

    def _there(self) -> list[tuple[Checkpoint, Mapping[str, Any]]]:
        return [
            (saved_checkpoint(self._series, one["step"], one["metrics"]), one["metrics"]) for one in self._manifests
        ]

    def __repr__(self) -> str:
        return f"Result(metrics={self.metrics!r}, path={self.path!r}, error={self.error!r})"


def _worth(keep: Mapping[str, Any] | None) -> Any:
    """By which a series' checkpoints are sorted; those without the attribute are the worst."""
    attribute = (keep or {}).get("attribute")
    sign = -1 if (keep or {}).get("order") == "min" else 1

    def worth(one: tuple[Checkpoint, Mapping[str, Any]]) -> tuple[float, int]:
        value = one[1].get(attribute) if attribute is not None else None
        known = isinstance(value, (int, float)) and not isinstance(value, bool)
        return (sign * float(value) if known and value is not None else float("-inf"), one[0].step or 0)

    return worth


def _rows_saved(series: str) -> list[dict[str, Any]]:
    if _channel.current() is None:
        from .._client.checkpoints import listed

        return [{"step": one["step"], "metrics": one["metrics"], "saved": True} for one in listed(series)]
    try:
        latest = Checkpoint.load(series)
    except NotFoundError:
        return []
    return [{"step": latest.step, "metrics": latest.metrics, "saved": True}]
