"""What the documents say holds: commands exist, links lead somewhere, examples run, the picture is of this code."""

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from precompute.atlas.hdf5 import read_atlas
from precompute.atlas.json_records import read_jsonl
from precompute.cli import build_parser, main
from precompute.errors import UnsupportedModel
from precompute.naming.namer import ConceptEvidence
from precompute.naming.own import OwnNamer
from precompute.network.folding import simplify
from precompute.network.graph import capture
from precompute.records import Concept, ConceptName
from precompute.relevance.assignment import assign
from precompute.relevance.operations import TABLE
from precompute.relevance.proof import check_conservation, measure_conservation
from tests.site_fixture import write_synthetic
from tests.small_atlas import make_small_atlas

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
ARCHITECTURE = ROOT / "docs/architecture.md"


def blocks(document, language):
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def commands():
    for document in DOCUMENTS:
        for block in blocks(document, "console"):
            for line in block.splitlines():
                if line.startswith("$ "):
                    yield pytest.param(line[2:].split("#")[0].strip(), id=f"{document.name}: {line[2:50]}")
        for code in re.findall(r"`((?:make|atlas) [a-z][^`]*)`", document.read_text(encoding="utf-8")):
            yield pytest.param(" ".join(code.split()), id=f"{document.name}: {code[:40]}")


@pytest.mark.parametrize("command", list(commands()))
def test_every_command_of_a_document_exists(command):
    words = command.split()
    while words and "=" in words[0]:
        words.pop(0)
    if words[0] == "make":
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
        assert {word for word in words[1:] if "=" not in word} <= targets
    elif words[0].removeprefix(".venv/bin/") == "atlas" and len(words) > 1 and not words[1].startswith("-"):
        subcommands = build_parser()._subparsers._group_actions[0].choices
        assert words[1] in subcommands
        command = subcommands[words[1]]
        if command._subparsers and len(words) > 2:
            command = command._subparsers._group_actions[0].choices[words[2]]
        known = {option for action in command._actions for option in action.option_strings}
        assert {word.split("=")[0] for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_of_a_document_leads_to_a_file(document):
    for target in re.findall(r"\]\(([^)#]+)", document.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), target


def test_the_modules_that_the_guides_name_are_there():
    for document in (ARCHITECTURE, ROOT / "CONTRIBUTING.md"):
        text = document.read_text(encoding="utf-8")
        made = set(re.findall(r"<!-- file: (\S+) -->", text))
        for path in re.findall(r"`((?:precompute|sitegen|docs|tests|data|prompts)/[\w/.-]+)`", text):
            assert (ROOT / path).exists() or path in made, path
        for name in re.findall(
            r"`((?:images|relevance|mining|stages|naming|explanations|narratives|atlas)\.(?!h5)\w+)`", text
        ):
            place = ROOT / "precompute" / name.replace(".", "/")
            assert place.with_suffix(".py").exists(), name


def test_the_picture_of_the_rooms_is_of_this_code():
    code = "import sys; sys.path.insert(0, 'docs'); import draw_architecture as d; sys.stdout.write(d.draw())"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    drawn = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True)
    assert (ROOT / "docs/images/architecture.svg").read_bytes() == drawn.stdout, "run `make architecture`"


# --- the worked examples -------------------------------------------------------------------------------------------

EXAMPLES = ("A page", "A data set format", "A relevance rule", "A namer", "An audience")


def example(heading):
    """Return the files of one worked example: text by path."""
    text = ARCHITECTURE.read_text(encoding="utf-8")
    section = re.split(r"^###? ", text.split(f"\n### {heading}\n")[1], flags=re.MULTILINE)[0]
    return dict(re.findall(r"<!-- (?:file|into): (\S+) -->\n```\w+\n(.*?)^```", section, re.DOTALL | re.MULTILINE))


