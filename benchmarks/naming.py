"""Name 4,224 concepts against the test server, killed twice on the way.

Run from the repository: ``python -m benchmarks.naming``. The server runs as a process of its own, answers after 50 ms
and commits each fault on 1 % of the calls; the naming process is killed (SIGKILL) at a third and at two thirds of the
concepts and started again. Prints what was measured, and exits 1 where a bound is broken.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from precompute.atlas.json_records import read_jsonl, write_jsonl
from precompute.config import LlmConfig
from precompute.errors import ReplyError
from precompute.llm.client import LlmClient
from precompute.llm.journal import Journal
from precompute.llm.request import Request, data_url
from precompute.naming.namer import ConceptEvidence, LlmNamer
from precompute.records import Box, Concept, ConceptName, Ranking, Reference
from tests.drawn_references import INPUT_SIZE, drawn_webp
from tests.server_answers import FAULTS, sha256

N_PICTURES = 96


class DrawnEvidence(Sequence[ConceptEvidence]):
    """Evidence drawn when asked for: 8 RelMax and 8 ActMax references out of a pool of small pictures."""

    def __init__(self, n_concepts: int) -> None:
        self._n_concepts = n_concepts

    def __len__(self) -> int:
        return self._n_concepts

    def __getitem__(self, index: int) -> ConceptEvidence:  # type: ignore[override]
        if not 0 <= index < self._n_concepts:
            raise IndexError(index)
        concept, rng = Concept("features.28", index), random.Random(index)
        relmax, actmax = (
            tuple(_reference(concept, ranking, rank, rng) for rank in range(8)) for ranking in ("relmax", "actmax")
        )
        return ConceptEvidence(concept, relmax, actmax)


@cache
def _picture(number: int) -> bytes:
    return drawn_webp(str(number))


def _reference(concept: Concept, ranking: Ranking, rank: int, rng: random.Random) -> Reference:
    full, crop, masked = (_picture(rng.randrange(N_PICTURES)) for _ in range(3))
    top, left = rng.randrange(16), rng.randrange(16)
    return Reference(
        concept, ranking, rank, rank, 0, 1.0, Box(top, left, top + 16, left + 16), full=full, crop=crop, masked=masked
    )


class JournalModel:
    """Answers from a journal alone: tells which concepts had their name when it was copied."""

    concurrency = 1

    def __init__(self, journal: Path, client: LlmClient) -> None:
        self.model, self._client = client.model, client
        self._journal = Journal(journal)

    async def answer(self, request: Request) -> str:
        """Return the kept reply."""
        reply = self._journal.get(self._client.digest(request))
        if reply is None or reply.failure:
            raise ReplyError("none" if reply is None else reply.failure)
        return reply.text

    async def close(self) -> None:
        """Release the journal."""
        self._journal.close()


def make_client(arguments: argparse.Namespace, base_url: str, folder: Path) -> LlmClient:
    """Make the client as the benchmark's processes share it."""
    config = LlmConfig(
        enabled=True,
        base_url=base_url,
        model="test",
        concurrency=arguments.concurrency,
        timeout=arguments.timeout,
        max_cost=1000.0,
    )
    return LlmClient(config, folder, environment={})


def work(arguments: argparse.Namespace) -> None:
    """Name everything; the process that gets killed."""
    folder = Path(arguments.folder)
    namer = LlmNamer(make_client(arguments, arguments.work, folder), input_size=INPUT_SIZE)
    write_jsonl(folder / "names.jsonl", list(namer.name(DrawnEvidence(arguments.concepts))))


def stats(base_url: str) -> dict[str, Any]:
    """Ask the server for its counts."""
    with urllib.request.urlopen(base_url.removesuffix("/v1") + "/stats") as response:
        return dict(json.load(response))


def run_killed(arguments: argparse.Namespace, base_url: str, folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Name everything with two kills; yields the journal and the server's counts at each."""
    command = [sys.executable, "-m", "benchmarks.naming", "--work", base_url, "--folder", str(folder)]
    for option in ("concepts", "concurrency", "timeout"):
        command += [f"--{option}", str(getattr(arguments, option))]
    journal = folder / "replies.jsonl"
    for third in (1, 2):
        process = subprocess.Popen(command)
        while process.poll() is None and _n_lines(journal) < arguments.concepts * third // 3:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(0.5)  # lets the server finish what it was answering
        yield Path(shutil.copy(journal, folder / f"killed{third}.jsonl")), stats(base_url)
    subprocess.run(command, check=True)


def _n_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def asked_again(
    arguments: argparse.Namespace, base_url: str, folder: Path, kills: list[tuple[Path, dict[str, Any]]]
) -> int:
    """Count calls for concepts that already had their name when the process was killed."""
    evidence, last = DrawnEvidence(arguments.concepts), stats(base_url)
    client = make_client(arguments, base_url, folder)
    keys = {}
    for piece, request in zip(evidence, LlmNamer(client, input_size=INPUT_SIZE).requests(evidence), strict=True):
        keys[piece.concept.key] = sha256([data_url(image) for image in request.images])
    n_again = 0
    for journal, then in kills:
        named = LlmNamer(JournalModel(journal, client), input_size=INPUT_SIZE).name(evidence)
        done = [keys[name.concept] for name in named if not name.failure]
        n_again += sum(last["concepts"][key] - then["concepts"][key] for key in done)
        print(f"{journal.stem}: {len(done)} concepts had their name")
        if len(done) < arguments.concepts // 6:
            raise SystemExit("too few concepts had their name when killed: nothing was shown; run it again")
    return n_again


def measure(arguments: argparse.Namespace, base_url: str, folder: Path) -> bool:
    """Run, print, and tell whether all bounds hold."""
    start = time.monotonic()
    kills = list(run_killed(arguments, base_url, folder))
    seconds = time.monotonic() - start
    names = read_jsonl(folder / "names.jsonl", ConceptName)
    counts = stats(base_url)
    n_failed = sum(bool(name.failure) for name in names)
    complete = len({name.concept for name in names}) == len(names) == arguments.concepts
    complete = complete and all(bool(name.name) != bool(name.failure) for name in names)
    more = counts["n_calls"] / arguments.concepts - 1
    n_again = asked_again(arguments, base_url, folder, kills)
    print(f"{seconds:.1f} s, both restarts included (bound: 300)")
    print(f"{len(names)} records: {len(names) - n_failed} named, {n_failed} failed with a reason; complete: {complete}")
    print(f"{counts['n_calls']} calls, {100 * more:.1f} % more than concepts (bound: 20 %)")
    print(f"{n_again} calls for concepts that already had their name (bound: 0)")
    print(f"faults: {counts['faults']}; most calls at once: {counts['most_running']}")
    return complete and seconds < 300 and more <= 0.2 and n_again == 0


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--concepts", type=int, default=4224)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--timeout", type=float, default=20.0, help="seconds until a hanging call is given up")
    parser.add_argument("--delay", type=float, default=0.05)
    parser.add_argument("--fault-rate", type=float, default=0.01)
    parser.add_argument("--folder", default="", help=argparse.SUPPRESS)
    parser.add_argument("--work", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments)
        return 0
    faults = [fault for fault in FAULTS if fault != "503"]
    command = [sys.executable, "-m", "tests.server", "--delay", str(arguments.delay)]
    command += ["--fault-rate", str(arguments.fault_rate), "--faults", ",".join(faults)]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server,
    ):
        assert server.stdout is not None
        try:
            return 0 if measure(arguments, server.stdout.readline().strip(), Path(folder)) else 1
        finally:
            server.kill()


if __name__ == "__main__":
    sys.exit(main())
