"""Whatever a dataset is given as, as a list of rows."""

from __future__ import annotations

import csv
import glob
import importlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Callable, NoReturn

from ..errors import InvalidError
from ._bucket import brought, is_in_bucket, matching

__all__ = ["Row", "paths_of", "rows_of"]

Row = dict[str, Any]


def rows_of(source: Any, name: str) -> Iterator[Row]:
    """Files by their paths, patterns or folders, here or in the bucket, read one after the other; tables of pandas and
    pyarrow; dicts of columns; lists of rows. A row that is no dict becomes `{"item": row}`."""
    paths = paths_of(source)
    if paths is None:
        for row in _listed(source, name):
            yield dict(row) if isinstance(row, Mapping) else {"item": row}
        return
    for file in [file for path in paths for file in _matching(path, name)]:
        yield from _read(file)


def paths_of(source: Any) -> list[str] | None:
    """None where it is data itself. A list of texts names files only where all of them end as files do."""
    if isinstance(source, (str, os.PathLike)):
        return [os.fspath(source)]
    if not isinstance(source, (list, tuple)) or not source:
        return None
    if all(isinstance(one, os.PathLike) for one in source):
        return [os.fspath(one) for one in source]
    is_files = all(isinstance(one, str) and os.path.splitext(one)[1].lower() in _READERS for one in source)
    return list(source) if is_files else None


def _listed(source: Any, name: str) -> Iterable[Any]:
    if isinstance(source, Mapping):
        lengths = {len(column) for column in source.values()}
        if len(lengths) != 1:
            raise _wrong(name, "its columns have different lengths")
        return [dict(zip(source, values)) for values in zip(*source.values())]
    if hasattr(source, "columns") and callable(getattr(source, "to_dict", None)):
        return list(source.to_dict("records"))
    if callable(getattr(source, "to_pylist", None)):
        return list(source.to_pylist())
    if hasattr(source, "__len__") and hasattr(source, "__getitem__"):
        return [source[index] for index in range(len(source))]
    if isinstance(source, Iterable):
        return source
    raise _wrong(name, f"{type(source).__name__} is neither rows nor files")


def _matching(path: str, name: str) -> list[str]:
    if is_in_bucket(path):
        found = matching(path, _READERS)
        return found if found else _nothing(name, path)
    if "://" in path:
        raise _wrong(
            name, f"{path!r} is a URL; containers read files of the deployed folder, the image, or fabric's bucket"
        )
    for base in ("", *([sys.path[0]] if sys.path else [])):
        full = os.path.join(base, os.path.expanduser(path))
        if os.path.isdir(full):
            inside = sorted(os.path.join(full, one) for one in os.listdir(full))
            return [one for one in inside if os.path.splitext(one)[1].lower() in _READERS]
        found = [full] if os.path.isfile(full) else sorted(glob.glob(full, recursive=True))
        if found:
            return found
    raise _wrong(name, f"there is no file {path!r} here: relative paths start at the deployed folder")


def _read(path: str) -> list[Row]:
    reader = _READERS.get(os.path.splitext(path)[1].lower())
    if reader is None:
        raise InvalidError(f"{path} is none of {', '.join(_READERS)}", code="bad_request")
    if not is_in_bucket(path):
        return reader(path)
    with brought(path) as file:
        return reader(file)


def _read_csv(path: str) -> list[Row]:
    with open(path, newline="", encoding="utf-8") as file:
        rows: list[Row] = list(csv.DictReader(file))
    for name in rows[0] if rows else ():
        typed = _typed([row[name] for row in rows])
        for row, value in zip(rows, typed):
            row[name] = value
    return rows


def _typed(column: list[Any]) -> list[Any]:
    """A column is of whole numbers, numbers or text, as a whole; an empty field is None in columns of numbers."""
    for kind in (int, float):
        try:
            return [None if text in ("", None) else kind(text) for text in column]
        except ValueError:
            continue
    return column


def _read_lines(path: str) -> list[Row]:
    with open(path, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file if line.strip()]
    return [row if isinstance(row, dict) else {"item": row} for row in rows]


def _read_text(path: str) -> list[Row]:
    with open(path, encoding="utf-8") as file:
        return [{"text": line.rstrip("\n")} for line in file]


def _read_parquet(path: str) -> list[Row]:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise InvalidError(f"{path} needs pyarrow, which the image does not have", code="bad_request") from error
    rows: list[Row] = parquet.read_table(path).to_pylist()
    return rows


_READERS: dict[str, Callable[[str], list[Row]]] = {
    ".csv": _read_csv,
    ".jsonl": _read_lines,
    ".ndjson": _read_lines,
    ".parquet": _read_parquet,
    ".txt": _read_text,
}


def _nothing(name: str, path: str) -> NoReturn:
    raise _wrong(name, f"there is no file {path!r} that ends in {', '.join(_READERS)}")


def _wrong(name: str, what: str) -> InvalidError:
    return InvalidError(f"the dataset {name!r} cannot be read: {what}", code="bad_request")
