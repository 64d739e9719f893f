"""Nothing that was not meant for the public is in what is published: site, tables, names, explanations."""

import dataclasses
import shutil
import typing

import numpy as np
import pytest
from PIL import Image

from precompute.cli import main
from precompute.config import Config, load_config
from precompute.provenance import GIVEN, PUBLIC_TEXTS, config_record
from precompute.records.named import Author

from .small_atlas import CONFIG, make_small_atlas

SECRETS = {
    "folder": "geheimer-ordner",
    "user": "logname77",
    "machine": "rechner-im-keller",
    "password": "hunter2secret",
    "argument": "token-in-arguments",
    "variable": "NAME_OF_KEY_VARIABLE",
    "linked": "first-bytes-of-a-private-file",
    "position": "N48-taken-here",
}


def texts_of(record, prefix=""):
    """List the dotted keys of a config record whose value may be any text."""
    hints = typing.get_type_hints(record)
    for item in dataclasses.fields(record):
        kind = hints[item.name]
        if dataclasses.is_dataclass(kind):
            yield from texts_of(kind, f"{prefix}{item.name}.")
        elif "str" in str(kind) and "Literal" not in str(kind):
            yield f"{prefix}{item.name}", kind


def filled(record, text):
    """Make a config section in which every text is `text`, whatever its type allows."""
    made = object.__new__(record)
    for item in dataclasses.fields(record):
        kind = typing.get_type_hints(record)[item.name]
        if dataclasses.is_dataclass(kind):
            value = filled(kind, text)
        elif "str" not in str(kind).replace("Literal", ""):
            value = None  # no text gets there
        elif "tuple" in str(kind):
            value = (text,)
        elif "dict" in str(kind):
            value = {"argument": text, "list": [text, 1], "number": 3}
        else:
            value = text
        object.__setattr__(made, item.name, value)
    return made


@pytest.mark.parametrize(
    "text",
    [
        "/home/logname77/models/llama",
        "C:\\Users\\logname77\\photos",
        "~logname77/photos",
        "../logname77/photos",
        "//rechner-im-keller/share",
        "https://logname77:hunter2secret@rechner-im-keller/v1",
        "logname77@rechner-im-keller",
        "$HOME/photos",
        "sk-proj token with spaces",
        "logname77.pt\n",
    ],
)
def test_no_key_of_the_config_publishes_a_path_user_machine_or_password(text):
    record = config_record(filled(Config, text))
    del record["site"]  # its texts are written for the public
    assert text not in str(record)
    assert "logname77" not in str(record)
    assert record["model"]["arguments"] == {"argument": GIVEN, "list": [GIVEN, 1], "number": 3}


def test_keys_that_are_not_known_to_be_public_are_not_published():
    private = {"dataset.root", "dataset.ground_truth", "explaining.photos", "llm.base_url"}
    assert not private & set(PUBLIC_TEXTS)
    assert {key for key, _ in texts_of(Config)} >= private - {"explaining.photos"}
    record = config_record(filled(Config, "word"))
    for key in private:
        section, name = key.split(".")
        assert record[section][name] in (GIVEN, [GIVEN])


def test_what_makes_a_result_is_published_as_it_is(tmp_path):
    path = tmp_path / "world.toml"
    shutil.copy("data/world.toml", path)
    assert GIVEN not in str(config_record(load_config(path)))
    for setting in ("model.weights=IMAGENET1K_V1", "llm.model=openai/gpt-5", "model.layers=['layer4.*', 'b?']"):
        assert GIVEN not in str(config_record(load_config(path, [setting])))


@pytest.mark.parametrize(
    ("model", "label"),
    [
        ("gpt-5-mini", "gpt-5-mini"),
        ("openai/gpt-5", "openai/gpt-5"),
        ("/home/logname77/llama-8b/", "llama-8b"),
        ("C:\\models\\logname77\\llama", "llama"),
        ("~/llama", "llama"),
        ("file:///home/logname77/llama", "llama"),
    ],
)
def test_a_model_named_by_its_path_is_published_by_its_last_part(model, label):
    assert str(Author.of_model(model)) == f"llm:{label}"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Everything that is published of an atlas made in a place full of what should not be."""
    base = tmp_path_factory.mktemp("published")
    folder = base / SECRETS["folder"]
    folder.mkdir()
    config = CONFIG.replace('root = "photos"', f'root = "{folder}/photos"').replace(
        "[relevance]", f'[model.arguments]\nnote = "{SECRETS["argument"]}"\n[relevance]'
    )
    config += f'[llm]\nbase_url = "https://{SECRETS["user"]}:{SECRETS["password"]}@{SECRETS["machine"]}/v1"\n'
    config += f'key_variable = "{SECRETS["variable"]}"\n'
    path = make_small_atlas(folder, n_per_class=3, config=config)
    factory = folder / "small_factory.py"
    factory.write_text(factory.read_text().replace("small_network()", "small_network(note)"))
    photos = sorted((folder / "photos").rglob("*.png"))
    (base / "private").write_text(SECRETS["linked"])
    picture = Image.fromarray(np.full((30, 30, 3), 90, np.uint8))
    marks = Image.Exif()
    marks[0x9286] = marks[0x010E] = SECRETS["position"]
    picture.save(photos[0].with_suffix(".jpg"), exif=marks, comment=SECRETS["position"].encode())
    photos[1].with_suffix(".jpg").symlink_to(base / "private")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("USER", SECRETS["user"])
        patch.setenv("LOGNAME", SECRETS["user"])
        patch.setenv(SECRETS["variable"], SECRETS["password"])
        patch.setattr("socket.gethostname", lambda: SECRETS["machine"])
        common = ["--config", str(path), "--output", str(folder / "out"), "--site", str(folder / "site")]
        code = main(["run", *common, "--set", "explaining.n_photos=10"])
        if code:  # a link that leaves the data set may be refused as a whole
            photos[1].with_suffix(".jpg").unlink()
            code = main(["run", *common, "--set", "explaining.n_photos=10"])
        assert code == 0
        assert main(["names", *common, "export", str(base / "names.csv")]) == 0
    return [item for part in ("out", "site") for item in (folder / part).rglob("*") if item.is_file()], base


@pytest.mark.parametrize("secret", SECRETS)
def test_no_published_file_holds_a_secret(published, secret):
    files, base = published
    assert len(files) > 50
    word = SECRETS[secret].encode()
    forms = {word, word[:12], word.decode().encode("utf-16-le"), str(base).encode()}
    found = [(path.name, form) for path in files for form in forms if form in path.read_bytes() + _marks(path)]
    assert found == []


def _marks(path):
    """Return what a picture says besides its pixels."""
    if path.suffix not in (".webp", ".png", ".jpg"):
        return b""
    with Image.open(path) as picture:
        return str((picture.info, dict(picture.getexif()))).encode()
