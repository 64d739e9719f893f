"""Kill a run at random moments (SIGKILL), start it again, and compare what it made with an undisturbed run.

    python -m benchmarks.resume                    20 kills of mining over 2,000 CIFAR photos, 5 of rendering references
    python -m benchmarks.resume --kills 3 --photos 500 --reference-kills 1
    python -m benchmarks.resume --run-kills 60    only whole runs (`atlas run`, small), killed in every stage in turn
    python -m benchmarks.resume --given-kills 60  only what is given away: reports, a published copy, a study

The moments are seeded, and spread over the time that the undisturbed run took, from its start to its end; one that
comes after the end of its run kills nothing, does not count and is drawn again. Every array of the resulting files
has to be equal. Needs the development data; exits 1 where a resumed run differs, and where a process that decodes
images outlives the run it belonged to. Of a whole run every file has to be there again with the same bytes, site and
hidden files included, and no other.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np

from benchmarks._contest import DATA, print_machine
from tests.small_atlas import make_small_atlas

CONFIG = Path(__file__).resolve().parents[1] / "data" / "cifar10-sample.toml"
PATIENCE = 20.0
"""Seconds in which orphaned decoders have to end."""


def atlas(command: str, folder: Path, settings: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a command of `atlas` in a process group of its own."""
    given = [part for setting in settings for part in ("--set", setting)]
    line = [sys.executable, "-m", "precompute.cli", command, "--config", str(CONFIG), "--output", str(folder), *given]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(line, stdout=quiet, stderr=quiet, start_new_session=True)


def finish(command: str, folder: Path, settings: Sequence[str]) -> float:
    """Run a command to its end; returns seconds."""
    start = time.perf_counter()
    process = atlas(command, folder, settings)
    if process.wait():
        raise SystemExit(f"`atlas {command}` ended with exit code {process.returncode}: run it by hand to see why")
    return time.perf_counter() - start


def kill_after(command: str, folder: Path, settings: Sequence[str], seconds: float) -> tuple[bool, bool]:
    """Start a command and kill its main process; returns whether it was still running, and whether all others ended."""
    process = atlas(command, folder, settings)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True, _is_gone(process.pid)
    return False, True


def _is_gone(group: int) -> bool:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    os.killpg(group, signal.SIGKILL)
    return False


def differences(found: Path, expected: Path) -> list[str]:
    """List the arrays of an HDF5 file that differ."""

    def arrays(path: Path) -> dict[str, np.ndarray]:
        content: dict[str, np.ndarray] = {}
        with h5py.File(path) as file:
            file.visititems(lambda name, item: content.update({name: item[()]}) if hasattr(item, "shape") else None)
        return content

    ours, theirs = arrays(found), arrays(expected)
    names = sorted(ours.keys() | theirs.keys())
    return [name for name in names if name not in ours or name not in theirs or not _equal(ours[name], theirs[name])]


def _equal(left: np.ndarray, right: np.ndarray) -> bool:
    left, right = np.asarray(left), np.asarray(right)
    return bool(np.array_equal(left, right, equal_nan=left.dtype.kind == "f"))


def contest(command: str, made: str, base: Path, n_kills: int, settings: Sequence[str], before: Path | None) -> bool:
    """Kill and resume a command `n_kills` times; returns whether all went well."""
    with tempfile.TemporaryDirectory() as root:
        folder, rng = Path(root) / "killed", random.Random(f"{command} {n_kills}")
        if before:
            shutil.copytree(before, base)
        whole = finish(command, base, settings)
        n_equal = n_running = n_survived = n_late = 0
        while n_running < n_kills and n_late <= n_kills:
            if before:
                shutil.copytree(before, folder)
            moment = rng.uniform(0, whole)
            running, gone = kill_after(command, folder, settings, moment)
            n_running, n_late, n_survived = n_running + running, n_late + (not running), n_survived + (not gone)
            if running:
                n_done = len(list(folder.glob("shards/*/*.h5")) + list(folder.glob("blocks/*/*.h5")))
                finish(command, folder, settings)
                wrong = differences(folder / made, base / made)
                n_equal += not wrong
                told = f"killed at {moment:.1f} of {whole:.1f} s, {n_done} parts done; differing: {wrong or 0}"
                print(f"{command} {n_running:2}: {told}", flush=True)
            shutil.rmtree(folder)
    print(
        f"{command}: killed while running {n_running} times of {n_kills}; {n_equal} resumed runs gave equal tables; "
        f"decoders outlived {n_survived}; {n_late} moments came after the end and did not count"
    )
    return n_equal == n_kills and not n_survived


