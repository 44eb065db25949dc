"""`python -m fabric_sdk.run PATH ENTRYPOINT ARGS...`: run a local entrypoint, or call a function.

The CLI deploys an ephemeral version first and names it in FABRIC_APP_VERSION.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import json
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

from . import _source
from .app import App
from .cls import Cls
from .describe import annotation
from .errors import FabricError
from .function import Function

__all__ = ["main", "parser"]

USAGE = 2
INTERRUPTED = 130
_WORD = re.compile(r"\b(str|int|float|bool)\b")
_CONTAINER = re.compile(r"\b(list|dict|tuple|set|List|Dict|Tuple|Set|Sequence|Mapping|Any)\b")


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status; what the user's code raises passes through."""
    given = list(sys.argv[1:] if argv is None else argv)
    if len(given) < 2:
        print("usage: python -m fabric_sdk.run PATH ENTRYPOINT [ARGS...]", file=sys.stderr)
        return USAGE
    path, name, *rest = given
    source = _source.locate(path)
    app = _source.find_app(_source.load(source), source)
    entrypoint = app.entrypoints.get(name)
    if entrypoint is not None:
        args, kwargs = arguments(entrypoint.function, name, rest)
        value = entrypoint.function(*args, **kwargs)
        if inspect.iscoroutine(value):
            asyncio.run(value)
        return 0
    called = _called(app, name, rest)
    if called is None:
        known = ", ".join([*app.entrypoints, *app.functions, *_methods(app)])
        print(f"{path} has no entrypoint or function {name!r}; it has: {known}", file=sys.stderr)
        return USAGE
    function, args, kwargs = called
    from ._client.calls import pretty

    print(pretty(function.remote(*args, **kwargs)))
    return 0


def _called(app: App, name: str, given: Sequence[str]) -> tuple[Function[Any], list[Any], dict[str, Any]] | None:
    """The function or method, and its arguments from the command line's words."""
    function = app.functions.get(name)
    if function is not None and function.__fabric_function__ is not None:
        return (function, *arguments(function.__fabric_function__, name, given))
    owner, _, method = name.rpartition(".")
    cls = app.classes.get(owner)
    if cls is None or method not in cls.methods:
        return None
    values, args, kwargs = method_arguments(cls, method, name, given)
    return getattr(cls(**values), method), args, kwargs


def _methods(app: App) -> list[str]:
    return [f"{name}.{method}" for name, cls in app.classes.items() for method in cls.methods]


def method_arguments(
    cls: Cls, method: str, name: str, given: Sequence[str]
) -> tuple[dict[str, Any], list[Any], dict[str, Any]]:
    """The class' parameters and the method's arguments, from options side by side."""
    function = cls.methods[method]
    own = {one.name: one for one in list(inspect.signature(function).parameters.values())[1:]}
    shared = [one for one in cls.signature() if one.name not in own]
    signature = inspect.Signature(sorted([*own.values(), *shared], key=lambda one: one.kind))
    args, kwargs = _arguments(signature, name, inspect.getdoc(function), given)
    values = {one.name: kwargs.pop(one.name) for one in shared if one.name in kwargs}
    return values, args, kwargs


def arguments(function: Callable[..., Any], name: str, given: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
    """Positional and named arguments from the command line's words."""
    return _arguments(inspect.signature(function), name, inspect.getdoc(function), given)


def _arguments(
    signature: inspect.Signature, name: str, doc: str | None, given: Sequence[str]
) -> tuple[list[Any], dict[str, Any]]:
    parsed = vars(parser(signature, name, doc).parse_args(given))
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for parameter in signature.parameters.values():
        if parameter.name not in parsed:
            continue
        if parameter.kind is parameter.POSITIONAL_ONLY:
            args.append(parsed[parameter.name])
        elif parameter.kind is parameter.VAR_POSITIONAL:
            args.extend(parsed[parameter.name])
        else:
            kwargs[parameter.name] = parsed[parameter.name]
    return args, kwargs


def parser(signature: inspect.Signature, name: str, doc: str | None) -> argparse.ArgumentParser:
    """One option per parameter (`--learning-rate`), its type from the annotation; *args take the remaining words."""
    made = argparse.ArgumentParser(prog=name, description=doc, argument_default=argparse.SUPPRESS, allow_abbrev=False)
    for parameter in signature.parameters.values():
        written = annotation(parameter)
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            made.add_argument(parameter.name, nargs="*", type=_reader(written))
            continue
        required = parameter.default is parameter.empty
        shown = written or None
        if not required:
            shown = f"{written or 'value'}, default {parameter.default!r}".replace("%", "%%")
        flag = "--" + parameter.name.replace("_", "-")
        if _WORD.findall(written) == ["bool"]:
            made.add_argument(
                flag, dest=parameter.name, required=required, action=argparse.BooleanOptionalAction, help=shown
            )
        else:
            made.add_argument(flag, dest=parameter.name, required=required, type=_reader(written), help=shown)
    return made


def _reader(written: str) -> Callable[[str], Any]:
    words = _WORD.findall(written)
    if _CONTAINER.search(written) or not written:
        return _json_or_text
    if words and words[0] != "str" and "str" not in words:
        return int if words == ["int"] else float if "float" in words else _json_or_text
    return str if "str" in words else _json_or_text


def _json_or_text(word: str) -> Any:
    try:
        return json.loads(word)
    except ValueError:
        return word


def _report(error: FabricError) -> int:
    print(f"error: {error}", file=sys.stderr)
    cause = error.__cause__
    if cause is not None:
        print(str(cause).strip(), file=sys.stderr)
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FabricError as error:
        sys.exit(_report(error))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
