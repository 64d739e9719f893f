"""Mining on Ray: however many machines there are, and whichever of them vanish, the tables are those of one process."""

import dataclasses
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import yaml

from precompute import errors
from precompute.atlas.folder import Workspace
from precompute.atlas.hdf5 import read_atlas
from precompute.cli import build_parser, main
from precompute.config import load_config
from precompute.pipeline import Pipeline
from precompute.progress import SilentReporter
from precompute.stages import on_ray
from precompute.stages.on_ray import RayOptions

ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
jsonschema = pytest.importorskip("jsonschema", reason="it comes with Ray")

ROOT = Path(__file__).parents[1]
N_SAMPLES, SHARD = 60, 4
NETWORK = """\
import dataclasses, os, pathlib, time
import torch
from torch import nn
from precompute.images.dataset import open_dataset

class Watched:
    # Photos that take their time, each look at which is written down.

    def __init__(self, photos, log):
        self.photos, self.log = photos, log

    def __getattr__(self, name):
        if name in ("photos", "log"):
            raise AttributeError(name)
        return getattr(self.photos, name)

    def __len__(self):
        return len(self.photos)

    def stamp(self, index): return self.photos.stamp(index)
    names = property(lambda self: self.photos.names)
    labels = property(lambda self: self.photos.labels)
    class_names = property(lambda self: self.photos.class_names)
    digest = property(lambda self: self.photos.digest)
    notes = property(lambda self: self.photos.notes)
    grey = property(lambda self: self.photos.grey)
    cache = property(lambda self: self.photos.cache)

    def load(self, index):
        with open(self.log, "a") as log:
            log.write(f"{index}\\n")
        time.sleep(0.05)
        return self.photos.load(index)

def watch(config, cache):
    folders = dataclasses.replace(config, dataset=dataclasses.replace(config.dataset, kind="folders"))
    return Watched(open_dataset(folders, cache), cache.with_name("loads.log").absolute())

def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 7, 3), nn.ReLU(), nn.Flatten(),
                         nn.Linear(7 * 25, 3))
"""
CONFIG = f"""\
[dataset]
kind = "tiny_for_ray:watch"
root = "photos"

[preprocessing]
resize = 16
crop = 16
mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 0.25]

[model]
factory = "tiny_for_ray:make"
weights = "factory"

[mining]
top_k = 5
shard_size = {SHARD}
batch_size = 3
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Make a folder with a network, a config and photos, one of which is none."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "tiny_for_ray.py").write_text(NETWORK)
    (folder / "tiny.toml").write_text(CONFIG)
    drawn = np.random.default_rng(0)
    for index in range(N_SAMPLES):
        path = folder / "photos" / "abc"[index % 3] / f"{index:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(drawn.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
    (folder / "photos" / "a" / "006.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    return folder


def mine(project, output, options=None, **overrides):
    config = load_config(project / "tiny.toml", [f"{key}={value}" for key, value in overrides.items()])
    reporter = SilentReporter()
    workspace = Workspace(output, output / "site")
    Pipeline(config, workspace, reporter, cluster=options).mine()
    return (output / "atlas.h5").read_bytes(), reporter.lines


@pytest.fixture(scope="module")
def whole(project, tmp_path_factory):
    return mine(project, tmp_path_factory.mktemp("whole"))[0]


@pytest.fixture(scope="module")
def cluster(monkeypatch_module):
    from ray.cluster_utils import Cluster

    health = {
        "health_check_initial_delay_ms": 0,
        "health_check_period_ms": 500,
        "health_check_timeout_ms": 5000,  # a busy machine answers late; a killed node refuses at once
        "health_check_failure_threshold": 2,
    }
    made = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False, "_system_config": health},
    )
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def monkeypatch_module():
    """Let the nodes' workers find this checkout."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        yield patch


