"""Cls: a class of an app, whose containers hold an instance of it. Made by `@app.cls()`, or by `Cls.from_name`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ._parts import Parameter, batched_methods_alone, bound, construct, hooks, methods, parameters
from ._signature import callable_spec
from .call_options import Variant
from .concurrency import concurrency
from .errors import InvalidError
from .function import Function
from .options import FunctionOptions, overrides

__all__ = ["Cls", "Obj"]


@dataclass
class Definition:
    """What all variants of one class share; an app that gets its name late gives it here."""

    app: str
    name: str
    version: Callable[[], str | None]
    plain: type | None = None
    options: FunctionOptions | None = None

    @functools.cached_property
    def methods(self) -> dict[str, Callable[..., Any]]:
        return methods(self.plain) if self.plain is not None else {}

    @functools.cached_property
    def parameters(self) -> dict[str, Parameter] | None:
        """By name; None where only the gateway knows them."""
        return None if self.plain is None else parameters(self.plain)


class Cls:
    """Called with parameters it gives an `Obj`: `Model(size="large").predict.remote(x)`."""

    def __init__(self, definition: Definition, overridden: Mapping[str, Any] | None = None) -> None:
        self._definition = definition
        self._overridden = dict(overridden or {})
        if definition.plain is not None:
            functools.update_wrapper(self, definition.plain, updated=())

    @classmethod
    def from_name(cls, app: str, name: str, *, version: str | None = None) -> Cls:
        """A deployed class; its current version unless one is named. Nothing is sent before a method is called."""
        return cls(Definition(app, name, lambda: version))

    def with_options(self, **given: Any) -> Cls:
        """The same class in containers of their own, with other resources, scaling, timeout or retries."""
        return Cls(self._definition, {**self._overridden, **overrides(given, self._definition.options)})

    def with_concurrency(self, *, max_inputs: int, target_inputs: int | None = None) -> Cls:
        """The same class in containers of their own that run so many inputs at the same time."""
        return Cls(self._definition, {**self._overridden, **concurrency(max_inputs, target_inputs)})

    def __call__(self, *args: Any, **values: Any) -> Obj:
        if args:
            raise TypeError(f"{self.name}() takes its parameters by name, as in {self.name}(size=...)")
        return Obj(self, values)

    @property
    def name(self) -> str:
        return self._definition.name

    @property
    def app_name(self) -> str:
        return self._definition.app

    def rename_app(self, name: str) -> None:
        """The app has got its name."""
        self._definition.app = name

    @property
    def methods(self) -> dict[str, Callable[..., Any]]:
        """By name, as plain functions; none where the code is not here."""
        return self._definition.methods

    def signature(self) -> list[inspect.Parameter]:
        """What it is called with."""
        declared = self._definition.parameters or {}
        return [one.as_argument() for one in declared.values() if one.init]

    @property
    def options(self) -> FunctionOptions:
        """Those of `@app.cls`."""
        return self._definition.options or FunctionOptions()

    @property
    def __fabric_class__(self) -> type | None:
        return self._definition.plain

    def spec(self, entry: dict[str, str], image: str) -> dict[str, Any]:
        """As deployments carry it."""
        plain, declared = self._definition.plain, self._definition.parameters
        if plain is None or declared is None:
            raise InvalidError(f"{self.name} was made by Cls.from_name, so its code is not here", code="bad_request")
        return {
            "name": self.name,
            "image": image,
            "entry": entry,
            **self.options.spec(),
            **getattr(plain, "__fabric_concurrent__", {}),
            "doc": (inspect.getdoc(plain) or "")[:4096],
            "class": {
                "parameters": [one.spec() for one in declared.values() if one.init],
                "methods": [
                    {"name": name, **callable_spec(function, bound=True)}
                    for name, function in self._definition.methods.items()
                ],
            },
        }

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        """A class may have a decorated one as its base."""
        if self._definition.plain is None:
            raise TypeError(f"{self.name} was made by Cls.from_name; only a class whose code is here can be a base")
        return (self._definition.plain,)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if self._definition.plain is None or name in self._definition.methods:
            raise AttributeError(f"{self.name}.{name}: a method belongs to an instance; write {self.name}().{name}")
        return getattr(self._definition.plain, name)

    def __reduce__(self) -> tuple[Any, ...]:
        """Elsewhere it is a class that is deployed: its app does not travel along."""
        return (_handle, (self.app_name, self.name, self._overridden))

    def __repr__(self) -> str:
        return f"<fabric.Cls {self.app_name}/{self.name}>"


class Obj:
    """A class with its parameters' values: its methods run on fabric, or here on an instance made when needed."""

    def __init__(self, cls: Cls, values: Mapping[str, Any], instance: Any = None) -> None:
        self._cls = cls
        self._values = dict(values)
        self._instance = instance
        self._entered = instance is not None
        declared = cls._definition.parameters
        self._variant = Variant(_wire(cls.name, declared, values), cls._overridden)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        definition = self._cls._definition
        if definition.plain is None or name in definition.methods:
            return ObjMethod(self, name)
        return getattr(self._made(), name)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Obj, (self._cls, self._values))

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self._values.items())
        return f"<fabric.Obj {self._cls.app_name}/{self._cls.name}({given})>"

    def _made(self) -> Any:
        plain = self._cls._definition.plain
        if plain is None:
            raise InvalidError(
                f"{self._cls.name} was made by Cls.from_name, so its code is not here; call .remote()",
                code="bad_request",
            )
        if self._instance is None:
            self._instance = construct(plain, self._values)
        return self._instance

    def _ready(self) -> Any:
        """The instance in this process, entered once."""
        instance = self._made()
        if not self._entered:
            for name, hook in hooks(type(instance), "enter").items():
                _finish(name, hook(instance))
            self._entered = True
        return instance


