from __future__ import annotations

import dataclasses
import random
import re
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from precompute.config import load_config, resolve_path
from precompute.errors import ConfigError
from precompute.provenance import config_digest

DATA = Path(__file__).parents[1] / "data"


def write(folder: Path, text: str) -> Path:
    path = folder / "some.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", sorted(DATA.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_configs_load_and_are_named_after_their_file(path):
    assert load_config(path).name == path.stem


def test_values_are_converted_and_the_rest_is_default(tmp_path):
    path = write(
        tmp_path, '[preprocessing]\nmean = [0, 0.5, 1]\n[model]\nlayers = ["a", "b"]\narguments = {width = 2}\n'
    )
    config = load_config(path)
    assert (config.name, config.path) == ("some", path)
    assert config.preprocessing.mean == (0.0, 0.5, 1.0)
    assert all(type(value) is float for value in config.preprocessing.mean)
    assert config.model.layers == ("a", "b")
    assert config.model.arguments == {"width": 2}
    assert config.mining.top_k == 40


def test_overrides_win_over_the_file_and_bare_words_are_text(tmp_path):
    path = write(tmp_path, "[mining]\ntop_k = 3\n[model]\narguments = {a = 1}\n")
    config = load_config(
        path,
        [
            "mining.top_k=7",
            "relevance.composite=EpsilonPlus",
            "seed=5",
            "dataset.root=$X/a b",
            'model.layers=["c"]',
            "model.arguments.b=2.5",
            "name=other",
        ],
    )
    assert (config.mining.top_k, config.relevance.composite, config.seed, config.name) == (7, "EpsilonPlus", 5, "other")
    assert config.dataset.root == "$X/a b"
    assert config.model.layers == ("c",)
    assert config.model.arguments == {"a": 1, "b": 2.5}


@pytest.mark.parametrize(
    ("text", "line", "parts"),
    [
        ("# note\n\n[mining]\n# why\nbatch_sise = 3\n", 5, ["'mining.batch_sise'", "'mining.batch_size'"]),
        ("[minig]\ntop_k = 3\n", 1, ["'minig'", "'mining'"]),
        ("batch_size = 3\n", 1, ["'batch_size'", "'mining.batch_size'"]),
        ('[mining]\ntop_k = "3"\n', 2, ["'mining.top_k'", "a whole number", "'3'"]),
        ("[mining]\nn_workers = true\n", 2, ["a whole number", "True"]),
        ("[mining]\nbatch_size = 0\n", 2, ["at least 1", "found 0"]),
        ("[references]\ntile = 15\n", 2, ["from 16"]),
        ("[explaining]\nmin_probability = 1.5\n", 2, ["from 0 to 1", "1.5"]),
        ("[llm]\ntimeout = nan\n", 2, ["nan"]),
        ('[relevance]\n\ntarget = "lable"\n', 3, ["'label', 'prediction'", "did you mean 'label'"]),
        ("[preprocessing]\nmean = [0.5,\n 0.5]\n", 2, ["'preprocessing.mean' has 2 numbers", "3 channels"]),
        (
            "[preprocessing]\ncrop = 8\nchannels = ['grey']\n",
            3,
            ["'preprocessing.mean' is", "1 channel (grey)"],
        ),
        ("[preprocessing]\nchannels = ['blue', 'green', 'red']\n", 2, ["'preprocessing.mean' is not given"]),
        ("[preprocessing]\nchannels = ['rde']\n", 2, ["'red', 'green', 'blue', 'grey'"]),
        ("[preprocessing]\nchannels = []\n", 2, ["'preprocessing.channels'"]),
        ("given = []\n", 1, ["'given'"]),
        ("[preprocessing]\nstd = [0.5, 0, 0.5]\n", 2, ["'preprocessing.std'", "at least 1e-12, found 0"]),
        ("[model]\nlayers = [1]\n", 2, ["text", "found 1"]),
        ('model = "vgg16"\n', 1, ["'model' is a section"]),
        ('text = """\nmining = 3\n"""\n', 1, ["'text'"]),
        ('[dataset]\nroot = """\nlimit = 3\n"""\nlimit = -1\n', 5, ["'dataset.limit'"]),
        ("[dataset]\nroot = 2020-01-01\n", 2, ["text"]),
        ('path = "x"\n', 1, ["'path'"]),
        ('[dataset]\nroot = "a\\u0000b"\n', 2, ["'dataset.root'", "NUL"]),
        ("seed = 0x" + 9_000 * "f" + "\n", 1, ["'seed'", "from 0 to 9223372036854775807", "36000 bits"]),
        ("[llm]\nmax_cost = 0x" + 9_000 * "f" + "\n", 2, ["'llm.max_cost'", "a finite number", "36000 bits"]),
        ("[model.arguments]\na = [[1]]\n", 2, ["'model.arguments.a'", "a whole number or", "found [[1]]"]),
        ("[model]\narguments = { a.b = 1 }\n", 2, ["'model.arguments.a'"]),
        ("[[mining]]\ntop_k = 1\n", 1, ["'mining' is a section"]),
        ("[model]\narguments" + 900 * ".a" + " = 1\n", 2, ["'model.arguments.a'"]),
    ],
)
def test_faults_name_file_line_key_and_what_would_be_right(tmp_path, text, line, parts):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    assert message.startswith(f"{path}, line {line}: ")
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("mining.topk=3", ["'mining.topk'", "'mining.top_k'"]),
        ("mining.top_k=many", ["a whole number", "'many'"]),
        ("mining", ["section.key=value"]),
        ("=3", ["section.key=value"]),
        ("mining..top_k=3", ["section.key=value"]),
        ("seed.x=3", ["'seed'", "a whole number"]),
    ],
)
def test_faulty_overrides_name_the_command_line(tmp_path, override, parts):
    path = write(tmp_path, "")
    with pytest.raises(ConfigError, match="command line") as caught:
        load_config(path, [override])
    for part in parts:
        assert part in str(caught.value)


