"""How values travel: plain JSON types exactly as they are, everything else as a pickle."""

from __future__ import annotations

import json
import pickle
from typing import Any

_SCALARS = frozenset({str, int, float, bool, type(None)})
_SAFE_INTEGER = 2**53 - 1
_MAX_DEPTH = 90

_encode_exact = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False).encode
_encode_lenient = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def plain_json(value: Any) -> bytes | None:
    """The JSON of a value that JSON gives back unchanged (no tuples, subclasses, NaN or huge integers), else None."""
    kind = type(value)
    if kind not in _SCALARS and not _is_plain(value, 0):
        return None
    if kind is int and not -_SAFE_INTEGER <= value <= _SAFE_INTEGER:
        return None
    try:
        return _encode_exact(value).encode()
    except ValueError:  # NaN or infinity
        return None


def lenient_json(value: Any) -> bytes:
    """The JSON of a value, tuples as arrays. Raises TypeError or ValueError where there is none."""
    return _encode_lenient(value).encode()


def pickled(value: Any) -> bytes:
    """With cloudpickle where it can be imported, so that functions and classes of `__main__` travel too."""
    try:
        import cloudpickle
    except ImportError:
        return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    dumped: bytes = cloudpickle.dumps(value)
    return dumped


def _is_plain(value: Any, depth: int) -> bool:
    kind = type(value)
    if kind is list:
        items: Any = value
    elif kind is dict:
        if set(map(type, value)) - {str}:
            return False
        items = value.values()
    else:
        return False
    if depth > _MAX_DEPTH:
        return False
    kinds = set(map(type, items))
    if int in kinds:
        integers = [item for item in items if type(item) is int]
        if max(integers) > _SAFE_INTEGER or min(integers) < -_SAFE_INTEGER:
            return False
    if kinds <= _SCALARS:
        return True
    return all(type(item) in _SCALARS or _is_plain(item, depth + 1) for item in items)
