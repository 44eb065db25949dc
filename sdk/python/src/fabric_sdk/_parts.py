"""The parts of a class as its author marks them: parameters, methods, what runs at its containers' start and end."""

from __future__ import annotations

import base64
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from .errors import InvalidError

F = TypeVar("F", bound=Callable[..., Any])


class _Nothing:
    """No default; a class, so that it stays itself when a class travels by value."""


_NOTHING: Any = _Nothing
_TYPES: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool, "bytes": bytes}
_SAFE_INTEGER = 2**53 - 1
_MAX_TEXT = 4096
_MAX_BYTES = 3072


class Parameter:
    """The class attribute that stands for a value; the instance's own attribute of this name has it."""

    def __init__(self, default: Any = _NOTHING, init: bool = True) -> None:
        self.name = ""
        self.type = ""
        self.default = default
        self.init = init

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        annotation = getattr(owner, "__annotations__", {}).get(name)
        self.type = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")

    def checked(self) -> Parameter:
        """Not earlier: what is raised while a class is made comes wrapped."""
        if self.init and self.type not in _TYPES:
            raise InvalidError(
                f"the parameter {self.name} has the type {self.type or 'none'}; write one of {', '.join(_TYPES)}, as in"
                f" `{self.name}: str = fabric.parameter()`",
                code="bad_request",
            )
        if self.init and self.default is not _NOTHING:
            self.wire(self.default)
        return self

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        raise AttributeError(f"{type(instance).__name__}.{self.name} has no value yet")

    @classmethod
    def of_value(cls, name: str, value: Any) -> Parameter:
        """Of a class that is not here: its type is the value's own."""
        made = cls()
        made.name = name
        made.type = next((known for known, kind in _TYPES.items() if type(value) is kind), "")
        if not made.type:
            raise _wrong(name, value, f"one of {', '.join(_TYPES)}")
        return made

    @property
    def required(self) -> bool:
        return self.init and self.default is _NOTHING

    def as_argument(self) -> inspect.Parameter:
        """As if the class had an __init__."""
        default = inspect.Parameter.empty if self.default is _NOTHING else self.default
        kind = inspect.Parameter.KEYWORD_ONLY
        return inspect.Parameter(self.name, kind, default=default, annotation=_TYPES[self.type])

    def spec(self) -> dict[str, Any]:
        """As deployments carry it."""
        told = {"name": self.name, "type": self.type}
        return told if self.default is _NOTHING else {**told, "default": self.wire(self.default)}

    def wire(self, value: Any) -> Any:
        """The value as JSON carries it. Raises InvalidError where it is none of this type."""
        kind = _TYPES[self.type]
        if kind is float and type(value) is int:
            value = float(value)
        fits = type(value) is kind
        if not fits:
            raise _wrong(self.name, value, f"a {self.type}")
        if kind is int and abs(value) > _SAFE_INTEGER:
            raise _wrong(self.name, value, "a whole number of at most 53 bits")
        if kind is float and not math.isfinite(value):
            raise _wrong(self.name, value, "a finite number")
        if kind in (str, bytes) and len(value) > (_MAX_TEXT if kind is str else _MAX_BYTES):
            raise _wrong(self.name, f"{len(value)} long", f"at most {_MAX_TEXT} characters or {_MAX_BYTES} bytes long")
        return base64.b64encode(value).decode() if kind is bytes else value

    def open(self, carried: Any) -> Any:
        """The other way."""
        if self.type == "bytes":
            return base64.b64decode(carried)
        return float(carried) if self.type == "float" else carried


def parameter(*, default: Any = _NOTHING, init: bool = True) -> Any:
    """In the body of a class: `size: str = fabric.parameter(default="small")`, given as `Model(size="large")`. With
    `init=False` it is not given: only declared, for `@fabric.enter()` to set."""
    return Parameter(default, init)


def method(*, is_generator: bool | None = None) -> Callable[[F], F]:
    """In the body of a class: callers may call it."""
    return _mark("method", "@fabric.method()")