def test_broken_toml_names_its_line(tmp_path):
    with pytest.raises(ConfigError, match=r"some\.toml is not valid TOML: .*line 2"):
        load_config(write(tmp_path, "a = 1\nb = = 2\n"))


@pytest.mark.parametrize(
    "text", ["a = " + 3000 * "[" + 3000 * "]", "a = " + 3000 * "{a=" + "1" + 3000 * "}", "a = " + 5000 * "1", "a = \0"]
)
def test_toml_of_any_depth_or_size_ends_in_one_message(tmp_path, text):
    with pytest.raises(ConfigError, match=r"some\.toml is not valid TOML: ") as caught:
        load_config(write(tmp_path, text))
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("override", ["seed=" + 3000 * "[" + 3000 * "]", 3000 * "a." + "a=1", "seed=" + 5000 * "1"])
def test_overrides_of_any_depth_or_size_end_in_one_message(tmp_path, override):
    with pytest.raises(ConfigError, match="command line") as caught:
        load_config(write(tmp_path, ""), [override])
    assert len(str(caught.value)) < 600


def test_what_is_no_small_file_is_not_read(tmp_path):
    with pytest.raises(ConfigError, match="is not a file"):
        load_config(Path("/dev/zero"))
    with pytest.raises(ConfigError, match="is not a file"):
        load_config(tmp_path)
    with pytest.raises(ConfigError, match="more than 256 KiB"):
        load_config(write(tmp_path, "#" * 300_000))
    with pytest.raises(ConfigError, match="cannot read the config"):
        load_config(tmp_path / "a\0.toml")


def test_a_faulty_value_in_the_file_is_told_though_an_override_replaces_it(tmp_path):
    with pytest.raises(ConfigError, match="line 1: 'mining' is a section"):
        load_config(write(tmp_path, "mining = 3\n"), ["mining.top_k=3"])


def test_a_config_can_be_hashed_and_does_not_change(tmp_path):
    config = load_config(write(tmp_path, ""))
    assert config == load_config(write(tmp_path, ""))
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 3
    with pytest.raises(ValueError, match="top_k"):
        dataclasses.replace(config.mining, top_k=0)


def test_a_missing_file_lists_those_there_are(tmp_path):
    write(tmp_path, "")
    with pytest.raises(ConfigError, match=r"no\.toml': No such file.*some\.toml"):
        load_config(tmp_path / "no.toml")


def test_a_binary_file_is_refused(tmp_path):
    path = tmp_path / "x.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_config(path)


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "a b", "ü", "x" * 101, "a\n"])
def test_names_that_cannot_be_folders_are_refused(tmp_path, name):
    path = write(tmp_path, "")
    with pytest.raises(ConfigError, match="'name' must be"):
        load_config(path, [f"name='''{name}'''" if "\n" in name else f"name='{name}'"])


def test_digest_follows_results_and_nothing_else(tmp_path):
    path = write(tmp_path, "")
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    other = write(moved, 'name = "other"\n')

    def digest(*overrides: str, file: Path = path, sections: tuple[str, ...] = ("mining", "relevance")) -> str:
        return config_digest(load_config(file, overrides), *sections)

    same = digest()
    assert len(same) == 64
    assert digest(file=other) == same
    assert (
        digest("mining.batch_size=3", "mining.n_workers=0", "mining.cache_images=true", "relevance.device=cpu") == same
    )
    assert digest("references.tile=64") == same
    for change in ("mining.top_k=3", "mining.shard_size=5", "relevance.composite=EpsilonPlus", "seed=1"):
        assert digest(change) != same
    assert digest("references.tile=64", sections=("references",)) != digest(sections=("references",))
    with pytest.raises(ConfigError, match="no config section 'minin'"):
        digest(sections=("minin",))


