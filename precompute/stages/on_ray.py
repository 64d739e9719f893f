"""Mining on the machines of a Ray cluster: one task for each part, and a file in the output folder for what it found.

Owns how a run finds a cluster, what a worker keeps open between two parts, and what is told of lost machines. Must not
know what a score is, nor decide which machine does what: Ray does. The one module that imports Ray, when asked to.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch

from precompute import errors
from precompute.atlas.digests import digest_of
from precompute.atlas.hdf5 import ATLAS_KIND, read_provenance
from precompute.config import Config
from precompute.errors import AtlasError, ConfigError, DataError, StoreError
from precompute.images.workers import n_cpus
from precompute.inputs import Inputs
from precompute.progress import Reporter

from .mining import ShardMiner, ShardPlan

EXTRA = "concept-atlas[ray]"
RETRIES = 20
"""How often a part that went down with its machine is begun again: above that the part itself is at fault."""
WAITING, FEWEST = 4, 64
"""Parts handed to Ray for each place where one runs, and at least: a cluster that grows has to see what waits."""
PATIENCE = 20.0
"""Seconds without a worker after which a user is told what is waited for."""


@dataclass(frozen=True)
class RayOptions:
    """How a run uses a cluster; nothing here changes a result beyond what `part_digest` tells apart.

    Attributes
    ----------
    address : str
        ``local``: this machine alone; ``auto`` or ``HOST:PORT``: a cluster that this machine is a node of.
    cpus : int
        Processors of one worker; with more than one, the others decode.
    gpus : float
        Of one worker; below 1, several share one.
    max_bad : int or None
        Samples that may be unusable before the run ends; None: any number.
    mix : bool
        Let parts be computed on devices of several kinds, whose last digits differ.
    """

    address: str
    cpus: int = 1
    gpus: float = 0.0
    max_bad: int | None = None
    mix: bool = False

    def __post_init__(self) -> None:
        if "://" in self.address or not self.address:
            raise ConfigError(
                f"--ray is {self.address!r}, expected local, auto or HOST:PORT. Run atlas on a node of the cluster "
                "(its head): Ray's client protocol is not used"
            )


MIXED = "of several kinds"


def part_digest(mining_digest: str, batch_size: int, device: str) -> str:
    """Digest all that the bits of a part may depend on: batches are cut alike and computed on one kind of device.

    Kernels change with the size of a batch and with the device, and the last digits with them.
    """
    return digest_of([mining_digest, "ray", batch_size, device])


def describe_device(device: torch.device) -> str:
    """Name the kind of a device: two of one kind compute the same bits.

    Examples: ``cuda NVIDIA H100 80GB HBM3``, ``cpu AVX512``.
    """
    if device.type == "cuda":
        return f"cuda {torch.cuda.get_device_name(device)}"
    return f"{device.type} {torch.backends.cpu.get_cpu_capability()}"


# --- in a worker -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Job:
    """What a worker has to know; small, as it goes with every part."""

    config: Config
    cache: Path
    folder: Path
    mining_digest: str
    shard_size: int
    part_digest: str
    device: str
    options: RayOptions


class _Report(NamedTuple):
    """What a worker tells of a part.

    Attributes
    ----------
    number : int
    host : str
    seconds : float
        Of one machine's time, the opening of the network included.
    n_skipped : int
    fault : str
        Name of the class of an error that the user can act on; empty where the part is done.
    text : str
        The message of the fault, or the kind of the device.
    """

    number: int
    host: str
    seconds: float = 0.0
    n_skipped: int = 0
    fault: str = ""
    text: str = ""


class _Silent:
    """A worker's reporter: the driver tells of whole parts."""

    @contextmanager
    def track(self, label: str, total: int, *, done: int = 0, unit: str = "it") -> Iterator[Any]:
        yield lambda n: None

    def say(self, text: str) -> None:
        return


_open: dict[tuple[str, str], tuple[ShardMiner, ShardPlan]] = {}
"""The network and the data set of this worker's last job: a worker does many parts of one."""


def _opened(job: _Job) -> tuple[ShardMiner, ShardPlan]:
    """Open what a job is about, once in a worker; raises AtlasError where it is not what the driver sees."""
    key = (str(job.folder), job.part_digest)
    if key not in _open:
        _open.clear()
        torch.set_num_threads(job.options.cpus)
        config = _for_worker(job.config, job.options)
        inputs = Inputs(config, job.cache)
        if inputs.mining_digest != job.mining_digest:
            raise DataError(
                "a worker does not see what the machine sees on which atlas was started: other images, weights, class "
                "list or version of the program. All have to see the same files under the same paths, with the same "
                "version installed (docs/cluster.md)"
            )
        found = describe_device(inputs.device)
        if job.device not in (found, MIXED):
            raise ConfigError(
                f"a worker computes on {found!r}, the others on {job.device!r}: the last digits would depend on who "
                "did what. Use nodes of one kind (or relevance.device), or allow it with --ray-mix"
            )
        miner = ShardMiner(inputs.dataset, inputs.engine, inputs.tables, inputs.config, inputs.device)
        names = tuple(inputs.dataset.names)
        plan = ShardPlan(job.folder, names, job.shard_size, job.mining_digest, job.part_digest)
        _open[key] = (miner, plan)
    return _open[key]