def enter(*, snap: bool = False) -> Callable[[F], F]:
    """In the body of a class: run once in each container, before its first input."""
    return _mark("enter", "@fabric.enter()")


def exit() -> Callable[[F], F]:
    """In the body of a class: run when a container ends in good order; not when it is killed."""
    return _mark("exit", "@fabric.exit()")


def _mark(part: str, written: str) -> Callable[[F], F]:
    def mark(function: F) -> F:
        if not inspect.isfunction(function):
            raise InvalidError(f"{written} is for methods, not for {function!r}", code="bad_request")
        function.__dict__[f"__fabric_{part}__"] = True
        return function

    return mark


def raw(found: Any) -> Any:
    """The plain function behind a class' attribute."""
    return getattr(found, "__fabric_raw__", found)


def _marked(plain: type, *parts: str) -> dict[str, Callable[..., Any]]:
    """By name, base classes' first; what a class overrides counts as it is there."""
    names = dict.fromkeys(name for base in reversed(plain.__mro__) for name in vars(base))
    found = {name: raw(inspect.getattr_static(plain, name)) for name in names}
    return {
        name: function
        for name, function in found.items()
        if inspect.isfunction(function) and any(f"__fabric_{part}__" in vars(function) for part in parts)
    }


def methods(plain: type) -> dict[str, Callable[..., Any]]:
    """What callers may call."""
    found = _marked(plain, "method", "batched")
    for name, function in found.items():
        if "__fabric_concurrent__" in vars(function):
            raise InvalidError(
                f"{name}: put @fabric.concurrent on the class, below @app.cls(): its methods share the containers",
                code="bad_request",
            )
    return found


def hooks(plain: type, part: str) -> dict[str, Callable[..., Any]]:
    """The `enter` or `exit` methods, in their order."""
    return _marked(plain, part)


def parameters(plain: type) -> dict[str, Parameter]:
    """By name; raises InvalidError where the class makes its instances in a way of its own."""
    names = dict.fromkeys(name for base in reversed(plain.__mro__) for name in vars(base))
    declared = {name: inspect.getattr_static(plain, name) for name in names}
    if "__init__" in vars(plain) or not _takes_nothing(plain):
        raise InvalidError(
            f"{plain.__name__} has an __init__, which nobody could give its arguments; declare each of them as"
            " `name: str = fabric.parameter()` and move the rest to a method under @fabric.enter()",
            code="bad_request",
        )
    return {name: one.checked() for name, one in declared.items() if isinstance(one, Parameter)}


def batched_methods_alone(name: str, found: Mapping[str, Callable[..., Any]]) -> None:
    if len(found) > 1 and any("__fabric_batched__" in vars(function) for function in found.values()):
        raise InvalidError(
            f"{name} has a batched method, so that it can have no other methods: they would share its slots",
            code="bad_request",
        )


def construct(plain: type, values: Mapping[str, Any], *, carried: bool = False) -> Any:
    """An instance with its parameters' values, which are as JSON carries them or as they are."""
    instance = plain()
    given: dict[str, Any] = {}
    for name, one in parameters(plain).items():
        if name in values:
            given[name] = one.open(values[name]) if carried else one.open(one.wire(values[name]))
            instance.__dict__[name] = given[name]
        elif one.default is not _NOTHING:
            instance.__dict__[name] = one.default
    instance.__dict__["__fabric_values__"] = given
    return instance


def bound(function: Callable[..., Any], instance: Any) -> Callable[..., Any]:
    """The method as Python would bind it."""
    made: Callable[..., Any] = function.__get__(instance)
    return made


def _takes_nothing(plain: type) -> bool:
    if plain.__init__ is object.__init__:  # type: ignore[misc]
        return True
    try:
        inspect.signature(plain.__init__).bind(None)  # type: ignore[misc]
    except (TypeError, ValueError):
        return False
    return True


def _wrong(name: str, value: Any, rule: str) -> InvalidError:
    return InvalidError(f"the parameter {name} is {value!r}; it must be {rule}", code="invalid_parameters")