class ObjMethod(Function[Any]):
    """A method of an `Obj`; what can be done with functions can be done with it."""

    def __init__(self, obj: Obj, name: str) -> None:
        definition = obj._cls._definition
        raw = definition.methods.get(name)
        super().__init__(
            app=definition.app,
            name=f"{definition.name}.{name}",
            function=raw,
            options=definition.options,
            version=definition.version,
            variant=obj._variant,
        )
        self._obj = obj

    def _plain(self) -> Callable[..., Any]:
        return bound(self._defined(), self._obj._ready())


class SelfMethod:
    """`self.method` in a class' own code: called plainly, or on fabric as `self.method.remote(...)`."""

    __slots__ = ("_function", "_instance", "_name")

    def __init__(self, name: str, function: Callable[..., Any], instance: Any) -> None:
        self._name = name
        self._function = function
        self._instance = instance

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(self._instance, *args, **kwargs)

    def local(self, *args: Any, **kwargs: Any) -> Any:
        """The same as calling it."""
        return self._function(self._instance, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        instance = self._instance
        values = instance.__dict__.get("__fabric_values__", {})
        return getattr(ObjMethod(Obj(type(instance).__fabric_cls__, values, instance), self._name), name)


class MethodOfClass:
    """What `@app.cls()` puts in a method's place."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        self.__fabric_raw__ = function
        functools.update_wrapper(self, function, updated=())

    def __get__(self, instance: Any, owner: type) -> Any:
        return self if instance is None else SelfMethod(self.name, self.__fabric_raw__, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__fabric_raw__(*args, **kwargs)


def define(app: str, name: str, plain: type, options: FunctionOptions, version: Callable[[], str | None]) -> Cls:
    """A class as `@app.cls()` makes it. Raises InvalidError where it cannot be one."""
    definition = Definition(app, name, version, plain, options)
    found = definition.methods
    if not found:
        raise InvalidError(f"{name} has no method to call; mark one with @fabric.method()", code="app_not_defined")
    if options.schedule is not None:
        raise InvalidError(f"{name} has a schedule; only functions can have one", code="bad_request")
    batched_methods_alone(name, found)
    assert definition.parameters is not None
    made = Cls(definition)
    for method, function in found.items():
        setattr(plain, method, MethodOfClass(method, function))
    plain.__fabric_cls__ = made  # type: ignore[attr-defined]
    return made


def _handle(app: str, name: str, overridden: Mapping[str, Any]) -> Cls:
    return Cls(Definition(app, name, lambda: None), overridden)


def _wire(name: str, declared: Mapping[str, Parameter] | None, values: Mapping[str, Any]) -> dict[str, Any]:
    """As calls carry them; of a class whose code is not here the gateway checks them."""
    if declared is None:
        return {one: Parameter.of_value(one, value).wire(value) for one, value in values.items()}
    settable = {one: parameter for one, parameter in declared.items() if parameter.init}
    unknown = [one for one in values if one not in settable]
    missing = [one for one, parameter in settable.items() if parameter.required and one not in values]
    if unknown or missing:
        problems = [f"unknown parameter {one!r}" for one in unknown] + [f"missing parameter {one!r}" for one in missing]
        raise TypeError(f"{name}(): {'; '.join(problems)}; it takes {', '.join(settable) or 'none'}")
    return {one: settable[one].wire(value) for one, value in values.items()}


def _finish(name: str, result: Any) -> None:
    if not inspect.iscoroutine(result):
        return
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(result)
        return
    result.close()
    raise InvalidError(
        f"{name} is an async @enter method, which .local() cannot wait for inside a running event loop; call .remote()",
        code="bad_request",
    )
