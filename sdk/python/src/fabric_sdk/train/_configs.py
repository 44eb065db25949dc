"""What a trainer is told: how many ranks of which size, what the run is called, what it survives and keeps."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidError

__all__ = [
    "BackendConfig",
    "CheckpointConfig",
    "DataConfig",
    "FailureConfig",
    "LoggingConfig",
    "RunConfig",
    "ScalingConfig",
]

_MIB = 1024 * 1024
#: What a training reserves and may use unless it says what it needs: models grow to what the node has.
_MEMORY = (1024, 16_777_216)
#: The most retries that functions have: what max_failures=-1 comes to.
MAX_FAILURES = 100
#: Containers of a gang, each with one rank then.
_MOST_WORKERS = 256
#: Ranks of one container.
_MOST_PROCS = 64
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_DEPRECATED = "DEPRECATED"
_RESOURCES = ("CPU", "GPU", "memory")
_RUNTIME_ENV = ("env_vars", "image", "pip", "working_dir")


@dataclass
class ScalingConfig:
    """`num_workers` ranks, each with `resources_per_worker`: CPU, GPU, and memory in bytes."""

    trainer_resources: dict[str, float] | None = None
    num_workers: int = 1
    use_gpu: bool = False
    resources_per_worker: dict[str, float] | None = None
    placement_strategy: str = "PACK"
    accelerator_type: str | None = None
    label_selector: Any = None
    use_tpu: bool = False
    topology: str | None = None
    elastic_resize_monitor_interval_s: float = 60.0

    def __post_init__(self) -> None:
        if self.trainer_resources is not None:
            raise _wrong("trainer_resources", self.trainer_resources, "left out: nothing runs beside the ranks")
        if isinstance(self.num_workers, tuple):
            raise _wrong("num_workers", self.num_workers, "a number: fabric keeps the count of a training fixed")
        if not isinstance(self.num_workers, int) or isinstance(self.num_workers, bool) or self.num_workers < 1:
            raise _wrong("num_workers", self.num_workers, "a whole number from 1 on; 0 is a plain call of the loop")
        if self.num_workers > _MOST_WORKERS:
            raise _wrong("num_workers", self.num_workers, f"at most {_MOST_WORKERS}")
        if self.use_tpu or self.topology is not None:
            raise _wrong("use_tpu", self.use_tpu, "left out: fabric knows CPUs and GPUs")
        if self.label_selector is not None:
            raise _wrong("label_selector", self.label_selector, "left out: nodes are chosen by their free resources")
        if self.placement_strategy not in ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"):
            raise _wrong("placement_strategy", self.placement_strategy, "PACK, SPREAD, STRICT_PACK or STRICT_SPREAD")
        unknown = set(self.resources_per_worker or {}) - set(_RESOURCES)
        if unknown:
            raise _wrong("resources_per_worker", self.resources_per_worker, f"made of {', '.join(_RESOURCES)}")
        gpus = self.num_gpus_per_worker
        if gpus != int(gpus) or gpus < 0 or (self.use_gpu and gpus == 0):
            raise _wrong("resources_per_worker", self.resources_per_worker, "a whole number of GPUs, at least 1")
        if gpus and not self.use_gpu:
            raise _wrong("use_gpu", self.use_gpu, "True where resources_per_worker has GPU")

    @property
    def num_cpus_per_worker(self) -> float:
        """Cores."""
        return (self.resources_per_worker or {}).get("CPU", 1)

    @property
    def num_gpus_per_worker(self) -> float:
        """Devices."""
        return (self.resources_per_worker or {}).get("GPU", 1 if self.use_gpu else 0)

    def options(self) -> dict[str, Any]:
        """As functions take them. The ranks share one container, where GPUs reach each other fastest, unless they are
        to be spread."""
        given = self.resources_per_worker or {}
        spread = "SPREAD" in self.placement_strategy or self.num_workers > _MOST_PROCS
        ranks = 1 if spread else self.num_workers
        gpus = int(self.num_gpus_per_worker) * ranks
        kind = self.accelerator_type or "any"
        memory = (
            max(1, round(given["memory"] * ranks / _MIB)) if "memory" in given else (_MEMORY[0] * ranks, _MEMORY[1])
        )
        gang = {"gang": self.num_workers // ranks, "procs": ranks}
        return {
            "cpu": self.num_cpus_per_worker * ranks,
            "memory": memory,
            "gpu": None if gpus == 0 else kind if gpus == 1 else f"{kind}:{gpus}",
            **({} if self.num_workers == 1 else gang),
        }


@dataclass
class CheckpointConfig:
    """What of a series is kept, and which is its best."""

    num_to_keep: int | None = None
    checkpoint_score_attribute: str | None = None
    checkpoint_score_order: str = "max"
    checkpoint_frequency: Any = _DEPRECATED
    checkpoint_at_end: Any = _DEPRECATED

    def __post_init__(self) -> None:
        _refuse_deprecated(self, "checkpoint_frequency", "checkpoint_at_end")
        if self.num_to_keep is not None and (not isinstance(self.num_to_keep, int) or self.num_to_keep < 1):
            raise _wrong("num_to_keep", self.num_to_keep, "None or a whole number from 1 on")
        if self.checkpoint_score_order not in ("max", "min"):
            raise _wrong("checkpoint_score_order", self.checkpoint_score_order, '"max" or "min"')


@dataclass
class FailureConfig:
    """How often a training that failed goes on from its latest checkpoint; -1: 100 times. Nodes that are lost and
    other faults of the platform have a budget of their own."""

    max_failures: int = 0
    fail_fast: Any = _DEPRECATED
    controller_failure_limit: int = -1
    max_preemption_failures: int = -1
    relax_collectives_on_preemption: bool = False
    preemption_grace_s: float = 0.0

    def __post_init__(self) -> None:
        _refuse_deprecated(self, "fail_fast")
        most = MAX_FAILURES
        if not isinstance(self.max_failures, int) or isinstance(self.max_failures, bool):
            raise _wrong("max_failures", self.max_failures, f"a whole number from -1 to {most}")
        if not -1 <= self.max_failures <= most:
            raise _wrong("max_failures", self.max_failures, f"a whole number from -1 to {most}")
        for name in ("controller_failure_limit", "max_preemption_failures"):
            if getattr(self, name) != -1:
                raise _wrong(name, getattr(self, name), "left out: faults of the platform have a budget of their own")
        if self.relax_collectives_on_preemption or self.preemption_grace_s:
            raise _wrong("relax_collectives_on_preemption", True, "left out: fabric has no preemption")

    def retries(self) -> int:
        """As functions have them."""
        return MAX_FAILURES if self.max_failures == -1 else self.max_failures


@dataclass
class LoggingConfig:
    """Accepted: fabric itself says little, and what the loop prints is its own."""

    log_level: str = "INFO"


@dataclass
class RunConfig:
    """What a run is called: its series has that name, and a run of the same name goes on where the last one ended."""

    name: str | None = None
    storage_path: Any = None
    storage_filesystem: Any = None
    failure_config: FailureConfig | None = None
    checkpoint_config: CheckpointConfig | None = None
    callbacks: list[Any] | None = None
    worker_runtime_env: Mapping[str, Any] | None = None
    logging_config: LoggingConfig | None = None
    #: Not of Ray: keep the metrics that each rank reports, not only rank 0's.
    metrics_per_rank: bool = False
    sync_config: Any = _DEPRECATED
    verbose: Any = _DEPRECATED
    stop: Any = _DEPRECATED
    progress_reporter: Any = _DEPRECATED
    log_to_file: Any = _DEPRECATED

    def __post_init__(self) -> None:
        _refuse_deprecated(self, "sync_config", "verbose", "stop", "progress_reporter", "log_to_file")
        if self.name is not None and not (isinstance(self.name, str) and _NAME.fullmatch(self.name)):
            raise _wrong("name", self.name, "letters, digits, '-' and '_', starting with a letter or digit, 64 at most")
        if self.storage_filesystem is not None:
            raise _wrong("storage_filesystem", self.storage_filesystem, "left out: files go to fabric's bucket")
        if self.callbacks:
            raise _wrong("callbacks", self.callbacks, "left out: call what they would do in the training loop")
        self.failure_config = self.failure_config or FailureConfig()
        self.checkpoint_config = self.checkpoint_config or CheckpointConfig()
        self.logging_config = self.logging_config or LoggingConfig()
        self.worker_runtime_env = dict(self.worker_runtime_env or {})
        for name, kind in (("failure_config", FailureConfig), ("checkpoint_config", CheckpointConfig)):
            if not isinstance(getattr(self, name), kind):
                raise _wrong(name, getattr(self, name), f"a fabric_sdk.train.{kind.__name__}")
        unknown = set(self.worker_runtime_env) - set(_RUNTIME_ENV)
        if unknown:
            raise _wrong("worker_runtime_env", sorted(self.worker_runtime_env), f"made of {', '.join(_RUNTIME_ENV)}")

    @property
    def failures(self) -> FailureConfig:
        return self.failure_config or FailureConfig()

    @property
    def checkpoints(self) -> CheckpointConfig:
        return self.checkpoint_config or CheckpointConfig()

    @property
    def runtime_env(self) -> Mapping[str, Any]:
        return self.worker_runtime_env or {}


@dataclass
class BackendConfig:
    """What is set up around the loop on every rank; here nothing."""

    @contextmanager
    def group(self, scaling: ScalingConfig) -> Iterator[None]:
        """The loop runs inside of it."""
        yield


class DataConfig:
    """Which datasets are split among the ranks; of the others every rank sees all rows."""

    def __init__(
        self,
        datasets_to_split: str | list[str] = "all",
        execution_options: Any = None,
        enable_shard_locality: bool = True,
    ) -> None:
        if datasets_to_split != "all" and not isinstance(datasets_to_split, list):
            raise _wrong("datasets_to_split", datasets_to_split, '"all" or a list of names')
        if execution_options is not None:
            raise _wrong("execution_options", execution_options, "left out: they belong to Ray Data")
        self.datasets_to_split = datasets_to_split
        self.enable_shard_locality = enable_shard_locality

    def is_split(self, name: str) -> bool:
        return self.datasets_to_split == "all" or name in self.datasets_to_split


def requirements(given: Any) -> list[str]:
    """Ray's three forms of `pip`: a list, `{"packages": [...]}`, the path of a requirements.txt."""
    if isinstance(given, Mapping):
        given = given.get("packages")
    if isinstance(given, (str, os.PathLike)):
        with open(given, encoding="utf-8") as file:
            lines = [line.partition("#")[0].strip() for line in file]
        return [line for line in lines if line]
    if not isinstance(given, (list, tuple)):
        raise _wrong("pip", given, "a list of requirements, or the path of a requirements.txt")
    return list(given)


def _refuse_deprecated(config: Any, *names: str) -> None:
    for name in names:
        if getattr(config, name) != _DEPRECATED:
            raise InvalidError(
                f"{type(config).__name__}({name}=...) is deprecated in Ray Train and not available in fabric;"
                " leave it out",
                code="bad_request",
            )


def _wrong(name: str, value: Any, rule: str) -> InvalidError:
    return InvalidError(f"{name} is {value!r}; it must be {rule}", code="bad_request")