STAGES = {
    "mining": "small/LOCK",
    "references": "small/atlas.h5",
    "naming": "small/references.h5",
    "explaining": "small/names.jsonl",
    "trust": 'small/manifest.json#"atlas explain"#3',
    "site": ".site.making",
    "end": "site/index.html",
}
"""What appears when a stage of `atlas run` begins, below the folder of the small atlas.

Behind ``#`` stands a text that a file holds from then on, and how often: all three photos are explained.
"""


def start_run(folder: Path) -> subprocess.Popen[bytes]:
    """Start `atlas run` on the small atlas in a folder, in a process group of its own."""
    line = [sys.executable, "-m", "precompute.cli", "run", "--config", str(folder / "small.toml")]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    quiet = subprocess.DEVNULL
    command = [*line, "--site", str(folder / "site")]
    return subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet, start_new_session=True)


def wait_for(mark: Path, process: subprocess.Popen[bytes]) -> float:
    """Wait until a mark of a stage is there or the process has ended; returns the time."""
    name, text, times = (*str(mark).split("#"), "", "")[:3]
    while process.poll() is None:
        with suppress(OSError):
            if Path(name).read_bytes().count(text.encode()) >= int(times) if text else Path(name).exists():
                break
        time.sleep(0.002)
    return time.perf_counter()


def snapshot(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below a folder; links and folders count as what they are."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "-"
        for path in sorted(folder.rglob("*"))
    }


def contest_of_runs(n_kills: int) -> bool:
    """Kill whole runs, each stage in turn, and run again; returns whether all went well and no stage was missed."""
    with tempfile.TemporaryDirectory() as root:
        base, folder, rng = Path(root) / "whole" / "a", Path(root) / "killed" / "a", random.Random(n_kills)
        base.mkdir(parents=True)
        make_small_atlas(base, n_per_class=4)
        shutil.copytree(base, Path(root) / "inputs")
        process = start_run(base)
        times = [wait_for(base / mark, process) for mark in STAGES.values()]
        if process.wait():
            raise SystemExit(f"`atlas run` ended with exit code {process.returncode}: run it by hand to see why")
        times.append(time.perf_counter())
        durations = {stage: after - before for stage, before, after in zip(STAGES, times, times[1:], strict=False)}
        expected = snapshot(base)
        killed, n_equal, n_tries = dict.fromkeys(STAGES, 0), 0, 0
        while sum(killed.values()) < n_kills and n_tries < 3 * n_kills:
            stage = list(STAGES)[n_tries % len(STAGES)]
            n_tries += 1
            shutil.copytree(Path(root) / "inputs", folder)
            process = start_run(folder)
            wait_for(folder / STAGES[stage], process)
            time.sleep(rng.uniform(0, durations[stage]))
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                killed[stage] += 1
                process.wait()
                code = start_run(folder).wait()
                found = snapshot(folder)
                wrong = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
                n_equal += not wrong and not code
                print(
                    f"run {sum(killed.values()):2}: killed in {stage}; exit {code}; differing: {wrong[:5] or 0}",
                    flush=True,
                )
            shutil.rmtree(folder)
    n_killed = sum(killed.values())
    print(f"run: killed {n_killed} times ({killed}); {n_equal} ended with the same {len(expected)} files and no other")
    missed = [stage for stage, n in killed.items() if not n]
    if missed and n_kills >= len(STAGES):
        print(f"run: no kill came in time in: {', '.join(missed)}")
        return False
    return n_equal == n_killed == n_kills


GIVEN = {
    "report": ("report", "explanation", "--into"),
    "publish": ("publish", "server", "--into"),
    "study": ("study", "make", "--raters", "3", "--folder"),
}
"""What is made of a finished atlas to be given away: the command, up to the folder that it makes."""


