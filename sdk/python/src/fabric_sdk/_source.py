"""From the path of an app file to its module, its source root and its App."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from dataclasses import dataclass
from types import ModuleType

from .app import App
from .errors import InvalidError

_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True)
class Source:
    """Where an app file is."""

    root: str
    module: str
    file: str


#: What this process has loaded, and whether it is still being imported.
loaded: Source | None = None
importing = False


def locate(path: str) -> Source:
    """A plain file's root is its folder; inside a package it is the folder above the outermost package."""
    file = os.path.abspath(path)
    if os.path.isdir(file):
        file = os.path.join(file, "__init__.py")
        if not os.path.isfile(file):
            raise InvalidError(
                f"{path} is a folder without __init__.py; give the app's file, such as {os.path.join(path, 'app.py')}",
                code="app_import_failed",
            )
    if not os.path.isfile(file) or not file.endswith(".py"):
        raise InvalidError(f"{path} is not a Python file", code="app_import_failed")
    root, name = os.path.split(file)
    parts = [] if name == "__init__.py" else [name[: -len(".py")]]
    while os.path.isfile(os.path.join(root, "__init__.py")):
        root, package = os.path.split(root)
        parts.insert(0, package)
    return Source(root, ".".join(parts), file)


def load(source: Source) -> ModuleType:
    """Import the app file under the name it has inside containers. Anything may be raised by it."""
    global loaded, importing
    loaded, importing = source, True
    try:
        return _import(source)
    finally:
        importing = False


def _import(source: Source) -> ModuleType:
    if source.root not in sys.path:
        sys.path.insert(0, source.root)
    if all(map(_IDENTIFIER.fullmatch, source.module.split("."))):
        return importlib.import_module(source.module)
    spec = importlib.util.spec_from_file_location(source.module, source.file)
    if spec is None or spec.loader is None:
        raise InvalidError(f"{source.file} cannot be imported", code="app_import_failed")
    module = importlib.util.module_from_spec(spec)
    sys.modules[source.module] = module
    spec.loader.exec_module(module)
    return module


def find_app(module: ModuleType, source: Source) -> App:
    """The App that the module makes, or else one that it imports; a nameless one is named after the file."""
    found = {id(value): (name, value) for name, value in vars(module).items() if isinstance(value, App)}
    made = [(name, app) for name, app in found.values() if app.module == module.__name__]
    apps = made or [one for one in found.values() if one[0] == "app"] or list(found.values())
    if not apps:
        raise InvalidError(f"{source.file} defines no fabric.App", code="app_not_defined")
    if len(apps) > 1:
        names = ", ".join(f"{name} ({app.name or 'without a name'})" for name, app in apps)
        raise InvalidError(
            f"{source.file} defines {len(apps)} apps: {names}; a file is one app, so give each a file of its own",
            code="app_not_defined",
        )
    app = apps[0][1]
    if app.name is None:
        stem = os.path.basename(source.root if source.file.endswith("__init__.py") else source.file)
        app.rename(re.sub(r"[^A-Za-z0-9_-]+", "-", stem.rpartition(".")[0] or stem).strip("-_")[:64] or "app")
    return app
