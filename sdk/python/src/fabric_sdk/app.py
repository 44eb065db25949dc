"""App: a named set of functions deployed together from one source tree."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from ._interrupt import tell
from ._signature import is_generator, parameters
from .cls import Cls, define
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
        #: Where it is made: a file may import apps of others.
        self.module: str = sys._getframe(1).f_globals.get("__name__", "")
        self.functions: dict[str, Function[Any]] = {}
        self.classes: dict[str, Cls] = {}
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
            if not callable(plain) or isinstance(plain, (type, Cls)):
                raise TypeError(f"@app.function() is for functions, not for {plain!r}; classes take @app.cls()")
            chosen = self._free_name(name or _default_name(plain), plain)
            if checked.gang is not None:
                _refuse_what_no_gang_can(chosen, plain)
            if checked.schedule is not None:
                _refuse_needed_arguments(chosen, plain)
            made: Function[Any] = Function(
                app=self.name or "", name=chosen, function=plain, options=checked, version=self.version
            )
            self.functions[chosen] = made
            return made

        return decorate

    def cls(self, __class: type | None = None, *, name: str | None = None, **given: Any) -> Callable[[type], Cls]:
        """Make a class of this app out of a plain one: its containers hold an instance, its methods are called."""
        if __class is not None:
            raise TypeError("write @app.cls() with parentheses")
        checked = options(self._defaults, given)

        def decorate(plain: type) -> Cls:
            if not isinstance(plain, type):
                raise TypeError(f"@app.cls() is for classes, not for {plain!r}")
            chosen = self._free_name(name or _default_name(plain), plain)
            if checked.gang is not None:
                raise InvalidError(
                    f"gang is {checked.gang!r} for the class {chosen}; only functions can be gangs", code="bad_request"
                )
            made = define(self.name or "", chosen, plain, checked, self.version)
            self.classes[chosen] = made
            return made

        return decorate

    def local_entrypoint(self, *, name: str | None = None) -> Callable[[Callable[..., Any]], LocalEntrypoint]:
        """`fabric run app.py --arg value` starts it here, its arguments taken from the command line."""

        def decorate(plain: Callable[..., Any]) -> LocalEntrypoint:
            made = LocalEntrypoint(plain, name or plain.__name__)
            self.entrypoints[made.name] = made
            return made

        return decorate

    @property
    def image(self) -> Image | None:
        """The image of its functions that have none of their own."""
        return cast("Image | None", self._defaults.get("image"))

    def version(self) -> str | None:
        """The version this process calls: the ephemeral one of `run()` or `fabric run`; None is the current one."""
        return self._version or os.environ.get("FABRIC_APP_VERSION") or None

    def rename(self, name: str) -> None:
        """Give a nameless app the name of its file."""
        self.name = name
        for function in self.functions.values():
            function.app_name = name
        for one in self.classes.values():
            one.rename_app(name)

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
            except KeyboardInterrupt as interrupt:
                tell(interrupt, f"this run of {self.name} has ended, and its calls are cancelled")
                raise
            finally:
                self._version = None

    def _free_name(self, name: str, plain: Callable[..., Any]) -> str:
        """A definition that replaces itself (a notebook's cell that runs again) is no duplicate."""
        if not _FUNCTION_NAME.fullmatch(name):
            raise InvalidError(
                f"the name is {name!r}; it must hold letters, digits, '_', '-', joined by '.'", code="invalid_name"
            )
        function, cls = self.functions.get(name), self.classes.get(name)
        known = function.__fabric_function__ if function is not None else cls.__fabric_class__ if cls else None
        if known is not None and not _replaces(plain, known):
            raise InvalidError(
                f"the app has two functions or classes named {name!r}; give one of them name=",
                code="function_duplicate",
            )
        return name


def _refuse_needed_arguments(name: str, plain: Callable[..., Any]) -> None:
    needed = [parameter["name"] for parameter in parameters(plain) or [] if parameter["required"]]
    if needed:
        raise InvalidError(
            f"{name} has a schedule, which calls it without arguments, but it needs {', '.join(needed)};"
            " give them defaults",
            code="bad_request",
        )


def _refuse_what_no_gang_can(name: str, plain: Callable[..., Any]) -> None:
    problem = None
    if is_generator(plain):
        problem = "yields; a gang's result is what rank 0 returns"
    elif getattr(plain, "__fabric_batched__", None) is not None:
        problem = "is batched; a gang runs one input at a time"
    elif getattr(plain, "__fabric_concurrent__", {}).get("max_inputs", 1) > 1:
        problem = "is concurrent; a gang runs one input at a time"
    if problem is not None:
        raise InvalidError(f"{name} has gang, but {problem}", code="bad_request")


def _replaces(new: Any, old: Any) -> bool:
    if (new.__module__, new.__qualname__) != (old.__module__, old.__qualname__):
        return False
    line = getattr(getattr(new, "__code__", None), "co_firstlineno", None)
    return new.__module__ == "__main__" or line == getattr(getattr(old, "__code__", None), "co_firstlineno", None)


def _default_name(plain: Any) -> str:
    qualname = getattr(plain, "__qualname__", "") or type(plain).__name__
    return qualname.rpartition("<locals>.")[2]