def _for_worker(config: Config, options: RayOptions) -> Config:
    """Let a worker decode in as many processes as it has processors besides its own."""
    return dataclasses.replace(config, mining=dataclasses.replace(config.mining, n_workers=options.cpus - 1))


def _mine_part(job: _Job, number: int) -> _Report:
    """Mine one part into its file; what is there already is whole, and left."""
    started, host = time.monotonic(), socket.gethostname()
    try:
        miner, plan = _opened(job)
        if not plan.path(number).is_file():
            miner.mine_only(plan, (number,), _Silent())
        skipped = _n_skipped(plan, number)
    except AtlasError as error:
        return _Report(number, host, fault=type(error).__name__, text=str(error))
    return _Report(number, host, time.monotonic() - started, skipped)


def _find_device(name: str) -> _Report:
    """Tell the kind of device that a worker gets."""
    from precompute.relevance.choice import choose_device  # noqa: PLC0415 - only a worker asks

    try:
        return _Report(-1, socket.gethostname(), text=describe_device(choose_device(name)))
    except AtlasError as error:
        return _Report(-1, socket.gethostname(), fault=type(error).__name__, text=str(error))


def _n_skipped(plan: ShardPlan, number: int) -> int:
    return int(read_provenance(plan.path(number), ATLAS_KIND).get("skipped", 0))


# --- in the driver ---------------------------------------------------------------------------------------------