def test_paths_start_from_the_config_and_read_the_environment(tmp_path, monkeypatch):
    config = load_config(write(tmp_path, ""))
    monkeypatch.setenv("SOME_FOLDER", "/there")
    assert resolve_path(config, "a/b") == tmp_path / "a" / "b"
    assert resolve_path(config, "$SOME_FOLDER/val") == Path("/there/val")
    monkeypatch.delenv("SOME_FOLDER")
    with pytest.raises(ConfigError, match="export SOME_FOLDER="):
        resolve_path(config, "$SOME_FOLDER/val")


@pytest.mark.parametrize(("resize", "crop"), [(224, 256), ("[64, 48]", 64), (64, "[80, 70]")])
def test_a_crop_that_no_image_holds_is_refused_and_the_advice_leads_further(tmp_path, resize, crop):
    path = tmp_path / "some.toml"
    path.write_text(f"[preprocessing]\nresize = {resize}\ncrop = {crop}\n")
    with pytest.raises(ConfigError, match=r"some.toml, line 3: .*black border") as told:
        load_config(path)
    advice = re.search(r"resize = \[\d+, \d+\]$", str(told.value))[0]
    path.write_text(f"[preprocessing]\n{advice}\ncrop = {crop}\n")
    assert load_config(path).preprocessing.size == load_config(path).preprocessing.resize


# --- damage at random -----------------------------------------------------------------------------------------------

ODD = (
    "",
    " ",
    "=",
    "[",
    "]",
    '"',
    "'",
    "#",
    "\n",
    "\0",
    "-",
    "1e999",
    "9" * 400,
    "nan",
    "true",
    "é",
    "\u2028",
    "[[",
    ".",
)


def mutate(text, rng):
    """Change, drop, double or move characters, values and lines of a config."""
    rows = text.split("\n")
    kind, place = rng.randrange(6), rng.randrange(len(rows))
    if kind == 0:
        del rows[place]
    elif kind == 1:
        rows.insert(rng.randrange(len(rows)), rows[place])
    elif kind == 2 and "=" in rows[place]:  # another value: a digit, a word, another kind
        key = rows[place].partition("=")[0]
        values = ("0", "-1", "7", "3.5", "true", '"word"', "[1, 2]", "{a = 1}", "1e30", "''", "2001-01-01", "[[[]]]")
        rows[place] = f"{key}= {rng.choice(values)}"
    elif kind == 3 and "=" in rows[place]:  # a slip in the key
        at = rng.randrange(max(rows[place].index("="), 1))
        rows[place] = rows[place][:at] + rng.choice("abxyz_") + rows[place][at + 1 :]
    else:
        at = rng.randrange(len(rows[place]) + 1)
        rows[place] = rows[place][:at] + rng.choice(ODD) + rows[place][at + kind % 2 :]
    return "\n".join(rows)


def leaves(value, key=""):
    """Return the values of a document by their dotted keys."""
    if isinstance(value, dict) and value:
        return {path: leaf for name, inner in value.items() for path, leaf in leaves(inner, f"{key}.{name}").items()}
    return {key: repr(value)}


def is_taken(config, key, value):
    """Tell whether a value of the document is what the config says, as a number, a text or a tuple."""
    found = config
    for name in key.strip(".").split("."):
        if isinstance(found, dict):
            return True  # arguments of a model's own
        assert hasattr(found, name), f"{key} is no key and was taken"
        found = getattr(found, name)
    if dataclasses.is_dataclass(found):
        return value == "{}"  # an empty table
    plain = re.sub(r"[\[\](){},' \"\\]|\.0\b", "", repr(found))
    return plain == re.sub(r"[\[\](){},' \"\\]|\.0\b", "", value) or float(plain or "nan") == float(value)


def run_mutated(tmp_path, capsys, n_tries):
    """Mutate the shipped configs: each loads and says what it says, or is refused with one message."""
    rng, counts = random.Random(0), Counter()
    originals = [path.read_text(encoding="utf-8") for path in sorted(DATA.glob("*.toml"))]
    for _ in range(n_tries):
        text = rng.choice(originals)
        for _ in range(rng.choice([1, 1, 2, 5])):
            text = mutate(text, rng)
        path = tmp_path / "some.toml"
        path.write_text(text, encoding="utf-8", newline="")
        try:
            config = load_config(path)
        except ConfigError as error:
            assert str(path) in str(error)  # noqa: PT017 - many are refused, and some are not
            counts["refused"] += 1
            continue
        for key, value in leaves(tomllib.loads(text.replace("\r\n", "\n"))).items():
            assert not key or is_taken(config, key, value), (key, value)
        counts["taken as it says"] += 1
    with capsys.disabled():
        sys.stdout.write(f"\n{n_tries} mutated configs: {dict(counts)}, 0 tracebacks, 0 values lost in silence")
    assert min(counts.values()) > 0


def test_mutated_configs_are_refused_or_say_what_they_say(tmp_path, capsys):
    run_mutated(tmp_path, capsys, 100)


@pytest.mark.slow
def test_many_mutated_configs_are_refused_or_say_what_they_say(tmp_path, capsys):
    run_mutated(tmp_path, capsys, 2000)
