"""Tensors out of columns, and batches on a device. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from .torch import get_device

__all__ = ["moved", "tensors", "to_device"]


def tensors(columns: Mapping[str, Any], dtypes: Any) -> dict[str, Any]:
    """`dtypes` is one for all columns, or one by name."""
    chosen = dtypes if isinstance(dtypes, Mapping) else dict.fromkeys(columns, dtypes)
    return {name: torch.as_tensor(values, dtype=chosen.get(name)) for name, values in columns.items()}


def moved(batch: Any, device: Any, pin_memory: bool) -> Any:
    """`device` is one of torch, its name, "auto" for this rank's, or None to leave the batch where it is."""
    if device is None:
        return batch
    target = get_device() if device == "auto" else torch.device(device)
    pinned = pin_memory and target.type == "cuda"
    return to_device(batch, target, non_blocking=pinned, pin=pinned)


def to_device(item: Any, device: Any, *, non_blocking: bool = False, pin: bool = False) -> Any:
    """The same, with every tensor in dicts, lists and tuples moved."""
    if isinstance(item, Mapping):
        return {key: to_device(value, device, non_blocking=non_blocking, pin=pin) for key, value in item.items()}
    if isinstance(item, tuple) and hasattr(item, "_fields"):
        return type(item)(*(to_device(value, device, non_blocking=non_blocking, pin=pin) for value in item))
    if isinstance(item, (list, tuple)):
        return type(item)(to_device(value, device, non_blocking=non_blocking, pin=pin) for value in item)
    if isinstance(item, torch.Tensor):
        return (item.pin_memory() if pin else item).to(device, non_blocking=non_blocking)
    return item
