"""The shim's own complaints, for whoever reads the container's own log; the user's stderr goes elsewhere."""

from __future__ import annotations

import sys
from typing import Any

#: The stderr the process was started with, once the user's has been redirected.
own_stderr: Any = None


def tell(message: str) -> None:
    """One line."""
    print(f"fabric shim: {message}", file=own_stderr or sys.__stderr__, flush=True)
