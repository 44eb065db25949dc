"""Function: something a user can call, here (`local`) or on fabric (`remote`, `spawn`)."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

from . import _channel
from .errors import InvalidError
from .invocation import Invocation
from .options import FunctionOptions

__all__ = ["Function", "concurrent"]

R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

_KINDS = {
    inspect.Parameter.POSITIONAL_ONLY: "positional",
    inspect.Parameter.POSITIONAL_OR_KEYWORD: "normal",
    inspect.Parameter.KEYWORD_ONLY: "keyword",
    inspect.Parameter.VAR_POSITIONAL: "args",
    inspect.Parameter.VAR_KEYWORD: "kwargs",
}


class Method(Generic[R]):
    """A blocking call with an awaitable twin: `f.remote(...)` and `await f.remote.aio(...)`."""

    def __init__(self, call: Callable[..., R]) -> None:
        self._call = call
        functools.update_wrapper(self, call, updated=())

    def __call__(self, *args: Any, **kwargs: Any) -> R:
        return self._call(*args, **kwargs)

    async def aio(self, *args: Any, **kwargs: Any) -> R:
        """The same without blocking the event loop."""
        from ._client.aio import in_thread

        return await in_thread(self._call, *args, **kwargs)


class Function(Generic[R]):
    """A function of an app. Made by `@app.function()`, or by `Function.from_name` for one deployed earlier."""

    def __init__(
        self,
        *,
        app: str,
        name: str,
        function: Callable[..., Any] | None = None,
        options: FunctionOptions | None = None,
        version: Callable[[], str | None] | None = None,
    ) -> None:
        self.app_name = app
        self.name = name
        self.options = options or FunctionOptions()
        self._version = version
        self.__fabric_function__ = function
        if function is not None:
            functools.update_wrapper(self, function, updated=())

    @classmethod
    def from_name(cls, app: str, name: str, *, version: str | None = None) -> Function[Any]:
        """A deployed function; its current version unless one is named. Nothing is sent before it is called."""
        return cls(app=app, name=name, version=lambda: version)

    @property
    def remote(self) -> Method[R]:
        """Call on fabric and wait for the result."""
        return Method(self._remote)

    @property
    def spawn(self) -> Method[Invocation]:
        """Call on fabric without waiting: an Invocation."""
        return Method(self._spawn)

    def local(self, *args: Any, **kwargs: Any) -> R:
        """Call the plain function in this process."""
        return cast(R, self._plain()(*args, **kwargs))

    def __call__(self, *args: Any, **kwargs: Any) -> R:
        return self.local(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<fabric.Function {self.app_name}/{self.name}>"

    @property
    def is_async(self) -> bool:
        return inspect.iscoroutinefunction(self._plain())

    def spec(self, entry: dict[str, str], image: str) -> dict[str, Any]:
        """As deployments carry it."""
        plain = self._plain()
        return {
            "name": self.name,
            "image": image,
            "entry": entry,
            **self.options.spec(),
            "max_inputs": getattr(plain, "__fabric_max_inputs__", 1),
            "is_async": self.is_async,
            "parameters": parameters(plain),
            "doc": (inspect.getdoc(plain) or "")[:4096],
        }

    def _remote(self, *args: Any, **kwargs: Any) -> R:
        return cast(R, self._calls().remote(self.app_name, self.name, args, kwargs, self._pinned()))

    def _spawn(self, *args: Any, **kwargs: Any) -> Invocation:
        return Invocation(self._calls().spawn(self.app_name, self.name, args, kwargs, self._pinned()))

    def _pinned(self) -> str | None:
        return self._version() if self._version is not None else None

    def _calls(self) -> Any:
        if _channel.current() is not None:
            raise InvalidError(
                f"{self.name}.remote() and .spawn() inside a function are not available in this version of fabric;"
                f" call {self.name}.local(), or return and let the caller call",
                code="bad_request",
            )
        from ._client import calls

        return calls

    def _plain(self) -> Callable[..., Any]:
        if self.__fabric_function__ is None:
            raise InvalidError(
                f"{self.app_name}/{self.name} was made by Function.from_name, so its code is not here; call .remote()",
                code="bad_request",
            )
        return self.__fabric_function__


def concurrent(*, max_inputs: int, target_inputs: int | None = None) -> Callable[[F], F]:
    """Below `@app.function()`: a container runs up to `max_inputs` inputs at the same time."""
    if not isinstance(max_inputs, int) or isinstance(max_inputs, bool) or not 1 <= max_inputs <= 1000:
        raise InvalidError(
            f"max_inputs is {max_inputs!r}; it must be a whole number from 1 to 1000", code="bad_request"
        )

    def mark(function: F) -> F:
        if isinstance(function, Function):
            raise InvalidError("put @fabric.concurrent below @app.function(), next to the function", code="bad_request")
        function.__fabric_max_inputs__ = max_inputs  # type: ignore[attr-defined]
        return function

    return mark


def parameters(function: Callable[..., Any]) -> list[dict[str, Any]] | None:
    """For checking arguments before anything is queued; None where Python cannot tell."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    return [
        {
            "name": parameter.name,
            "kind": _KINDS[parameter.kind],
            "required": parameter.default is parameter.empty and _KINDS[parameter.kind] not in ("args", "kwargs"),
        }
        for parameter in signature.parameters.values()
    ]