def start_given(base: Path, words: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    """Start a command that makes a folder of the small atlas in `base`, in a process group of its own."""
    line = [sys.executable, "-m", "precompute.cli", *words, str(folder), "--config", str(base / "small.toml")]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    quiet = subprocess.DEVNULL
    return subprocess.Popen(line, env=environment, stdout=quiet, stderr=quiet, start_new_session=True)


def contest_of_given(n_kills: int) -> bool:
    """Kill the making of reports, a published copy and a study at random moments, and make them again."""
    with tempfile.TemporaryDirectory() as root:
        base, rng, good = Path(root) / "a", random.Random(n_kills), True
        base.mkdir()
        make_small_atlas(base, n_per_class=8)
        process = start_run(base)
        if process.wait():
            raise SystemExit(f"`atlas run` ended with exit code {process.returncode}: run it by hand to see why")
        for place, (name, words) in enumerate(GIVEN.items()):
            whole, folder = Path(root) / name / "whole", Path(root) / name / "killed"
            start = time.perf_counter()
            if code := start_given(base, words, whole).wait():
                raise SystemExit(f"`atlas {' '.join(words)}` ended with exit code {code}: run it by hand to see why")
            seconds, expected = time.perf_counter() - start, snapshot(whole)
            n_wanted = n_kills * (place + 1) // len(GIVEN) - n_kills * place // len(GIVEN)
            n_killed = n_equal = n_begun = n_tries = 0
            while n_killed < n_wanted and n_tries < 3 * n_wanted:
                n_tries += 1
                process = start_given(base, words, folder)
                while process.poll() is None and len(list(folder.parent.iterdir())) == 1:
                    time.sleep(0.002)  # importing takes most of the time, and makes nothing
                time.sleep(rng.uniform(0, seconds / 4))
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                    n_killed, n_begun = n_killed + 1, n_begun + folder.exists()
                    code = start_given(base, words, folder).wait()
                    found = snapshot(folder.parent)
                    right = {
                        f"{here}/{file}": digest for here in ("whole", "killed") for file, digest in expected.items()
                    }
                    wrong = sorted(found.items() ^ (right | {"whole": "-", "killed": "-"}).items())
                    n_equal += not wrong and not code
                    print(f"{name} {n_killed:2}: exit {code}; differing: {wrong[:4] or 0}", flush=True)
                shutil.rmtree(folder, ignore_errors=True)
            print(
                f"{name}: killed {n_killed} times, {n_begun} of them with its folder there; {n_equal} ended with the "
                f"same {len(expected)} files and no other"
            )
            good &= n_equal == n_killed == n_wanted
    return good


def main() -> int:
    """Kill mining, then rendering."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--kills", type=int, default=20)
    arguments.add_argument("--photos", type=int, default=2000)
    arguments.add_argument("--shard-size", type=int, default=100)
    arguments.add_argument("--reference-kills", type=int, default=5)
    arguments.add_argument("--reference-photos", type=int, default=100)
    arguments.add_argument("--run-kills", type=int, default=0)
    arguments.add_argument("--given-kills", type=int, default=0)
    chosen = arguments.parse_args()
    if chosen.given_kills:
        print_machine()
        return 0 if contest_of_given(chosen.given_kills) else 1
    if chosen.run_kills:
        print_machine()
        return 0 if contest_of_runs(chosen.run_kills) else 1
    if not (DATA / "cifar10-val.tar.gz").exists():
        print(f"{DATA / 'cifar10-val.tar.gz'} is not there: this benchmark needs the development data")
        return 0
    print_machine()
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        settings = [f"dataset.limit={chosen.photos}", f"mining.shard_size={chosen.shard_size}"]
        good = contest("mine", "atlas.h5", folder / "mined", chosen.kills, settings, None) if chosen.kills else True
        if chosen.reference_kills:
            few = [f"dataset.limit={chosen.reference_photos}", "references.per_ranking=1"]
            finish("mine", folder / "few", few)
            good &= contest(
                "references", "references.h5", folder / "rendered", chosen.reference_kills, few, folder / "few"
            )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
