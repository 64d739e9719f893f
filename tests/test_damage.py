"""Damaged stores: no site is silently wrong, nothing ends in a traceback, and what is made again is byte-equal.

Every damage is done to a copy of one finished atlas of the built-in world, with corrections by a person. `atlas site`
has to refuse it, or to make the very same site; `atlas run` has to end with the very same files, or to say what to do.
"""

import hashlib
import os
import random
import shutil
import sys
from collections import Counter

import pytest

from precompute.atlas.hdf5 import is_another_file
from precompute.cli import main

CONFIG = """
name = "tiny"
[dataset]
kind = "world"
n_samples = {n_samples}
[preprocessing]
resize = 128
crop = 128
[model]
factory = "builtin:world"
weights = "builtin:world"
layers = ["features.28"]
[mining]
top_k = 4
shard_size = 8
n_workers = 0
[references]
per_ranking = 1
tile = 32
[explaining]
n_photos = {n_photos}
n_concepts = 2
n_sub_concepts = 0
"""
NAMED = (
    "atlas.h5", "references.h5", "names.jsonl", "corrections.jsonl", "scores.jsonl", "truth.json", "trust.json",
    "manifest.json",
)  # fmt: skip


def make(folder, n_samples, n_photos):
    """Make an atlas with its site; returns its folder."""
    folder.mkdir()
    config = folder / "tiny.toml"
    config.write_text(CONFIG.format(n_samples=n_samples, n_photos=n_photos))
    assert atlas("run", folder) == 0
    return folder


def correct(folder):
    """Let a person correct one name of an atlas, and make it anew."""
    table, config = folder / "names.csv", folder / "tiny.toml"
    assert main(["names", "export", str(table), "--config", str(config)]) == 0
    head, first, *rest = table.read_text(encoding="utf-8-sig").splitlines(keepends=True)
    cells = first.split(",")
    cells[1] = "red balloon"
    table.write_text("".join([head, ",".join(cells), *rest]), encoding="utf-8")
    assert main(["names", "import", str(table), "--author", "ada", "--config", str(config)]) == 0
    assert atlas("run", folder) == 0
    return folder


