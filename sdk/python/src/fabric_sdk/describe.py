"""`python -m fabric_sdk.describe PATH`: what an app file defines, as one JSON object on stdout.

What the user's module prints while it is imported goes to stderr.
"""

from __future__ import annotations

import base64
import functools
import importlib
import inspect
import json
import os
import re
import sys
import traceback
from typing import Any

from . import _source
from ._values import lenient_json, pickled
from .app import App, LocalEntrypoint
from .cls import Cls
from .errors import FabricError, InvalidError
from .function import Function
from .image import Image

__all__ = ["describe", "describe_app", "main"]


def describe(path: str) -> dict[str, Any]:
    """Import the app file and tell what it defines. Raises FabricError with the code to report."""
    source = _source.locate(path)
    try:
        module = _source.load(source)
    except BaseException as error:  # also what a module's sys.exit() raises
        raise _import_failed(path, error) from error
    return describe_app(_source.find_app(module, source), source.root)


def describe_app(app: App, root: str) -> dict[str, Any]:
    """What the CLI, or a script's own `app.run()`, deploys."""
    if not app.functions and not app.classes:
        raise InvalidError(f"the app {app.name!r} has no function; add @app.function()", code="app_not_defined")
    images: dict[str, Any] = {}
    pickles: dict[str, str] = {}
    functions = []
    defined: list[Function[Any] | Cls] = [*app.functions.values(), *app.classes.values()]
    for function in defined:
        image = function.options.image or Image()
        images[image.key()] = image.spec()
        entry = _entry(function)
        if entry is None:
            entry = {"pickle": f"{function.name}.pkl"}
            pickles[entry["pickle"]] = base64.b64encode(_by_value(function, image)).decode()
        functions.append(function.spec(entry, image.key()))
    return {
        "app": app.name,
        "root": root,
        "python": _own_python(),
        "images": images,
        "functions": functions,
        "entrypoints": [_entrypoint(entrypoint) for entrypoint in app.entrypoints.values()],
        "pickles": pickles,
    }


def main(argv: list[str] | None = None) -> int:
    """Print the description; the exit status is 1 when there is none."""
    given = sys.argv[1:] if argv is None else argv
    if len(given) != 1:
        print("usage: python -m fabric_sdk.describe PATH", file=sys.stderr)
        return 2
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    sys.stdout.flush()
    os.dup2(2, 1)
    try:
        told: dict[str, Any] = describe(given[0])
        status = 0
    except FabricError as error:
        told = {"error": {"code": error.code, "message": error.message}}
        status = 1
    with answer:
        answer.write(json.dumps(told) + "\n")
    return status


def _entry(function: Function[Any] | Cls) -> dict[str, str] | None:
    """Module and qualified name, where an import leads back to the function; None when it has to travel by value."""
    plain = _plain(function)
    module, qualname = getattr(plain, "__module__", None), getattr(plain, "__qualname__", "")
    if module in (None, "__main__") or not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", module or ""):
        return None
    found: Any = sys.modules.get(module or "")
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return {"module": module or "", "qualname": qualname} if found is function or found is plain else None


def _plain(function: Function[Any] | Cls) -> Any:
    return function.__fabric_class__ if isinstance(function, Cls) else function.__fabric_function__


def _by_value(function: Function[Any] | Cls, image: Image) -> bytes:
    if image.python_version != _own_python():
        raise InvalidError(
            f"{function.name} travels by value, as scripts' and notebooks' functions do, from Python {_own_python()}"
            f" to an image with Python {image.python_version}; use fabric.Image.python({_own_python()!r})",
            code="python_mismatch",
        )
    try:
        import cloudpickle
    except ImportError as error:
        raise InvalidError(
            f"{function.name} travels by value, which needs cloudpickle: pip install 'cloudpickle>=3'",
            code="app_import_failed",
        ) from error
    plain = _plain(function)
    module = sys.modules.get(getattr(plain, "__module__", "") or "")
    if module is None or module.__name__ == "__main__":
        return pickled(plain)
    cloudpickle.register_pickle_by_value(module)
    try:
        return pickled(plain)
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def _entrypoint(entrypoint: LocalEntrypoint) -> dict[str, Any]:
    return {"name": entrypoint.name, "parameters": [_parameter(p) for p in _parameters(entrypoint.function)]}


def _parameters(function: Any) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())


def _parameter(parameter: inspect.Parameter) -> dict[str, Any]:
    told: dict[str, Any] = {"name": parameter.name, "annotation": annotation(parameter)}
    if parameter.default is not parameter.empty:
        try:
            told["default"] = json.loads(lenient_json(parameter.default))
        except (TypeError, ValueError):
            told["default"] = repr(parameter.default)
    return told


def annotation(parameter: inspect.Parameter) -> str:
    """A parameter's annotation as its author wrote it, more or less; empty without one."""
    given = parameter.annotation
    if given is parameter.empty:
        return ""
    return given if isinstance(given, str) else inspect.formatannotation(given)


def _import_failed(path: str, error: BaseException) -> InvalidError:
    """What a user can mend in the app file: a rule of ours as its own sentence, everything else as a traceback."""
    # "<string>": what dataclasses generate; functools: where cached properties are made
    own = (os.path.dirname(__file__) + os.sep, "<frozen importlib", "<string>", importlib.__file__, functools.__file__)
    told = traceback.TracebackException.from_exception(error)
    frames = [frame for frame in told.stack if not frame.filename.startswith(own)]
    told.stack = traceback.StackSummary.from_list(frames)
    if isinstance(error, InvalidError):
        place = f"{frames[-1].filename}:{frames[-1].lineno}: " if frames else ""
        return InvalidError(f"{place}{error.message}", code=error.code)
    return InvalidError(f"{path} does not import:\n{''.join(told.format()).rstrip()}", code="app_import_failed")


def _own_python() -> str:
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


if __name__ == "__main__":
    sys.exit(main())
