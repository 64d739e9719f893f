"""Fair contests: each contestant in a process of its own, taking turns on the same inputs in one run.

Turns take machine load out of the ratio; a process each makes the peak memory theirs alone. Not a benchmark itself.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import nn

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
PHOTOS = DATA / "imagenet-sample"
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@dataclass
class Outcome:
    """What one contestant did: seconds of each round, its last result, its peak memory in GiB."""

    seconds: list[float] = field(default_factory=list)
    result: Any = None
    memory: float = 0.0

    @property
    def best(self) -> float:
        """Seconds of the fastest round."""
        return min(self.seconds)


def parser(description: str, **defaults: int) -> argparse.ArgumentParser:
    """Build the arguments that all contests share."""
    arguments = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    arguments.add_argument("--model", default="vgg16", help="a sequential classifier of torchvision, random weights")
    arguments.add_argument("--size", type=int, default=224, help="input height and width")
    arguments.add_argument("--precision", nargs="+", default=["float32"], help="of ours: float64 float32 tf32 bf16")
    arguments.add_argument("--device", default="auto")
    arguments.add_argument("--threads", type=int, default=0, help="CPU threads of each contestant; 0 leaves torch's")
    arguments.add_argument("--rounds", type=int, default=1, help="rounds in turns; the best of each counts")
    arguments.add_argument("--warm-up", type=int, default=defaults.pop("warm_up", 0), help="rounds that do not count")
    arguments.add_argument("--no-peer", action="store_true", help="leave zennit-crp out")
    arguments.set_defaults(**defaults)
    return arguments


def choose_device(name: str) -> torch.device:
    """Choose the device; ``auto`` takes CUDA where there is one."""
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


def make_model(name: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Build the network with seeded random weights, the same in every process."""
    torch.manual_seed(0)
    module: nn.Module = torchvision.models.get_model(name)
    return module.to(dtype).eval().requires_grad_(False)


def conv_names(module: nn.Module) -> list[str]:
    """List the convolutions in order."""
    return [name for name, part in module.named_modules() if isinstance(part, nn.Conv2d)]


def make_images(n_images: int, size: int) -> torch.Tensor:
    """Load photos, preprocessed to (n, 3, size, size) float32; seeded smooth noise where there are none."""
    paths = sorted(PHOTOS.glob("*/*.JPEG"))
    if not paths:
        noise = torch.randn(n_images, 3, size // 8, size // 8, generator=torch.Generator().manual_seed(0))
        return nn.functional.interpolate(noise, size=(size, size), mode="bilinear")
    chosen = [paths[i % len(paths)] for i in np.linspace(0, len(paths) - 1, n_images).astype(int)]
    return torch.stack([_load(path, size) for path in chosen])


def _load(path: Path, size: int) -> torch.Tensor:
    with Image.open(path) as photo:
        side = min(photo.size)
        left, top = (photo.width - side) // 2, (photo.height - side) // 2
        box = (left, top, left + side, top + side)
        pixels = np.asarray(photo.convert("RGB").resize((size, size), Image.Resampling.BILINEAR, box), dtype=np.float32)
    return torch.from_numpy(((pixels / 255 - MEAN) / STD).astype(np.float32)).permute(2, 0, 1)


def compete(
    contestants: dict[str, Callable[..., Callable[[], Any]]], arguments: argparse.Namespace, rounds: int
) -> dict[str, Outcome]:
    """Run all contestants in turns.

    Parameters
    ----------
    contestants : mapping of name to factory
        A module-level function; called once in its own process with `arguments`, it returns the round to be timed.
    arguments : picklable
    rounds : int
    """
    context = multiprocessing.get_context("spawn")
    processes = {}
    for name, factory in contestants.items():
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(factory, arguments, theirs), daemon=True)
        process.start()
        theirs.close()
        ours.recv()
        processes[name] = (process, ours)
    outcomes = {name: Outcome() for name in contestants}
    for turn in range(arguments.warm_up + rounds):
        for name, (_, connection) in processes.items():
            connection.send("go")
            seconds, result, memory = connection.recv()
            outcomes[name].result, outcomes[name].memory = result, memory
            if turn >= arguments.warm_up:
                outcomes[name].seconds.append(seconds)
    for process, connection in processes.values():
        connection.send("stop")
        process.join()
    return outcomes


def _serve(factory: Callable[..., Callable[[], Any]], arguments: argparse.Namespace, connection: Connection) -> None:
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    play = factory(arguments)
    cuda = choose_device(arguments.device).type == "cuda"
    connection.send("ready")
    while connection.recv() == "go":
        start = time.perf_counter()
        result = play()
        if cuda:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        connection.send((seconds, result, _peak_memory(cuda)))


def _peak_memory(cuda: bool) -> float:
    """Peak in GiB: of the device on CUDA, else of the process with everything in it, libraries included."""
    if cuda:
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 2**30


def matmul_contestant(arguments: argparse.Namespace) -> Callable[[], float]:
    """Measure what the device can do: multiply-adds a second of a large float32 matrix product, TF32 off."""
    device = choose_device(arguments.device)
    n = 8192 if device.type == "cuda" else 2048
    left, right = torch.rand(n, n, device=device), torch.rand(n, n, device=device)
    torch.backends.cuda.matmul.allow_tf32 = False

    def play() -> float:
        start = time.perf_counter()
        for _ in range(4):
            left @ right
        if device.type == "cuda":
            torch.cuda.synchronize()
        return 4 * n**3 / (time.perf_counter() - start)

    play()
    return play


def forward_costs(module: nn.Module, size: int) -> dict[str, int]:
    """Count the multiply-adds of one image's forward pass for every convolution and linear layer."""
    costs: dict[str, int] = {}
    handles = []

    def counting(name: str) -> Callable[[nn.Module, object, torch.Tensor], None]:
        def count(part: nn.Module, _given: object, made: torch.Tensor) -> None:
            places = made[0, 0].numel() if made.dim() == 4 else 1
            costs[name] = part.weight.numel() * places

        return count

    for name, part in module.named_modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            handles.append(part.register_forward_hook(counting(name)))
    with torch.inference_mode():
        module(torch.zeros(1, 3, size, size))
    for handle in handles:
        handle.remove()
    return costs


def print_setting(arguments: argparse.Namespace) -> None:
    """Print the machine, the versions and the arguments."""
    device = choose_device(arguments.device)
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    threads = arguments.threads or torch.get_num_threads()
    print_machine(f"{machine}, {threads} threads")
    print("arguments:", ", ".join(f"{key}={value}" for key, value in sorted(vars(arguments).items())))


def print_machine(machine: str = "") -> None:
    """Print the machine, its load, and the versions."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "zennit", "zennit-crp"))
    described = machine or f"{_processor()}, {os.cpu_count()} cores"
    load = os.getloadavg()[0]
    print(f"machine: {described}, load {load:.1f} at the start; Python {platform.python_version()}, {packages}")


def _processor() -> str:
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return names[0].partition(": ")[2] if names else platform.processor()


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a Markdown table."""
    cells = [[str(cell) for cell in row] for row in [head, *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    print("\n".join(lines))
