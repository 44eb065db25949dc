"""Files of datasets in fabric's bucket, which the runner brings: containers have no keys."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase

from ._report import here

__all__ = ["brought", "is_in_bucket", "matching"]


def is_in_bucket(path: str) -> bool:
    """Whether it is a URL of the kinds that may name one."""
    return path.startswith(("s3://", "fabric://"))


def matching(url: str, endings: Collection[str]) -> list[str]:
    """The file itself, what a pattern matches, or the files of a folder that end in one of `endings`."""
    channel = here("get_dataset_shard")
    fixed = re.split(r"[*?\[]", url)[0]
    if fixed != url:
        found = channel.dataset_files(fixed[: fixed.rindex("/") + 1])
        return sorted(one for one in found if fnmatchcase(one, url))
    found = channel.dataset_files(url)
    return found if found == [url] else sorted(one for one in found if os.path.splitext(one)[1].lower() in endings)


@contextmanager
def brought(url: str) -> Iterator[str]:
    """Its path while the block runs."""
    path = here("get_dataset_shard").dataset(url)
    try:
        yield path
    finally:
        shutil.rmtree(os.path.dirname(path))