def require_ray() -> ModuleType:
    """Import Ray; raises ConfigError where it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")  # a worker without a GPU sees none
    try:
        return import_module("ray")
    except ImportError as error:
        raise ConfigError(f"--ray needs Ray, which is not installed: run `pip install '{EXTRA}'`") from error


class Driver:
    """Hands the parts of one data set to a cluster, and holds no more of them than their numbers.

    Made by `connected`.
    """

    def __init__(self, ray: ModuleType, options: RayOptions) -> None:
        self._ray, self._options = ray, options
        self._resources = {"num_cpus": options.cpus, "num_gpus": options.gpus, "max_retries": RETRIES, "max_calls": 0}

    def plan(self, plan: ShardPlan, config: Config, reporter: Reporter) -> tuple[ShardPlan, str]:
        """Return the plan of the same parts computed here, and the kind of device that computes them.

        Raises
        ------
        ConfigError
            This machine alone has not what a worker needs. A cluster that has not is waited for, as it may grow.
        """
        options = self._options
        wanted = {"CPU": options.cpus, "GPU": options.gpus}
        there = {name: self._ray.cluster_resources().get(name, 0) for name in wanted}
        told = f"{options.cpus} CPUs and {options.gpus:g} GPUs for a worker"
        if options.address == "local" and any(there[name] < wanted[name] for name in wanted):
            raise ConfigError(
                f"--ray local: this machine has {there['CPU']:g} CPUs and {there['GPU']:g} GPUs, expected at least "
                f"{told}. Set --ray-cpus and --ray-gpus lower"
            )
        find = self._ray.remote(**self._resources)(_find_device).remote(config.relevance.device)
        if not self._ray.wait([find], timeout=PATIENCE)[0]:
            reporter.say(f"waiting   for a node with {told}: the cluster has none free yet")
        found = _checked(self._get(find)).text
        device = MIXED if options.mix else found
        digest = part_digest(plan.mining_digest, config.mining.batch_size, device)
        return dataclasses.replace(plan, part_digest=digest), device

    def mine(self, plan: ShardPlan, device: str, config: Config, cache: Path, reporter: Reporter) -> None:
        """Mine what is missing of a plan, made by `plan`; whatever is finished when this ends stays.

        Raises
        ------
        AtlasError
            A worker cannot use its inputs, more than `max_bad` samples are unusable, a part was lost `RETRIES` times,
            or what workers write is not seen here.
        """
        config = dataclasses.replace(config, path=config.path.absolute())
        paths = (cache.absolute(), plan.folder.absolute())
        job = _Job(
            config, *paths, plan.mining_digest, plan.shard_size, plan.part_digest, device, self._options
        )  # fmt: skip
        missing = plan.missing()
        there = sorted(set(range(plan.n_shards)) - set(missing))
        n_bad = 0 if self._options.max_bad is None else sum(_n_skipped(plan, number) for number in there)
        done = sum(len(plan.samples(number)) for number in there)
        seconds, hosts, started = 0.0, set(), time.monotonic()
        with reporter.track("mining", plan.n_samples, done=done, unit="img") as advance:
            for report in self._reports(job, missing):
                _checked(report)
                self._check_seen(plan, report)
                seconds, n_bad = seconds + report.seconds, n_bad + report.n_skipped
                hosts.add(report.host)
                advance(len(plan.samples(report.number)))
                self._check_bad(n_bad)
        if missing:
            images = plan.n_samples - done
            wall = time.monotonic() - started
            reporter.say(
                f"mined     {len(missing)} of {plan.n_shards} parts on {len(hosts)} machine{'s' * (len(hosts) != 1)}: "
                f"{images / wall:.1f} images/s, {seconds / 3600:.3f} worker hours"
            )

    def _reports(self, job: _Job, numbers: list[int]) -> Iterator[_Report]:
        """Yield the report of each part as it ends; a bounded number of them is with Ray at any time."""
        task = self._ray.remote(**self._resources)(_mine_part)
        waiting, pending = iter(numbers), {}
        while True:
            for number in waiting:
                pending[task.remote(job, number)] = number
                if len(pending) >= self._window():
                    break
            if not pending:
                return
            ended, _ = self._ray.wait(list(pending), num_returns=1)
            for reference in ended:
                number = pending.pop(reference)
                yield self._get(reference, number)

    def _window(self) -> int:
        places = self._ray.cluster_resources().get("CPU", 1) / self._options.cpus
        return max(FEWEST, WAITING * int(places))

    def _get(self, reference: object, number: int | None = None) -> _Report:
        try:
            report: _Report = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError:
            raise  # an error of the program, with the worker's traceback
        except self._ray.exceptions.RayError as error:
            what = "the first task" if number is None else f"part {number}"
            raise StoreError(
                f"{what} was lost {RETRIES + 1} times with the process or machine that computed it "
                f"({type(error).__name__}). Look for its end in Ray's logs (most often memory: set mining.batch_size "
                "lower), then run the same command again: finished parts are kept"
            ) from error
        return report

    def _check_seen(self, plan: ShardPlan, report: _Report) -> None:
        if not plan.path(report.number).is_file():
            raise StoreError(
                f"{report.host} wrote part {report.number}, but {plan.path(report.number)} is not there: the output "
                "folder has to lie on a drive that all machines share (docs/cluster.md)"
            )

    def _check_bad(self, n_bad: int) -> None:
        limit = self._options.max_bad
        if limit is not None and n_bad > limit:
            raise DataError(
                f"{n_bad} samples could not be used, more than --max-bad {limit}. Finished parts are kept: mend the "
                "data, or raise it and run the same command again"
            )


def _checked(report: _Report) -> _Report:
    """Raise what a worker met, as the error that it was."""
    if report.fault:
        kind = getattr(errors, report.fault, AtlasError)
        raise kind(f"on {report.host}: {report.text}")
    return report


@contextmanager
def connected(options: RayOptions) -> Iterator[Driver]:
    """Start Ray on this machine, or join a cluster; leaves it at the end. SIGTERM ends the work as Ctrl-C does.

    Raises
    ------
    ConfigError
        Ray is not installed, there is no such cluster, or it runs another version of Ray or Python.
    """
    ray = require_ray()
    _connect(ray, options)
    before = signal.signal(signal.SIGTERM, _interrupt)  # a machine that is taken away says so
    try:
        yield Driver(ray, options)
    finally:
        signal.signal(signal.SIGTERM, before)
        ray.shutdown()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _connect(ray: ModuleType, options: RayOptions) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if options.address == "local":
            ray.init(address="local", num_cpus=n_cpus(), include_dashboard=False, **quiet)
        else:
            _require_answer(options.address)
            ray.init(address=options.address, **quiet)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"--ray {options.address}: there is no Ray cluster that this machine could join ({_first_line(error)}). "
            "Start one with `ray start --head`, or take --ray local"
        ) from error
    except RuntimeError as error:
        if "ersion mismatch" not in str(error):
            raise ConfigError(f"--ray {options.address}: Ray did not start: {_first_line(error)}") from error
        told = " ".join(str(error).split())
        raise ConfigError(
            f"--ray {options.address}: the cluster runs another version of Ray or Python than this machine. "
            f"{told[:300]}. Install the same on all of them"
        ) from error


def _require_answer(address: str) -> None:
    """Raise OSError or ValueError where nobody listens: Ray itself would try for minutes."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), timeout=10).close()


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300]
