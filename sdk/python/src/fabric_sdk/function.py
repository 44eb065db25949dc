"""Function: something a user can call, here (`local`) or on fabric (`remote`, `spawn`)."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from ._calls import calls
from ._method import Method
from ._signature import callable_spec, is_async, is_generator
from .call_options import NO_VARIANT, CallOptions, Variant
from .errors import InvalidError
from .generator import GeneratorMethod
from .invocation import Invocation
from .maps import Call, ForEachMethod, MapMethod, SpawnMapMethod, starred, zipped
from .options import FunctionOptions

if TYPE_CHECKING:
    from ._reader import Reader
    from ._results import Results

__all__ = ["Function"]

R = TypeVar("R")


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
        variant: Variant | None = None,
    ) -> None:
        self.app_name = app
        self.name = name
        self.options = options or FunctionOptions()
        self._version = version
        self._call_options = CallOptions(variant=variant or NO_VARIANT)
        self.__fabric_function__ = function
        if function is not None:
            functools.update_wrapper(self, function, updated=())

    @classmethod
    def from_name(cls, app: str, name: str, *, version: str | None = None) -> Function[Any]:
        """A deployed function; its current version unless one is named. Nothing is sent before it is called."""
        return cls(app=app, name=name, version=lambda: version)

    def with_call_options(
        self,
        *,
        delay: float | None = None,
        ttl: float | None = None,
        priority: float | None = None,
        key: str | None = None,
        debounce: float | None = None,
        debounce_key: str | None = None,
        idempotency_key: str | None = None,
        webhook: str | None = None,
    ) -> Function[R]:
        """The same function, whose calls run `delay` seconds later, and fail when no runner takes them within `ttl`
        seconds. With `priority` they go before other queued calls of the function that were accepted up to so many
        seconds earlier; a negative one lets those go first that are accepted up to so many seconds later.

        Of the calls with the same `key` as many run at a time as the function's `key_concurrency` says.
        With `debounce`, of calls with the same `debounce_key` only the last runs, so many seconds after it. The URL
        `webhook` is told of the outcome.
        """
        bound = copy.copy(self)
        bound._call_options = CallOptions(
            delay=delay,
            ttl=ttl,
            priority=priority,
            key=key,
            debounce=debounce,
            debounce_key=debounce_key,
            idempotency_key=idempotency_key,
            webhook=webhook,
            variant=self._call_options.variant,
        )
        return bound

    @property
    def remote(self) -> Method[R]:
        """Call on fabric and wait for the result."""
        return Method(self._remote, self._remote_aio)

    @property
    def spawn(self) -> Method[Invocation]:
        """Call on fabric without waiting: an Invocation."""
        return Method(self._spawn, self._spawn_aio)

    @property
    def remote_gen(self) -> GeneratorMethod:
        """Call a generator function on fabric and iterate over what it yields."""
        return GeneratorMethod(self._remote_gen)

    @property
    def map(self) -> MapMethod:
        """Call once for each input: `for result in f.map(inputs)`."""
        return MapMethod(self._start_map, zipped)

    @property
    def starmap(self) -> MapMethod:
        """As `map`, each item holding all positional arguments of one call."""
        return MapMethod(self._start_map, starred)

    @property
    def for_each(self) -> ForEachMethod:
        """As `map`, for functions called for their effects."""
        return ForEachMethod(self._start_map)

    @property
    def spawn_map(self) -> SpawnMapMethod:
        """As `map`, without waiting: an Invocation whose `results()` may be read later."""
        return SpawnMapMethod(self._start_map)

    def local(self, *args: Any, **kwargs: Any) -> R:
        """Call the plain function in this process."""
        return cast(R, self._plain()(*args, **kwargs))

    def __call__(self, *args: Any, **kwargs: Any) -> R:
        return self.local(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<fabric.Function {self.app_name}/{self.name}>"

    @property
    def is_async(self) -> bool:
        return is_async(self._defined())

    @property
    def is_generator(self) -> bool:
        return is_generator(self._defined())

    def spec(self, entry: dict[str, str], image: str) -> dict[str, Any]:
        """As deployments carry it."""
        plain = self._plain()
        return {
            "name": self.name,
            "image": image,
            "entry": entry,
            **self.options.spec(),
            **getattr(plain, "__fabric_concurrent__", {}),
            **callable_spec(plain),
        }

    def _remote(self, *args: Any, **kwargs: Any) -> R:
        self._refuse_generator()
        return cast(R, calls().remote(*self._call(args, kwargs)))

    async def _remote_aio(self, *args: Any, **kwargs: Any) -> R:
        self._refuse_generator()
        return cast(R, await calls().remote_aio(*self._call(args, kwargs)))

    def _refuse_generator(self) -> None:
        if self.__fabric_function__ is not None and self.is_generator:
            raise InvalidError(
                f"{self.name} is a generator function; iterate over {self.name}.remote_gen(...)",
                code="generator_needs_stream",
            )

    def _spawn(self, *args: Any, **kwargs: Any) -> Invocation:
        return Invocation(calls().spawn(*self._call(args, kwargs)))

    async def _spawn_aio(self, *args: Any, **kwargs: Any) -> Invocation:
        return Invocation(await calls().spawn_aio(*self._call(args, kwargs)))

    def _remote_gen(self, args: tuple[Any, ...], kwargs: dict[str, Any], on_restart: str) -> Reader:
        if self.__fabric_function__ is not None and not self.is_generator:
            raise InvalidError(
                f"{self.name} yields nothing, so it has no .remote_gen(); call {self.name}.remote(...)",
                code="not_a_generator",
            )
        return calls().generate(*self._call(args, kwargs), on_restart=on_restart)

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        return self.app_name, self.name, args, kwargs, self._pinned(), self._call_options

    def _start_map(self, inputs: Iterable[Call], awaited: bool) -> Results:
        self._refuse_generator()
        return calls().map(self.app_name, self.name, self._pinned(), inputs, self._call_options, awaited)

    def _pinned(self) -> str | None:
        return self._version() if self._version is not None else None

    def _plain(self) -> Callable[..., Any]:
        """What a local call calls."""
        return self._defined()

    def _defined(self) -> Callable[..., Any]:
        if self.__fabric_function__ is None:
            raise InvalidError(
                f"{self.app_name}/{self.name} was made by Function.from_name, so its code is not here; call .remote()",
                code="bad_request",
            )
        return self.__fabric_function__
