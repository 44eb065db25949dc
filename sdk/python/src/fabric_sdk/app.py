"""App: a named set of functions deployed together from one source tree."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .errors import InvalidError
from .function import Function
from .image import Image
from .options import options

__all__ = ["App", "LocalEntrypoint"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_FUNCTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}(\.[A-Za-z_][A-Za-z0-9_-]{0,63}){0,3}")


class LocalEntrypoint:
    """A function that `fabric run` starts on the user's own machine."""

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self.function = function
        self.name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


class App:
    """Collects functions; `defaults` are options of every function that does not say otherwise."""

    def __init__(self, name: str | None = None, *, image: Image | None = None, **defaults: Any) -> None:
        if name is not None and (not isinstance(name, str) or not _NAME.fullmatch(name)):
            raise InvalidError(
                f"the app's name is {name!r}; it must start with a letter or digit and hold letters, digits,"
                " '-' and '_' (64 at most)",
                code="invalid_name",
            )
        if image is not None:
            defaults["image"] = image
        options(defaults, {})
        self.name = name
        self.functions: dict[str, Function[Any]] = {}
        self.entrypoints: dict[str, LocalEntrypoint] = {}
        self._defaults = defaults
        self._version: str | None = None

    def function(
        self, __function: Callable[..., Any] | None = None, *, name: str | None = None, **given: Any
    ) -> Callable[[Callable[..., Any]], Function[Any]]:
        """Make a function of this app out of a plain one. See README for the options."""
        if __function is not None:
            raise TypeError("write @app.function() with parentheses")
        checked = options(self._defaults, given)

        def decorate(plain: Callable[..., Any]) -> Function[Any]:
            if not callable(plain):
                raise TypeError(f"@app.function() is for functions, not for {plain!r}")
            chosen = name or _default_name(plain)
            if not _FUNCTION_NAME.fullmatch(chosen):
                raise InvalidError(
                    f"the function's name is {chosen!r}; it must hold letters, digits, '_', '-', joined by '.'",
                    code="invalid_name",
                )
            self._refuse_duplicate(chosen, plain)
            made: Function[Any] = Function(
                app=self.name or "", name=chosen, function=plain, options=checked, version=self.version
            )
            self.functions[chosen] = made
            return made

        return decorate

    def local_entrypoint(self, *, name: str | None = None) -> Callable[[Callable[..., Any]], LocalEntrypoint]:
        """`fabric run app.py --arg value` starts it here, its arguments taken from the command line."""

        def decorate(plain: Callable[..., Any]) -> LocalEntrypoint:
            made = LocalEntrypoint(plain, name or plain.__name__)
            self.entrypoints[made.name] = made
            return made

        return decorate

    def version(self) -> str | None:
        """The version this process calls: the ephemeral one of `run()` or `fabric run`; None is the current one."""
        return self._version or os.environ.get("FABRIC_APP_VERSION") or None

    def rename(self, name: str) -> None:
        """Give a nameless app the name of its file."""
        self.name = name
        for function in self.functions.values():
            function.app_name = name

    @contextmanager
    def run(self) -> Iterator[App]:
        """Deploy the functions as they are now, for as long as the block runs."""
        if self.version() is not None:
            yield self
            return
        from ._client.ephemeral import deployed

        with deployed(self) as version:
            self._version = version
            try:
                yield self
            finally:
                self._version = None

    def _refuse_duplicate(self, name: str, plain: Callable[..., Any]) -> None:
        before = self.functions.get(name)
        known = before.__fabric_function__ if before is not None else None
        if known is None:
            return
        if (known.__module__, known.__qualname__) != (plain.__module__, plain.__qualname__) or (
            plain.__module__ != "__main__" and known.__code__.co_firstlineno != plain.__code__.co_firstlineno
        ):
            raise InvalidError(
                f"the app has two functions named {name!r}; give one of them name=", code="function_duplicate"
            )


def _default_name(plain: Callable[..., Any]) -> str:
    qualname = getattr(plain, "__qualname__", "") or type(plain).__name__
    return qualname.rpartition("<locals>.")[2]