def atlas(command, folder):
    return main([command, "--config", str(folder / "tiny.toml"), "--site", str(folder / "site")])


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two finished atlases of different samples and photos."""
    folder = tmp_path_factory.mktemp("damage")
    os.environ["SOURCE_DATE_EPOCH"] = "1700000000"
    try:
        yield correct(make(folder / "one", 16, 2)), make(folder / "other", 20, 3)
    finally:
        del os.environ["SOURCE_DATE_EPOCH"]


def contents(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def store_files(folder):
    found = [path for path in sorted((folder / "tiny").rglob("*")) if path.is_file()]
    return [path for path in found if "damaged" not in path.name and path.name != ".lock"]


# --- damages: each changes a file of a store and says what it did ---------------------------------------------------


def flip(path, rng, other):
    del other
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 1, 8))):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def zero(path, rng, other):
    del other
    content = bytearray(path.read_bytes())
    start = rng.randrange(len(content))
    content[start : start + 512] = bytes(len(content[start : start + 512]))
    path.write_bytes(content)


def cut(path, rng, other):
    del other
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content))])


def cut_lines(path, rng, other):
    """Cut at the end of a line, where nothing of what is left is torn."""
    del other
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: rng.randrange(len(lines))]))


def drop_line(path, rng, other):
    del other
    lines = path.read_bytes().splitlines(keepends=True)
    del lines[rng.randrange(len(lines))]
    path.write_bytes(b"".join(lines))


def double_line(path, rng, other):
    del other
    lines = path.read_bytes().splitlines(keepends=True)
    place = rng.randrange(len(lines))
    path.write_bytes(b"".join([*lines[: place + 1], *lines[place:]]))


def digit(path, rng, other):
    """Change one digit of a text: it stays a well-formed record."""
    del other
    content = bytearray(path.read_bytes())
    places = [index for index, byte in enumerate(content) if chr(byte).isdigit()]
    if not places:
        return
    place = rng.choice(places)
    content[place] = ord(rng.choice([figure for figure in "0123456789" if ord(figure) != content[place]]))
    path.write_bytes(content)


def remove(path, rng, other):
    del rng, other
    path.unlink()


def swap(path, rng, other):
    """Take the file of the same name of another atlas, or any of the same kind."""
    folder = next(parent for parent in path.parents if parent.name == "tiny").parent
    same = other / path.relative_to(folder)
    kin = [found for found in store_files(other) if found.suffix == path.suffix]
    shutil.copy(same if same.exists() else rng.choice(kin), path)


def add(path, rng, other):
    """Put an explanation or a report of another atlas beside what is there."""
    del rng
    for found in store_files(other):
        goal = path.parent / found.name
        if found.suffix == ".json" and found.parent.name == path.parent.name and not goal.exists():
            shutil.copy(found, goal)


BINARY = (flip, flip, zero, cut, remove, swap)
TEXT = (flip, zero, cut, cut_lines, drop_line, double_line, digit, digit, remove, swap, add)


def damage(folder, other, rng):
    """Damage one file of a store; returns what was done, empty where nothing changed."""
    before = contents(folder / "tiny")
    named = [folder / "tiny" / name for name in NAMED]
    path = rng.choice(named if rng.random() < 0.7 else store_files(folder))
    kinds = TEXT if path.suffix in (".json", ".jsonl") else BINARY
    how = rng.choice(kinds)
    how(path, rng, other)
    return f"{how.__name__} {path.name}" if contents(folder / "tiny") != before else ""


def check_site(one, work, what):
    """Run `atlas site` on a damaged store: it refuses, or the site is the same."""
    shutil.rmtree(work / "site", ignore_errors=True)
    if atlas("site", work) == 1:
        return "refused"
    assert contents(work / "site") == contents(one / "site"), f"silently wrong: {what}"
    return "the same site"


def check_run(one, work, what):
    """Run `atlas run` on a damaged store: it ends with the same files, or says what to do."""
    if atlas("run", work) == 1:
        return "run refuses"
    kept = {name: digest for name, digest in contents(work).items() if "damaged-" not in name}
    expected = contents(one)
    outdated = {name for name in kept if "outdated" in name}
    differing = {name for name in expected.keys() | (kept.keys() - outdated) if kept.get(name) != expected.get(name)}
    differing.discard("tiny/manifest.json")  # it lists what was set aside besides
    told = [_first_difference(work / name, one / name) for name in sorted(differing)[:5]]
    assert not differing, f"not byte-equal after {what}: {told}"
    return "run mends"


def _first_difference(found, expected):
    """Say where a file begins to differ, with what stands around it."""
    if not (found.exists() and expected.exists()):
        return f"{expected.name}: there {found.exists()}, expected {expected.exists()}"
    pairs = zip(found.read_bytes(), expected.read_bytes(), strict=False)
    place = next((index for index, (left, right) in enumerate(pairs) if left != right), 0)
    around = [path.read_bytes()[max(0, place - 200) : place + 100] for path in (found, expected)]
    return f"{expected.name} at {place}: {around[0]!r} for {around[1]!r}"


def try_many(two, tmp_path, capsys, n_damages, n_runs):
    one, other = two
    counts = Counter()
    for seed in range(n_damages):
        rng = random.Random(seed)
        work = tmp_path / "work"
        shutil.copytree(one, work, ignore=shutil.ignore_patterns("site"))
        what = ""
        while not what:
            what = damage(work, other, rng)
        capsys.readouterr()
        counts[check_site(one, work, f"{seed}: {what}")] += 1
        if seed * n_runs // n_damages != (seed - 1) * n_runs // n_damages:
            counts[check_run(one, work, f"{seed}: {what}")] += 1
        said = capsys.readouterr()
        assert "Traceback" not in said.err + said.out
        shutil.rmtree(work)
    with capsys.disabled():
        sys.stdout.write(f"\n{n_damages} damaged stores: {dict(counts)}\n")
    assert counts["refused"] + counts["the same site"] == n_damages
    return counts


def test_some_damages(two, tmp_path, capsys):
    counts = try_many(two, tmp_path, capsys, 40, 2)
    assert counts["refused"] > 30


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_500_damages(two, tmp_path, capsys):
    counts = try_many(two, tmp_path, capsys, 500, int(os.environ.get("ATLAS_DAMAGE_RUNS", "60")))
    assert counts["refused"] > 400
    assert counts["run mends"] > counts["run refuses"]


def test_a_corrected_name_makes_what_rests_on_names_stale_until_it_is_made_again(two, tmp_path, capsys):
    work = shutil.copytree(two[0], tmp_path / "work")
    config, table = work / "tiny.toml", work / "names.csv"
    assert main(["names", "export", str(table), "--config", str(config)]) == 0
    table.write_text(table.read_text(encoding="utf-8").replace("red balloon", "green kite"), encoding="utf-8")
    assert main(["names", "import", str(table), "--author", "ada", "--config", str(config)]) == 0
    assert atlas("site", work) == 1
    assert "is not sound" in capsys.readouterr().err
    assert main(["verify", str(work / "tiny")]) == 1
    said = capsys.readouterr().out
    for product, command in {"trust": "trust", "scores": "score", "truth": "evaluate"}.items():
        assert f"{product} was made from other names than there are now: `atlas {command}` makes it again" in said
    assert "fault     explanations/" in said
    assert atlas("run", work) == 0
    assert "green kite" in (work / "tiny/trust.json").read_text() + (work / "tiny/names.jsonl").read_text()


def test_parts_made_one_after_another_are_written_as_those_made_at_once(two, tmp_path):
    """After a correction a part of the figures on trust was made anew, the others were kept."""
    work = shutil.copytree(two[0], tmp_path / "work")
    (work / "tiny/trust.json").unlink()
    assert check_run(two[0], work, "no figures on trust") == "run mends"


def test_damage_that_nothing_reads_is_damage_too(two, tmp_path, capsys):
    """HDF5 leaves gaps; a file with other bytes there is whole in itself, and not what was written."""
    one, work = two[0], shutil.copytree(two[0], tmp_path / "work")
    path = work / "tiny/atlas.h5"
    written = path.read_bytes()
    for place in range(len(written) - 1, 0, -97):  # until one is found that no part's digest covers
        path.write_bytes(written[:place] + bytes([written[place] ^ 4]) + written[place + 1 :])
        if is_another_file(path):
            break
    else:
        pytest.fail("every byte of the file is read")
    assert check_site(one, work, "a gap") == "refused"
    assert check_run(one, work, "a gap") == "run mends"
    assert "damaged   atlas.h5" in capsys.readouterr().out


def test_the_damages_do_what_they_say(two, tmp_path):
    one, other = two
    for how in {*BINARY, *TEXT}:
        work = tmp_path / how.__name__
        shutil.copytree(one, work)
        before = contents(work)
        how(next((work / "tiny/explanations").glob("*.json")), random.Random(1), other)
        assert contents(work) != before, how.__name__


def test_an_undamaged_copy_gives_the_same_site(two, tmp_path, capsys):
    work = shutil.copytree(two[0], tmp_path / "work")
    assert check_site(two[0], work, "nothing") == "the same site"
    assert main(["verify", str(work / "tiny")]) == 0
    assert "are as they were written" in capsys.readouterr().out