@pytest.mark.parametrize("n_nodes", [1, 2, 4])
def test_nodes_do_not_change_a_byte(project, whole, cluster, tmp_path, n_nodes):
    while len(cluster.list_all_nodes()) < n_nodes:
        cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    found, lines = mine(project, tmp_path / "atlas", RayOptions(cluster.address))
    assert found == whole
    assert any(line.startswith("mined     15 of 15 parts on 1 machine") for line in lines)
    assert not (tmp_path / "atlas" / "shards").exists()


def loads(output):
    return len((output / "loads.log").read_text().splitlines())


def test_nodes_killed_at_random_moments_change_no_byte(project, whole, cluster, tmp_path, record_property):
    seed = int(os.environ.get("ATLAS_SEED", "0"))
    chance, output, killed = random.Random(seed), tmp_path / "atlas", []
    ended = threading.Event()

    def kill():
        while not (ended.is_set() or (output / "loads.log").exists()):
            time.sleep(0.05)
        for _ in range(2):
            if ended.wait(chance.uniform(0, 1)):
                return
            ours = ray._private.worker.global_worker.node  # the driver's own node is not taken from below it
            socket = getattr(ours, "raylet_socket_name", "")
            others = [node for node in cluster.worker_nodes if node.raylet_socket_name != socket]
            node = chance.choice(sorted(others, key=lambda found: found.node_id))
            cluster.remove_node(node, allow_graceful=False)
            killed.append(node)

    while len(cluster.list_all_nodes()) < 4:  # a node can be started by the main thread alone
        cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    killer = threading.Thread(target=kill)
    killer.start()
    try:
        found, _ = mine(project, output, RayOptions(cluster.address))
    finally:
        ended.set()
        killer.join()
    assert found == whole
    again = loads(output) - N_SAMPLES
    record_property("again", f"{len(killed)} nodes killed, {again} samples of at most {len(killed) * SHARD} again")
    assert killed
    assert again <= len(killed) * SHARD


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_driver_that_dies_goes_on_from_the_files(project, whole, cluster, tmp_path, how):
    output = tmp_path / "atlas"
    command = [sys.executable, "-m", "precompute", "mine", "--config", project / "tiny.toml", "--output", output]
    driver = subprocess.Popen(
        [*command, "--ray", cluster.address], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=ROOT
    )
    while driver.poll() is None and len(list(output.glob("shards/*/0*.h5"))) < 3:
        time.sleep(0.02)
    driver.send_signal(how)
    told = time.monotonic()
    _, errors_told = driver.communicate(timeout=60)
    if how == signal.SIGTERM:
        assert time.monotonic() - told < 20
        assert driver.returncode == 1
        assert "interrupted: everything finished is kept" in errors_told
    time.sleep(2)  # the workers of a killed driver are ended by Ray
    there = {path: path.stat().st_mtime_ns for path in output.glob("shards/*/0*.h5")}
    assert 3 <= len(there) < N_SAMPLES // SHARD
    before = loads(output)
    _, lines = mine(project, output, RayOptions(cluster.address))
    n_left = N_SAMPLES // SHARD - len(there)
    assert any(line.startswith(f"mined     {n_left} of 15 parts") for line in lines)
    assert loads(output) - before == n_left * SHARD
    assert (output / "atlas.h5").read_bytes() == whole


def test_more_unusable_images_than_allowed_end_the_run(project, whole, cluster, tmp_path):
    output = tmp_path / "atlas"
    with pytest.raises(errors.DataError, match="1 samples could not be used, more than --max-bad 0"):
        mine(project, output, RayOptions(cluster.address, max_bad=0))
    with pytest.raises(errors.DataError, match="more than --max-bad 0"):  # of parts that were there already
        mine(project, output, RayOptions(cluster.address, max_bad=0))
    assert mine(project, output, RayOptions(cluster.address, max_bad=1))[0] == whole


