"""fit() outside of containers: an invocation that trains, which this process waits for and shows."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .. import _source
from .._interrupt import telling
from ..app import App
from ..errors import (
    AuthError,
    CancelledError,
    FabricError,
    InvalidError,
    NotFoundError,
    RemoteError,
    UnreachableError,
)
from ..function import Function
from ..image import Image
from ..invocation import Invocation
from ..retries import Retries
from ._configs import requirements
from ._failures import ControllerError, WorkerGroupError
from ._result import Result
from ._rows import paths_of
from ._run import notice

if TYPE_CHECKING:
    from .data_parallel_trainer import DataParallelTrainer

__all__ = ["app_name", "fit_on_fabric", "function_options", "image_of"]

_FUNCTION = "fit"
_LONGEST_S = 30 * 86_400


def fit_on_fabric(trainer: DataParallelTrainer) -> Result:
    """Submit it, or find the one of this name that runs already, and wait."""
    _refuse(trainer)
    run = trainer.run_config
    if run.name is None:
        run.name = f"train-{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(3).hex()}"
    _tell(trainer)
    app = app_name(run.name)
    id = _under_way(app)
    if id is not None:
        print(f"fabric: {run.name} runs already, as {id}, with what it was started with: waiting for it. To start it"
              f" anew: fabric invocation cancel {id}", file=sys.stderr)  # fmt: skip
    else:
        id = _start(trainer, app)
        print(f"fabric: {run.name} runs as {id}; fabric explain {id} says where it is", file=sys.stderr)
    return _await(id, run.name)


def app_name(name: str) -> str:
    """Beside the user's own apps; long names are told apart by a digest."""
    app = f"train-{name}"
    return app if len(app) <= 64 else f"{app[:55]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def function_options(trainer: DataParallelTrainer) -> dict[str, Any]:
    """What the function that trains is given."""
    retries = trainer.run_config.failures.retries()
    return {
        **trainer.scaling_config.options(),
        "timeout": _LONGEST_S,
        "retries": Retries(max_retries=retries, backoff_coefficient=1, initial_delay=0) if retries else 0,
    }


def image_of(trainer: DataParallelTrainer) -> Image:
    """`worker_runtime_env`'s image, else that of the App which the loop's file defines, else a plain Python; with the
    packages and variables of the `worker_runtime_env` on top."""
    env = trainer.run_config.runtime_env
    own = f"{sys.version_info[0]}.{sys.version_info[1]}"
    image = env.get("image") or _image_beside(trainer.train_loop_per_worker) or Image.python(own)
    if not isinstance(image, Image):
        raise InvalidError(f"image is {image!r}; it must be a fabric.Image", code="bad_request")
    if image.python_version != own:
        raise InvalidError(
            f"the training loop travels from Python {own} to an image with Python {image.python_version}; use"
            f" fabric.Image.python({own!r})",
            code="python_mismatch",
        )
    packages = requirements(env["pip"]) if env.get("pip") else []
    if packages:
        image = image.pip_install(packages)
    return image.env(env["env_vars"]) if env.get("env_vars") else image


def _image_beside(loop: Any) -> Image | None:
    module = sys.modules.get(getattr(loop, "__module__", None) or "")
    named: dict[str, Any] = {} if module is None else vars(module)
    apps = list({id(value): value for value in named.values() if isinstance(value, App)}.values())
    preferred = named.get("app")
    app = preferred if isinstance(preferred, App) else apps[0] if len(apps) == 1 else None
    return None if app is None else app.image


def _refuse(trainer: DataParallelTrainer) -> None:
    if _source.importing:
        raise InvalidError(
            'fit() was called while the file is imported; put it below `if __name__ == "__main__":` or into a function'
            " with @app.local_entrypoint()",
            code="bad_request",
        )
    function_options(trainer)
    root = _root(trainer)
    for name, source in trainer.datasets.items():
        for path in paths_of(source) or ():
            if "://" not in path and not os.path.isabs(path) and (root is None or _leaves(path)):
                raise InvalidError(
                    f"the dataset {name!r} is {path!r}; relative paths start at the script's folder and stay below it",
                    code="bad_request",
                )


def _leaves(path: str) -> bool:
    return os.path.normpath(path).split(os.sep)[0] == os.pardir


def _tell(trainer: DataParallelTrainer) -> None:
    run = trainer.run_config
    if run.storage_path is not None:
        notice(f"storage_path={os.fspath(run.storage_path)!r} is not used: files go to fabric's bucket, below"
               f" checkpoints/{run.name}/ (fabric checkpoint list {run.name})")  # fmt: skip


def _root(trainer: DataParallelTrainer) -> str | None:
    from .._client.ephemeral import source_root

    folder: str | None = trainer.run_config.runtime_env.get("working_dir")
    if folder is None:
        return source_root()
    if not os.path.isdir(folder):
        raise InvalidError(f"working_dir is {folder!r}; it must be an existing folder", code="bad_request")
    return os.path.abspath(folder)


def _under_way(app: str) -> str | None:
    from .._client.http import gateway

    for state in ("running", "queued"):
        reply = gateway().request("GET", f"/v1/invocations?app={quote(app)}&function={_FUNCTION}&state={state}&limit=1")
        found: list[dict[str, str]] = reply.raise_for_error().json()["invocations"]
        if found:
            return found[0]["id"]
    return None


def _start(trainer: DataParallelTrainer, name: str) -> str:
    from .._client.ephemeral import deploy

    app = App(name, image=image_of(trainer))
    app.function(name=_FUNCTION, **function_options(trainer))(trainer.in_container())
    version = deploy(app, _root(trainer))
    function: Function[Any] = Function.from_name(name, _FUNCTION, version=version)
    return function.spawn(trainer).id


def _await(id: str, name: str) -> Result:
    from .._client.printed import following

    with telling(f"the training goes on as {id}; fit() of the name {name!r} waits for it, fabric invocation cancel"
                 f" {id} ends it"), following(id):  # fmt: skip
        try:
            outcome = Invocation.from_id(id).get()
        except (AuthError, CancelledError, NotFoundError, UnreachableError):
            raise
        except FabricError as error:
            if error.code == "result_not_serializable":
                raise
            if error.fault == "platform":
                raise ControllerError(error) from error
            raise _failed(error) from error
        except Exception as error:
            raise _failed(error) from error
    return Result(outcome["series"], outcome["rows"], outcome["return_value"])


def _failed(error: Exception) -> WorkerGroupError:
    """Of what a rank raised itself, the details are with its cause. Ranks that failed after it are told in words."""
    details: dict[str, Any] = getattr(error, "details", None) or getattr(error.__cause__, "details", {})
    rank = details.get("rank", 0)
    failures: dict[int, BaseException] = {rank: error}
    for other in details.get("failures", []):
        failures.setdefault(other["rank"], RemoteError(other["message"], code="rank_failed"))
    text = f"{type(error).__name__}: {error}"
    names_rank = isinstance(error, FabricError) or "rank" not in details
    return WorkerGroupError(text if names_rank else f"rank {rank}: {text}", failures)
