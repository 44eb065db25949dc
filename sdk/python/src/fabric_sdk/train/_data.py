"""Datasets of a trainer as its loop reads them: every rank its share of the rows, in batches."""

from __future__ import annotations

import importlib
import random
from collections.abc import Iterable, Iterator
from typing import Any, Callable

from ..errors import InvalidError
from . import _run
from ._context import get_context
from ._rows import Row, rows_of

__all__ = ["DataIterator", "get_dataset_shard"]

_FORMATS = ("default", "numpy", "pandas", "pyarrow", None)


def get_dataset_shard(dataset_name: str | None = None) -> DataIterator | None:
    """This rank's share of one of the trainer's datasets, "train" unless it is named; None where it has no datasets."""
    context = get_context()
    run = _run.current()
    if run is None:
        raise InvalidError(
            "get_dataset_shard() gives what a trainer was given; this function runs without one", code="bad_request"
        )
    if not run.datasets:
        return None
    name = dataset_name or "train"
    if name not in run.datasets:
        raise InvalidError(
            f"the trainer has no dataset {name!r}; it has: {', '.join(sorted(run.datasets))}", code="bad_request"
        )
    rows = rows_of(run.datasets[name], name)
    if run.whole.get(name):
        return DataIterator(list(rows))
    return DataIterator(share(rows, context.get_world_rank(), context.get_world_size()))


def share(rows: Iterable[Row], rank: int, world: int) -> list[Row]:
    """Every rank gets as many, because ranks that do not end together wait for each other for ever; what is left over
    belongs to nobody."""
    kept: list[Row] = []
    count = 0
    for row in rows:
        if count % world == rank:
            kept.append(row)
        count += 1
    return kept[: count // world]


class Batches:
    """Batches that can be iterated over once an epoch."""

    def __init__(self, make: Callable[[], Iterator[Any]]) -> None:
        self._make = make

    def __iter__(self) -> Iterator[Any]:
        return self._make()


class DataIterator:
    """Rows of one rank, under the names of Ray Data."""

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows

    def count(self) -> int:
        """Rows of this rank."""
        return len(self._rows)

    def iter_rows(self) -> Batches:
        """One dict at a time."""
        return Batches(lambda: iter(self._rows))

    def iter_batches(
        self,
        *,
        prefetch_batches: int = 1,
        batch_size: int | None = 256,
        batch_format: str | None = "default",
        drop_last: bool = False,
        local_shuffle_buffer_size: int | None = None,
        local_shuffle_seed: int | None = None,
    ) -> Batches:
        """Dicts of columns: numpy's arrays where it is installed and nothing else is asked for, else lists. The rows
        are in memory: there is nothing to prefetch, and a shuffle takes all of them."""
        _check_size(batch_size)
        if batch_format not in _FORMATS:
            raise InvalidError(f"batch_format is {batch_format!r}; it must be one of {_FORMATS}", code="bad_request")
        shuffled = local_shuffle_buffer_size is not None
        order = random.Random(local_shuffle_seed)

        def make() -> Iterator[Any]:
            rows = list(self._rows)
            if shuffled:
                order.shuffle(rows)
            size = batch_size or max(1, len(rows))
            for first in range(0, len(rows), size):
                batch = rows[first : first + size]
                if len(batch) == size or not drop_last:
                    yield _formed(_columns(batch), batch_format)

        return Batches(make)

    def iter_torch_batches(
        self,
        *,
        prefetch_batches: int = 1,
        batch_size: int | None = 256,
        dtypes: Any = None,
        device: Any = "auto",
        collate_fn: Callable[[dict[str, Any]], Any] | None = None,
        drop_last: bool = False,
        local_shuffle_buffer_size: int | None = None,
        local_shuffle_seed: int | None = None,
        pin_memory: bool = False,
    ) -> Batches:
        """Dicts of tensors on this rank's device, or what `collate_fn` makes of the columns."""
        from ._tensors import moved, tensors

        if collate_fn is not None and dtypes is not None:
            raise InvalidError("dtypes and collate_fn exclude each other; give one", code="bad_request")
        plain = self.iter_batches(
            batch_size=batch_size,
            drop_last=drop_last,
            local_shuffle_buffer_size=local_shuffle_buffer_size,
            local_shuffle_seed=local_shuffle_seed,
        )

        def make() -> Iterator[Any]:
            for columns in plain:
                batch = collate_fn(columns) if collate_fn is not None else tensors(columns, dtypes)
                yield moved(batch, device, pin_memory)

        return Batches(make)

    def materialize(self) -> DataIterator:
        """Itself: its rows are in memory."""
        return self

    def __repr__(self) -> str:
        return f"DataIterator({len(self._rows)} rows)"


def _check_size(size: Any) -> None:
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 1):
        raise InvalidError(f"batch_size is {size!r}; it must be None or a whole number from 1 on", code="bad_request")


def _columns(rows: list[Row]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _formed(columns: dict[str, list[Any]], wanted: str | None) -> Any:
    if wanted == "pandas":
        return _needed("pandas").DataFrame(columns)
    if wanted == "pyarrow":
        return _needed("pyarrow").table(columns)
    try:
        numpy = importlib.import_module("numpy")
    except ImportError:
        if wanted == "numpy":
            raise
        return columns
    return {name: _array(numpy, values) for name, values in columns.items()}


def _array(numpy: Any, values: Iterable[Any]) -> Any:
    try:
        return numpy.asarray(values)
    except ValueError:  # of different lengths
        ragged = numpy.empty(len(list(values)), dtype=object)
        ragged[:] = values
        return ragged


def _needed(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InvalidError(
            f"batch_format={module!r} needs {module}, which the image does not have", code="bad_request"
        ) from error