def checkout(folder, files):
    """Copy the program and put an example's files into it."""
    for name in ("precompute", "sitegen", "prompts"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path, text in files.items():
        assert not (folder / path).exists(), "an example must not need what is there to be changed"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


def run(folder, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("heading", EXAMPLES)
def test_an_example_passes_the_checks_of_style(heading):
    """Pasted as it stands, it must not fail `make lint`."""
    files = {path: text for path, text in example(heading).items() if not (ROOT / path).exists()}
    assert files
    for path, text in files.items():
        for command in (["check"], ["format", "--check"]) if path.endswith(".py") else ():
            ruff = [sys.executable, "-m", "ruff", *command, "--no-cache", "--stdin-filename", path, "-"]
            done = subprocess.run(ruff, cwd=ROOT, input=text, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr


def test_an_audience_is_added_as_the_guide_says(tmp_path):
    files = example("An audience")
    record = files.pop("precompute/narratives/audiences.py")
    assert sorted(files) == ["prompts/wording/de/press.ftl", "prompts/wording/en/press.ftl"]
    checkout(tmp_path, files)
    for name in ("tests", "benchmarks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    path = tmp_path / "precompute/narratives/audiences.py"
    before, after = path.read_text(encoding="utf-8").split("AUDIENCES = ")
    path.write_text(f"{before}{record}\nAUDIENCES = {after.replace('EXPERT)', 'EXPERT, PRESS)', 1)}", encoding="utf-8")
    told = run(tmp_path, "pytest", "tests/test_realising.py", "-q", "-k", "press or every_language")
    assert "10 passed" in told


def test_a_page_is_added_as_the_guide_says(tmp_path):
    files = example("A page")
    assert len(files) == 2
    checkout(tmp_path, files)
    write_synthetic(tmp_path / "atlas")
    run(tmp_path, "sitegen.preview", "atlas", "*.html")
    page = (tmp_path / "build/preview/silent.html").read_text(encoding="utf-8")
    assert re.search(r"\d\u00a0concepts? carried relevance for no class", page)
    start = (tmp_path / "build/preview/index.html").read_text(encoding="utf-8")
    assert start.index("classes/index.html") < start.index('href="silent.html"') < start.index('href="truth.html"')


def test_a_data_set_format_is_added_as_the_guide_says(tmp_path):
    files = example("A data set format")
    assert [path for path in files if path.endswith(".py")] == ["data/arrays.py"]
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    images = np.random.default_rng(0).integers(0, 256, (80, 128, 128, 3), dtype=np.uint8)
    labels = np.arange(80) % 12
    np.savez(tmp_path / "data/arrays.npz", images=images, labels=labels, classes=[f"class {n}" for n in range(12)])
    assert main(["mine", "--config", str(tmp_path / "data/arrays.toml"), "--set", "mining.n_workers=1"]) == 0
    atlas = read_atlas(tmp_path / "data/arrays/atlas.h5")
    assert atlas.samples.label.tolist() == labels.tolist()
    assert atlas.samples.skipped == {}
    assert int(atlas.class_counts.sum()) == 80


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "has no factory 'open_arrays'"),
        ("def open_arrays(config, cache): return []", "returned list, which is no Dataset: it lacks names"),
        ("def open_arrays(config, cache): raise ValueError('no luck')", "ValueError: no luck (arrays.py, line 1)"),
        ("def open_arrays(config): return 1", "unexpected keyword argument"),
    ],
)
def test_a_factory_that_makes_no_data_set_is_told(tmp_path, capsys, text, expected):
    (tmp_path / "arrays.toml").write_text(example("A data set format")["data/arrays.toml"], encoding="utf-8")
    (tmp_path / "arrays.py").write_text(text, encoding="utf-8")
    assert main(["mine", "--config", str(tmp_path / "arrays.toml")]) == 1
    message = capsys.readouterr().err
    assert expected in message
    assert "Traceback" not in message


def test_a_relevance_rule_is_added_as_the_guide_says(tmp_path, monkeypatch, capsys):
    files = example("A relevance rule")
    assert list(files) == ["data/cubes.py", "data/cubes.toml"]
    for path, text in files.items():
        (tmp_path / Path(path).name).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    torch.manual_seed(0)
    cubes = importlib.import_module("cubes")
    module = cubes.make().double().eval()
    graph = simplify(capture(module, (3, 12, 12)))
    assert "bend" in [node.operation for node in graph.nodes]
    measured = measure_conservation(graph, torch.randn(2, 3, 12, 12, dtype=torch.float64))
    assert check_conservation(measured) < 1e-9
    for name in "abcd":
        (tmp_path / "photos" / name).mkdir(parents=True)
        pixels = np.random.default_rng(ord(name)).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(tmp_path / "photos" / name / "1.png")
    assert main(["check", "--config", str(tmp_path / "cubes.toml")]) == 0
    assert "bend, 1 time: loses" in capsys.readouterr().out.replace("\u00a0", " ")
    del TABLE["bend"]
    with pytest.raises(UnsupportedModel, match=r"\(cubes.py:\d+\) computes 'bend', for which there is no rule"):
        assign(graph)


def test_a_namer_is_added_as_the_guide_says(tmp_path):
    files = example("A namer")
    assert list(files) == ["data/commonest.py"]
    config = make_small_atlas(tmp_path)
    for path, text in files.items():
        (tmp_path / Path(path).name).write_text(text, encoding="utf-8")
    chosen = ["--config", str(config), "--set", "naming.namer=commonest:make_namer"]
    assert main(["run", *chosen, "--site", str(tmp_path / "site")]) == 0
    names = read_jsonl(tmp_path / "small/names.jsonl", ConceptName)
    named = [name for name in names if name.is_named]
    assert named
    assert {name.author for name in named} == {"program:commonest:make_namer"}
    classes = read_atlas(tmp_path / "small/atlas.h5").class_names
    assert all(name.name in classes and 0 < name.confidence <= 1 for name in named)
    layer, _, channel = named[0].concept.rpartition(":")
    page = (tmp_path / f"site/concepts/{layer}-c{channel}.html").read_text(encoding="utf-8")
    assert "named by a program (commonest:make_namer)" in page


@pytest.fixture(scope="module")
def mined(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mined")
    config = make_small_atlas(folder, n_per_class=3)
    for command in ("mine", "references"):
        assert main([command, "--config", str(config)]) == 0
    return folder


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return 3", "returned int, which is no namer"),
        ("return Namer(lambda evidence: ['wheel'])", "gave str, expected a ConceptName"),
        ("return Namer(lambda evidence: [ConceptName('no:1', 'x', '', 'offline')])", "'no:1', which was not asked for"),
        ("return Namer(lambda evidence: [ConceptName('a:1', 'x', '', 'me')])", "ValueError: not an author: 'me'"),
        ("raise KeyError('x')", "KeyError: 'x' (own.py, line 6)"),
    ],
)
def test_a_factory_that_makes_no_namer_is_told(mined, tmp_path, capsys, body, expected):
    folder = shutil.copytree(mined, tmp_path / "copy")
    imports = "from precompute.records import ConceptName"
    text = f"{imports}\nclass Namer:\n    def __init__(self, name): self.name = name\n"
    (folder / "own.py").write_text(f"{text}\ndef make(config, atlas):\n    {body}\n", encoding="utf-8")
    assert main(["name", "--config", str(folder / "small.toml"), "--set", "naming.namer=own:make"]) == 1
    message = capsys.readouterr().err
    assert expected in message
    assert "Traceback" not in message


def test_a_concept_of_which_a_namer_says_nothing_is_told():
    class Silent:
        def name(self, evidence):
            return iter(())

    evidence = [ConceptEvidence(Concept("features.2", 3), ())]
    (name,) = OwnNamer("own:make", Silent(), "2026-01-02").name(evidence)
    assert (name.concept, name.name, name.author) == ("features.2:3", "", "program:own:make")
    assert name.failure
