"""Batches from worker processes, and the cache of decoded images."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from precompute.errors import DataError, OutputError
from precompute.images import dataset as datasets
from precompute.images.cache import ImageCache
from precompute.images.workers import worker_context
from tests.photo_files import configure, fill, picture

# Batches


def many(tmp_path: Path, n: int = 70) -> None:
    fill(tmp_path / "images", [f"a/{number:03}.png" for number in range(n)])
    (tmp_path / "images" / "a" / "005.png").write_text("text")
    (tmp_path / "images" / "a" / "066.png").write_bytes(b"")


@pytest.mark.parametrize("n_workers", [0, 2])
def test_batches_keep_the_order_skip_what_is_broken_and_end_at_shards(tmp_path, n_workers):
    many(tmp_path)
    config = configure(tmp_path, "mining.batch_size=4", "mining.shard_size=10", f"mining.n_workers={n_workers}")
    found = datasets.open_dataset(config, tmp_path / "here" / "cache")
    indices = list(range(69, -1, -1))
    state = torch.random.get_rng_state()
    batches = list(datasets.iter_batches(found, indices, config, pin_memory=False))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert [len(batch.indices) + len(batch.skipped) for batch in batches] == [4, 4, 2] * 7
    assert [index for batch in batches for index in batch.indices.tolist()] == [i for i in indices if i not in (5, 66)]
    skipped = {index: reason for batch in batches for index, reason in batch.skipped.items()}
    assert skipped.keys() == {5, 66}
    assert skipped[66] == "the file is empty"
    assert "not an image" in skipped[5]
    for batch in batches:
        for index, image in zip(batch.indices.tolist(), batch.images, strict=True):
            assert np.array_equal(image.numpy().transpose(1, 2, 0), np.asarray(picture(index)))


def test_a_batch_may_be_all_broken_and_the_list_empty(tmp_path):
    many(tmp_path, 6)
    config = configure(tmp_path, "mining.batch_size=1")
    found = datasets.open_dataset(config, tmp_path / "here" / "cache")
    (batch,) = datasets.iter_batches(found, [5], config)
    assert (batch.images.shape, len(batch.indices), list(batch.skipped)) == ((0, 3, 8, 8), 0, [5])
    assert list(datasets.iter_batches(found, [], config)) == []


def tell_blocked(pipe):
    pipe.send(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))


def test_a_worker_that_has_just_begun_knows_no_ctrl_c():
    """Else one that is still importing when the key is pressed prints where it was."""
    context = worker_context()
    here, there = context.Pipe()
    worker = context.Process(target=tell_blocked, args=(there,))
    worker.start()
    assert here.recv()
    worker.join()
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ()), "this process hears it"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent_without_a_word(tmp_path, how):
    many(tmp_path)
    configure(tmp_path)
    script = tmp_path / "run.py"
    script.write_text(
        "import os, pathlib, sys, time\n"
        "from precompute import config\n"
        "from precompute.images import dataset\n"
        "if __name__ == '__main__':\n"
        f"    c = config.load_config(pathlib.Path({str(tmp_path / 'here.toml')!r}),\n"
        "        ['dataset.root=images', 'mining.n_workers=2', 'mining.batch_size=1'])\n"
        "    d = dataset.open_dataset(c, pathlib.Path('cache'))\n"
        "    try:\n"
        "        for batch in dataset.iter_batches(d, range(70), c):\n"
        "            print('batch', flush=True)\n"
        "            time.sleep(60)\n"
        "    except KeyboardInterrupt:\n"
        "        sys.exit(130)\n"
    )
    process = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout.readline() == "batch\n"
        # Ctrl-C reaches the whole group, a kill only the process that it names.
        (os.killpg if how == signal.SIGINT else os.kill)(process.pid, how)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL)
    assert how == signal.SIGKILL or errors == ""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("a worker process lives on")


# The cache


def test_the_cache_gives_the_same_images_without_decoding(tmp_path, monkeypatch):
    many(tmp_path, 12)
    config = configure(tmp_path, "mining.cache_images=true")
    found = datasets.open_dataset(config, tmp_path / "here" / "cache")
    (first,) = datasets.iter_batches(found, range(12), config)
    monkeypatch.setattr(type(found), "load", lambda self, index: pytest.fail("decoded") if index != 5 else found_bad())

    def found_bad():
        raise DataError("still broken")

    (second,) = datasets.iter_batches(found, range(12), config)
    assert torch.equal(first.images, second.images)
    assert second.skipped == {5: "still broken"}
    assert np.array_equal(datasets.load_input(found, 3, config), first.images[3].numpy())


def test_a_file_that_changes_but_keeps_its_size_is_decoded_again(tmp_path):
    root = tmp_path / "photos" / "one"
    root.mkdir(parents=True)
    config = configure(tmp_path, "mining.cache_images=true", "dataset.kind=folders", "dataset.root=photos")
    sizes, pixels = [], []
    for level in (10, 200):
        PIL.Image.new("RGB", (20, 20), (level,) * 3).save(root / "a.bmp")
        os.utime(root / "a.bmp", ns=(level, level))
        PIL.Image.new("RGB", (20, 20)).save(root / "b.bmp")
        os.utime(root / "b.bmp", ns=(1, 1))
        sizes.append((root / "a.bmp").stat().st_size)
        found = datasets.open_dataset(config, tmp_path / "here" / "cache")
        pixels.append([int(datasets.load_input(found, index, config).max()) for index in range(2)])
    assert sizes[0] == sizes[1]
    assert pixels == [[10, 0], [200, 0]]
    assert len(list((tmp_path / "here" / "cache").glob("images-*.u8"))) == 1


def test_another_preprocessing_or_data_set_has_another_cache(tmp_path):
    many(tmp_path, 8)
    for overrides in ([], ["preprocessing.crop=4"], ["preprocessing.interpolation=nearest"], ["dataset.limit=3"]):
        config = configure(tmp_path, "mining.cache_images=true", *overrides)
        found = datasets.open_dataset(config, tmp_path / "here" / "cache")
        datasets.load_input(found, 0, config)
    assert len(list((tmp_path / "here" / "cache").glob("images-*.u8"))) == 4
    config = configure(tmp_path, "mining.cache_images=true", "preprocessing.mean=[0, 0, 0]", "mining.batch_size=2")
    datasets.load_input(datasets.open_dataset(config, tmp_path / "here" / "cache"), 0, config)
    assert len(list((tmp_path / "here" / "cache").glob("images-*.u8"))) == 4


def test_a_torn_image_is_not_served(tmp_path):
    cache = ImageCache(tmp_path / "some.u8", 3, (3, 4, 4))
    cache.create()
    image = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
    black = np.zeros_like(image)
    assert cache.read(1) is None
    cache.write(1, image)
    cache.write(2, black)
    cache.create()
    assert np.array_equal(cache.read(1), image)
    assert np.array_equal(cache.read(2), black)
    with cache.path.open("rb+") as file:
        file.seek(48 + 30)
        file.write(b"\xff\xff")
    assert cache.read(1) is None
    assert cache.read(0) is None


def test_a_cache_that_does_not_fit_on_the_disk_is_refused(tmp_path):
    with pytest.raises(OutputError, match=r"may grow to .* GB.*cache_images = false"):
        ImageCache(tmp_path / "some.u8", 1 << 40, (3, 224, 224)).create()