def test_what_goes_wrong_in_a_worker_is_told_as_what_it_is(project, cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(
        on_ray.Driver, "plan", lambda self, plan, *_: (dataclasses.replace(plan, part_digest="a" * 64), "cuda X")
    )
    with pytest.raises(errors.ConfigError, match=r"a worker computes on 'cpu .*', the others on 'cuda X'.*--ray-mix"):
        mine(project, tmp_path / "atlas", RayOptions(cluster.address))


def test_batches_and_devices_are_part_of_what_a_part_is():
    digests = {on_ray.part_digest("m", size, device) for size in (8, 16) for device in ("cpu AVX2", "cpu AVX512")}
    assert len(digests) == 4


def test_another_version_on_the_cluster_is_one_message(project, cluster, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ray, "__version__", "2.0.0")
    arguments = ["mine", "--config", str(project / "tiny.toml"), "--output", str(tmp_path / "atlas")]
    assert main([*arguments, "--ray", cluster.address]) == 1
    told = capsys.readouterr().err
    assert "the cluster runs another version of Ray or Python than this machine" in told
    assert "Ray: 2.0.0" in told
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--ray", "ray://head:10001"], "expected local, auto or HOST:PORT"),
        (["--ray", "127.0.0.1:9"], "there is no Ray cluster that this machine could join"),
        (["--ray", "local", "--ray-cpus", "900"], "expected at least 900 CPUs and 0 GPUs for a worker"),
        (["--ray", "local", "--shard", "1/2"], "--shard and --ray do not go together"),
        (["--max-bad", "3"], "add --ray ADDRESS"),
        (["--ray", "local", "--ray-gpus", "2"], "no number from 0 to 1"),
    ],
)
def test_what_cannot_be_is_told(project, tmp_path, capsys, arguments, expected):
    common = ["mine", "--config", str(project / "tiny.toml"), "--output", str(tmp_path / "atlas")]
    assert main([*common, *arguments]) == 1
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "atlas" / "atlas.h5").exists()


def test_without_ray_nothing_of_it_is_imported_and_its_absence_is_one_message(project, tmp_path):
    code = (
        "import sys; from precompute.cli import build_parser, main\n"
        "common = ['mine', '--config', sys.argv[1], '--output', sys.argv[2]]\n"
        "assert main(common) == 0 and 'ray' not in sys.modules\n"
        "sys.modules['ray'] = None\n"
        "assert main([*common, '--ray', 'local']) == 1\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, project / "tiny.toml", tmp_path / "atlas"],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "--ray needs Ray, which is not installed: run `pip install 'concept-atlas[ray]'`" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_one_machine_alone_runs_the_same_path(project, whole, tmp_path):
    command = [sys.executable, "-m", "precompute", "mine", "--config", project / "tiny.toml", "--output"]
    subprocess.run([*command, tmp_path / "atlas", "--ray", "local"], check=True, cwd=ROOT)
    assert (tmp_path / "atlas" / "atlas.h5").read_bytes() == whole
    assert read_atlas(tmp_path / "atlas" / "atlas.h5").samples.skipped.keys() == {2}


def manifests():
    text = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    return dict(re.findall(r"<!-- file: (\S+) -->\n```yaml\n(.*?)```", text, re.DOTALL))


def test_the_cluster_file_keeps_to_the_schema_of_ray():
    cluster = yaml.safe_load(manifests()["cluster.yaml"])
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    jsonschema.validate(cluster, schema)
    assert f"ray[default]=={ray.__version__}" in " ".join(cluster["setup_commands"])
    assert cluster["available_node_types"][cluster["head_node_type"]]["resources"]["CPU"] == 0


def test_the_ray_job_runs_what_the_program_takes():
    job = yaml.safe_load(manifests()["rayjob.yaml"])
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    command = job["spec"]["entrypoint"].split()
    assert command.pop(0) == "atlas"
    parsed = build_parser().parse_args(command)
    assert (parsed.command, parsed.ray) == ("run", "auto")
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["rayVersion"] == ray.__version__
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    (workers,) = cluster["workerGroupSpecs"]
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    for group in (cluster["headGroupSpec"], workers):
        pod = group["template"]["spec"]
        mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
