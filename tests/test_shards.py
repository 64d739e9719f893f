"""Mining with files: however the work is cut, interrupted and spread, the tables are the same."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from precompute.agreement import peer
from precompute.atlas.hdf5 import write_atlas
from precompute.atlas.json_records import parse
from precompute.config import Config, DatasetConfig, MiningConfig, PreprocessingConfig, RelevanceConfig
from precompute.errors import ConfigError, DataError, ModelError, StoreError, UnsupportedModel
from precompute.images.dataset import Batch
from precompute.mining.tables import Tables
from precompute.progress import SilentReporter
from precompute.records import LARGE_SHARE, ConservationProof, LayerInfo
from precompute.relevance.cut import TakenSums
from precompute.relevance.engine import GraphEngine
from precompute.stages.mining import ShardMiner, ShardPlan, ShardSubset, merge_plan
from tests.test_store import assert_same

N_SAMPLES, SIDE = 23, 10
BAD = {4: "truncated JPEG", 11: "not an image"}


class Samples:
    """A data set held in memory, two of whose images cannot be used."""

    names = tuple(f"{index}.png" for index in range(N_SAMPLES))
    class_names = ("a", "b", "c")
    labels = np.arange(N_SAMPLES) % 3
    digest = "0"

    def __len__(self):
        return N_SAMPLES


@pytest.fixture(autouse=True)
def batches_from_memory(monkeypatch):
    images = torch.randint(0, 256, (N_SAMPLES, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(0)).to(
        torch.uint8
    )

    def iter_batches(dataset, indices, config, pin_memory=False):
        size, shard = config.mining.batch_size, config.mining.shard_size
        for first in range(0, len(indices), shard):
            part = list(indices[first : min(first + shard, len(indices))])
            for start in range(0, len(part), size):
                chunk = part[start : start + size]
                used = [index for index in chunk if index not in BAD]
                skipped = {index: BAD[index] for index in chunk if index in BAD}
                yield Batch(torch.tensor(used, dtype=torch.int64), images[used], skipped)

    monkeypatch.setattr("precompute.stages.mining.iter_batches", iter_batches)
    return images


def make_config(shard_size=8, batch_size=3):
    return Config(
        "test",
        Path("test.toml"),
        dataset=DatasetConfig(),
        preprocessing=PreprocessingConfig(resize=SIDE, crop=SIDE),
        relevance=RelevanceConfig(precision="float64", activation="sum"),
        mining=MiningConfig(top_k=5, shard_size=shard_size, batch_size=batch_size),
    )


@pytest.fixture
def module():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 7, 3), nn.ReLU(), nn.Flatten(), nn.Linear(28, 3)
    ).eval()


def make_miner(module, config):
    layers = (LayerInfo("0", "Conv2d", 6, 8, 8), LayerInfo("3", "Conv2d", 7, 2, 2))
    tables = Tables(layers, Samples.class_names, config.mining.top_k, config.relevance.normalised)
    engine = GraphEngine(module.double(), ["0", "3"], config.relevance, (3, SIDE, SIDE), torch.device("cpu"))
    return ShardMiner(Samples(), engine, tables, config, torch.device("cpu"))


def make_plan(folder, shard_size=8, names=Samples.names, digest="digest"):
    return ShardPlan(folder, names, shard_size, digest)


def mine(module, folder, *, shard_size=8, batch_size=3, parts=1):
    config = make_config(shard_size, batch_size)
    plan = make_plan(folder, shard_size)
    for index in range(parts):
        make_miner(module, config).mine(plan, ShardSubset(index, parts), SilentReporter())
    return merge_plan(plan, {"seed": 1})


def test_batches_shards_and_machines_do_not_change_the_tables(module, tmp_path):
    whole = mine(module, tmp_path / "whole", shard_size=64, batch_size=64)
    for number, options in enumerate(
        [{"batch_size": 1}, {"shard_size": 1}, {"shard_size": 5, "parts": 3}, {"shard_size": 22, "batch_size": 7}]
    ):
        assert_same(whole, mine(module, tmp_path / str(number), **options))


def test_where_the_relevance_of_the_first_samples_went_is_kept(module, tmp_path):
    proof = parse(mine(module, tmp_path, shard_size=1).provenance["conservation"], ConservationProof)
    assert proof.samples == (0, 1)
    assert proof.operations["conv2d"].count == 2
    assert 0 < proof.worst[1] < 1e-12
    parts = proof.parts()
    assert list(parts) == ["0", "3"]
    for found in parts.values():
        assert found.own + found.beside + found.biases + found.stabilisers == pytest.approx(1, abs=1e-12)
    assert parts["3"].biases != parts["0"].biases != 0


def test_relevance_that_goes_astray_ends_mining_with_the_layer(module, tmp_path, monkeypatch):
    monkeypatch.setattr(TakenSums, "of", lambda sums, cut: (0.0, 0.0))
    with pytest.raises(UnsupportedModel, match=r"above layer '0' the relevance of a logit of .* does not add up to it"):
        mine(module, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_tables_equal_zennit_crp(module, tmp_path, batches_from_memory):
    atlas = mine(module, tmp_path / "ours")
    used = [index for index in range(N_SAMPLES) if index not in BAD]
    mean, std = (
        torch.tensor(values, dtype=torch.float64).view(3, 1, 1)
        for values in (PreprocessingConfig.mean, PreprocessingConfig.std)
    )
    images = (batches_from_memory[used].double() / 255 - mean) / std
    theirs = peer.run(module.double(), images, Samples.labels[used], ["0", "3"], tmp_path / "peer", batch_size=7)
    for name, tables in atlas.layers.items():
        for ranking in ("relmax", "actmax"):
            table = tables.ranking(ranking)
            samples, scores, neurons = peer.table(theirs, name, ranking)
            np.testing.assert_allclose(table.score, scores[:5], rtol=1e-10, atol=1e-13)
            nonzero = scores[:5] != 0
            np.testing.assert_array_equal(table.sample_index[nonzero], np.array(used)[samples[:5]][nonzero])
            np.testing.assert_array_equal(table.neuron[nonzero], neurons[:5][nonzero])


def test_statistics_agree_with_each_other(module, tmp_path):
    atlas = mine(module, tmp_path)
    assert atlas.class_counts.sum() == N_SAMPLES - len(BAD)
    for tables in atlas.layers.values():
        assert (tables.relevance_histogram.sum(1) == N_SAMPLES - len(BAD)).all()
        # normalised scores of a sample sum to 1 in absolute value, so class sums are bounded by class counts
        assert (np.abs(tables.class_relevance).sum(1) <= atlas.class_counts + 1e-9).all()
        # what is in the rankings is in the large shares too, where it is large
        for rank, channel in zip(*np.nonzero(np.abs(tables.relmax.score) >= LARGE_SHARE), strict=True):
            sample = tables.relmax.sample_index[rank, channel]
            (found,) = np.flatnonzero((tables.large.sample_index == sample) & (tables.large.channel == channel))
            assert abs(tables.large.share[found] - tables.relmax.score[rank, channel]) < 1e-11
        assert (np.bincount(tables.large.sample_index) <= 1 / LARGE_SHARE).all()
        assert len(tables.large.share) > N_SAMPLES


def test_bad_images_are_skipped_counted_and_listed(module, tmp_path):
    atlas = mine(module, tmp_path)
    assert atlas.samples.skipped == BAD
    assert (atlas.samples.target[list(BAD)] == -1).all()
    for tables in atlas.layers.values():
        assert not np.isin(list(BAD), tables.relmax.sample_index).any()


def test_only_missing_shards_are_mined_again(module, tmp_path):
    whole = mine(module, tmp_path)
    plan = make_plan(tmp_path)
    plan.path(1).unlink()
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert_same(whole, mine(module, tmp_path))
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


def test_a_missing_shard_is_told(module, tmp_path):
    mine(module, tmp_path)
    make_plan(tmp_path).path(2).unlink()
    with pytest.raises(StoreError, match="1 of 3 shards are not there yet"):
        merge_plan(make_plan(tmp_path), {})


def test_no_usable_sample_is_told_with_reasons(module, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.test_shards.BAD", dict.fromkeys(range(N_SAMPLES), "broken"))
    with pytest.raises(DataError, match=r"none of the 23 samples could be used.*'0.png': broken"):
        mine(module, tmp_path)


def test_a_model_that_gives_nan_is_told_with_the_sample(module, tmp_path):
    module[6].bias.data[1] = float("nan")
    with pytest.raises(ModelError, match=r"'0\.png' is not finite"):
        mine(module, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("quantity", ["relevance", "activation"])
def test_a_score_that_is_nan_is_told_with_layer_and_sample(module, tmp_path, quantity):
    config = make_config()
    miner = make_miner(module, config)
    score = miner._engine.score

    def damaged(inputs, labels):
        scores = score(inputs, labels)
        values = getattr(scores.layers["3"], quantity).clone()
        values[0, 2] = float("nan")
        layer = dataclasses.replace(scores.layers["3"], **{quantity: values})
        return dataclasses.replace(scores, layers={**scores.layers, "3": layer})

    miner._engine.score = damaged
    with pytest.raises(ModelError, match=rf"the {quantity} of layer '3' for sample '0\.png' is not finite"):
        miner.mine(make_plan(tmp_path), ShardSubset(), SilentReporter())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/0", "-1/2"])
def test_a_wrong_part_is_told(text):
    with pytest.raises(ConfigError, match="expected i/n"):
        ShardSubset.parse(text)


def test_shards_of_other_layers_do_not_merge(module, tmp_path):
    mine(module, tmp_path)
    plan = make_plan(tmp_path)
    shard = merge_plan(plan, {})
    rows = slice(8, 16)
    columns = {name: getattr(shard.samples, name)[rows] for name in ("name", "label", "prediction", "target")}
    samples = dataclasses.replace(shard.samples, **columns, probability=shard.samples.probability[rows], skipped={})
    layers, origin = {"0": shard.layers["0"]}, plan.origin(1)
    other = dataclasses.replace(shard, samples=samples, layers=layers, provenance=origin)
    write_atlas(plan.path(1), other)
    with pytest.raises(StoreError, match="different layers"):
        merge_plan(plan, {})


def test_a_copy_of_another_shard_does_not_merge(module, tmp_path):
    mine(module, tmp_path)
    plan = make_plan(tmp_path)
    shutil.copy(plan.path(0), plan.path(1))
    with pytest.raises(StoreError, match=r"000001\.h5 is not shard 1 .*found shard 0, expected 1\. .*`atlas mine`"):
        merge_plan(plan, {})


def test_a_shard_of_another_config_or_data_set_does_not_merge(module, tmp_path):
    mine(module, tmp_path)
    with pytest.raises(StoreError, match="found mining_digest 'digest', expected 'other'"):
        merge_plan(make_plan(tmp_path, digest="other"), {})
    with pytest.raises(StoreError, match=r"000001\.h5 .*found sample '9\.png', expected 'new\.png'"):
        merge_plan(make_plan(tmp_path, names=(*Samples.names[:9], "new.png", *Samples.names[10:])), {})
    shorter = make_plan(tmp_path, names=Samples.names[:22])
    with pytest.raises(StoreError, match=r"000002\.h5 .*found stop 23, expected 22"):
        merge_plan(shorter, {})


def test_a_truncated_shard_is_told_with_what_to_run(module, tmp_path):
    mine(module, tmp_path)
    path = make_plan(tmp_path).path(1)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(StoreError, match=r"truncated or damaged.*move it away and run `atlas mine`.*then merge again"):
        merge_plan(make_plan(tmp_path), {})


def test_a_folder_in_a_shards_place_counts_as_missing(tmp_path):
    plan = make_plan(tmp_path)
    plan.path(1).mkdir()
    assert plan.missing() == [0, 1, 2]
