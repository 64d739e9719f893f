"""Label lists as people have them: the right classes, or one line that says what to set."""

from __future__ import annotations

import csv
import io
import json
import random
import unicodedata
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from precompute.config import DatasetConfig
from precompute.errors import DataError
from precompute.images.classes import ClassList, find_classes, load_classes
from precompute.images.label_lists import read_ground_truth
from precompute.images.listing import Listing, Sample, label_by_folder
from precompute.inputs import tell_classes_apart
from tests.many_examples import examples
from tests.photo_files import fill, open_here

FILES = [f"tile_{number}.png" for number in range(1, 7)]
WORDS = ["hair line crack", "hair line scratch", "no fault", "no label", "ink spot", "hair line crack"]
PETS = ClassList(("cat", "big dog", "eel"), ("n1", "n2", "n3"), "pets.json")


def read(tmp_path, text, files=FILES, classes=None, **settings_):
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return read_ground_truth(path, files, classes, DatasetConfig(**settings_))


def lines(rows, delimiter=","):
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def named(labels):
    return [labels.class_names[index] for index in labels.indices]


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
@pytest.mark.parametrize("header", [[], [["Bild", "Klasse"]], [["file", "label"]]])
@pytest.mark.parametrize("shown", ["{}", "./{}", "set/{}", "C:\\data\\{}", "/data/x/{}"])
def test_class_names_of_several_words(tmp_path, delimiter, header, shown):
    rows = [[shown.format(file), word] for file, word in zip(FILES, WORDS, strict=True)]
    found = read(tmp_path, "\ufeff" + lines(header + rows, delimiter))
    assert named(found) == WORDS
    assert found.class_names == tuple(sorted(set(WORDS)))
    with_list = read(tmp_path, lines(header + rows, delimiter), classes=ClassList(tuple(reversed(found.class_names))))
    assert named(with_list) == WORDS


def test_words_after_a_space_are_joined_by_the_class_list(tmp_path):
    text = "".join(f"{file} {word}\n" for file, word in zip(FILES, WORDS, strict=True))
    assert named(read(tmp_path, text, classes=ClassList(tuple(sorted(set(WORDS)))))) == WORDS
    with pytest.raises(DataError, match="columns"):
        read(tmp_path, text)


CLASSES = ["n1", "n2", "n3", "n1", "n2", "n3"]
SPARE = {
    "boxes behind": [[f, c, "1", "1", "32", "8"] for f, c in zip(FILES, CLASSES, strict=True)],
    "boxes before": [[f, "0", "1", "2", "2", c] for f, c in zip(FILES, CLASSES, strict=True)],
    "a subset before": [["train", f, c] for f, c in zip(FILES, CLASSES, strict=True)],
    "a running number": [[str(n), c, f] for n, (f, c) in enumerate(zip(FILES, CLASSES, strict=True))],
    "a box in one cell": [[f, f"{c} 1 2 30 40"] for f, c in zip(FILES, CLASSES, strict=True)],
    "two boxes in one cell": [[f, f"{c} 1 2 30 40 {c} 5 6 7 8"] for f, c in zip(FILES, CLASSES, strict=True)],
    "an empty column": [[f, c, ""] for f, c in zip(FILES, CLASSES, strict=True)],
    "several lines an image": [[f, c, n, "1", "2", "3"] for f, c in zip(FILES, CLASSES, strict=True) for n in "01"],
    "key and name": [[f, c, PETS.names[int(c[1]) - 1]] for f, c in zip(FILES, CLASSES, strict=True)],
    "quotes": [[f'"{f}"', f'"{c}"'] for f, c in zip(FILES, CLASSES, strict=True)],
}


@pytest.mark.parametrize("what", SPARE)
@pytest.mark.parametrize("delimiter", [",", "\t", " "])
def test_spare_columns_do_not_change_the_class(tmp_path, what, delimiter):
    if delimiter == " " and what in ("a box in one cell", "two boxes in one cell", "key and name", "quotes"):
        pytest.skip("spaces inside")
    text = lines(SPARE[what], delimiter).replace('"""', '"')
    assert read(tmp_path, text, classes=PETS).indices.tolist() == [0, 1, 2, 0, 1, 2]


def test_a_header_tells_which_column_or_the_setting_does(tmp_path):
    rows = [["id", "image", "class_id", "split"]] + [[str(n), f, str(n % 3), "7"] for n, f in enumerate(FILES)]
    assert read(tmp_path, lines(rows)).indices.tolist() == [0, 1, 2, 0, 1, 2]
    bare = lines(rows[1:])
    with pytest.raises(DataError, match=r"line 1, has 4 columns.*dataset\.ground_truth_columns") as told:
        read(tmp_path, bare)
    assert "\n" not in str(told.value)
    assert read(tmp_path, bare, ground_truth_columns=("2", "3")).indices.tolist() == [0, 1, 2, 0, 1, 2]
    assert read(tmp_path, lines(rows), ground_truth_columns=("image", "class_id")).indices.tolist() == [
        0,
        1,
        2,
        0,
        1,
        2,
    ]
    with pytest.raises(DataError, match="no column 'kind'"):
        read(tmp_path, bare, ground_truth_columns=("2", "kind"))


def test_numbers_of_a_box_are_never_taken_for_classes(tmp_path):
    """Numbers that count from 1 do not all fit, one side of a box does: the side is not the class."""
    rows = [[f, str(n % 3 + 1), str(n % 2), "1", "2", "30"] for n, f in enumerate(FILES)]
    with pytest.raises(DataError, match=r"more than one could have the classes.*dataset\.ground_truth_columns"):
        read(tmp_path, lines(rows), classes=PETS)


def test_one_hot_rows(tmp_path):
    head = ["image", "MEL", "NV", "BCC"]
    rows = [[f[:-4], *("1.0" if place == n % 3 else "0.0" for place in range(3))] for n, f in enumerate(FILES)]
    found = read(tmp_path, lines([head, *rows]))
    assert found.class_names == ("MEL", "NV", "BCC")  # as they stand, not by alphabet
    assert found.indices.tolist() == [0, 1, 2, 0, 1, 2]
    assert read(tmp_path, lines([head, *rows]), classes=ClassList(("NV", "BCC", "MEL"))).indices.tolist() == [
        2,
        0,
        1,
        2,
        0,
        1,
    ]
    words = [[row[0], *({"1.0": "True", "0.0": "False"}[cell] for cell in row[1:])] for row in rows]  # pandas' way
    assert read(tmp_path, lines([head, *words])).indices.tolist() == [0, 1, 2, 0, 1, 2]
    with pytest.raises(DataError, match="Write a first line with the names"):
        read(tmp_path, lines(words))
    for cells, n_ones in ((["0", "0", "0"], 0), (["1", "1", "0"], 2)):
        with pytest.raises(DataError, match=f"line 4: {n_ones} of the 3 columns of classes are 1"):
            read(tmp_path, lines([head, *rows[:2], [rows[2][0], *cells], *rows[3:]]))


@pytest.mark.parametrize("write", [str, lambda n: f"{n}.0", lambda n: f"{n:03d}"])
def test_numbers_from_one_are_asked_for_and_never_read_from_zero(tmp_path, write):
    from_one = lines([["image", "label"]] + [[f, write(n % 3 + 1)] for n, f in enumerate(FILES)])
    part = lines([["image", "label"]] + [[f, write(n % 2 + 1)] for n, f in enumerate(FILES)])
    for text in (from_one, part):
        for classes in (None, PETS, ClassList(("a", "b", "c"))):
            with pytest.raises(DataError, match=r"line 2: .*none is 0.*dataset\.ground_truth_ids = 'from_one'"):
                read(tmp_path, text, classes=classes)
    assert read(tmp_path, from_one, ground_truth_ids="from_one").class_names == ("1", "2", "3")
    found = read(tmp_path, part, classes=PETS, ground_truth_ids="from_one")
    assert (named(found)[:3], found.class_names) == (["cat", "big dog", "cat"], PETS.names)
    from_zero = lines([[f, write(n % 3)] for n, f in enumerate(FILES)])
    assert read(tmp_path, from_zero, classes=PETS).indices.tolist() == [0, 1, 2, 0, 1, 2]
    assert read(tmp_path, part, classes=PETS, ground_truth_ids="from_zero").indices.tolist() == [1, 2, 1, 2, 1, 2]
    with pytest.raises(DataError, match=r"line 1: the class 0.*'from_one' counts from 1"):
        read(tmp_path, from_zero, classes=PETS, ground_truth_ids="from_one")
    with pytest.raises(DataError, match=r"line 4: the class 3, expected 0 to 2"):
        read(tmp_path, from_one, classes=PETS, ground_truth_ids="from_zero")


def test_a_class_list_that_counts_from_one_means_its_own_numbers(tmp_path):
    (tmp_path / "classes.txt").write_text("1 001.Albatross\n2 002.Auklet\n3 003.Bunting\n")
    classes = load_classes("classes.txt", tmp_path / "classes.txt")
    assert (classes.names, classes.first) == (("001.Albatross", "002.Auklet", "003.Bunting"), 1)
    text = lines([[f, str(n % 3 + 1)] for n, f in enumerate(FILES)], " ")
    assert read(tmp_path, text, classes=classes).indices.tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize("odd", ["-1", "1.5"])
def test_what_is_no_count_is_told_with_its_line(tmp_path, odd):
    text = lines([[f, odd if n == 3 else str(n % 3)] for n, f in enumerate(FILES)])
    with pytest.raises(DataError, match=f"line 4: '{odd}' among numbers"):
        read(tmp_path, text)


def test_an_image_with_two_classes_or_none_is_told(tmp_path):
    rows = [[f, c] for f, c in zip(FILES, CLASSES, strict=True)]
    with pytest.raises(DataError, match=r"lines 2 and 7, give 'tile_2\.png' two classes"):
        read(tmp_path, lines([*rows, [FILES[1], "n3"]]), classes=PETS)
    assert read(tmp_path, lines([*rows, rows[1]]), classes=PETS).indices.tolist() == [0, 1, 2, 0, 1, 2]
    with pytest.raises(DataError, match=r"lacks 1 of 6 images, first 'tile_3\.png'"):
        read(tmp_path, lines(rows[:2] + rows[3:]), classes=PETS)
    with pytest.raises(DataError, match=r"line 3: no class in column 2"):
        read(tmp_path, lines([*rows[:2], [FILES[2], ""], *rows[3:]]), classes=PETS)
    found = read(tmp_path, lines([*rows, ["tile_99.png", "n1"]]), classes=PETS)
    assert "1 of its 7 lines name no image" in found.how


def test_files_are_matched_by_path_before_names(tmp_path):
    files = ["a/1.png", "b/1.png"]
    assert named(read(tmp_path, "a/1.png,x\nb/1.png,y\n", files)) == ["x", "y"]
    assert named(read(tmp_path, "b/1,y\na/1,x\n", files)) == ["x", "y"]
    with pytest.raises(DataError, match=r"'1\.png' could be any of 'a/1\.png', 'b/1\.png'"):
        read(tmp_path, "1.png,x\n1.png,y\n", files)
    with pytest.raises(DataError, match=r"'1' could be any of '1\.jpg', '1\.png'"):
        read(tmp_path, "1,x\n2,y\n", ["1.jpg", "1.png", "2.png"])
    assert named(read(tmp_path, "a/1.png,1\nb/1.png,0\n", files)) == ["1", "0"]  # a class may be called as a file
    assert named(read(tmp_path, "2,1.png\n0,2.png\n1,0.png\n", ["0.png", "1.png", "2.png"])) == ["1", "2", "0"]
    accents = [unicodedata.normalize("NFD", "ü.png"), "o.png"]
    assert named(read(tmp_path, "ü.png,x\no.png,y\n", accents)) == ["x", "y"]


def test_lines_that_cannot_be_taken_apart_are_told(tmp_path):
    rows = lines([[f, c] for f, c in zip(FILES, CLASSES, strict=True)])
    for line, message in (
        (f"{FILES[5]},big dog, the big one", r"line 6, has 3 columns where 2 are expected.*quotes"),
        (f'{FILES[5]},"big dog', r"line 6: .*Close every quote"),
        (f"{FILES[5]}", r"line 6, has 1 columns"),
        (f"{FILES[5]},dog", r"line 6: 'dog' is no class of the list 'pets.json'; the nearest: big dog"),
    ):
        with pytest.raises(DataError, match=message):
            read(tmp_path, "".join(rows.splitlines(keepends=True)[:5]) + line + "\n", classes=PETS)
    mended = "".join(rows.splitlines(keepends=True)[:5]) + f'{FILES[5]},"big dog"\n'
    assert read(tmp_path, mended, classes=PETS).indices.tolist() == [0, 1, 2, 0, 1, 1]


def test_one_class_a_line_needs_files_in_one_order(tmp_path):
    assert read(tmp_path, "\n".join(CLASSES), classes=PETS).indices.tolist() == [0, 1, 2, 0, 1, 2]
    assert read(tmp_path, "label\n" + "\n".join(CLASSES), classes=PETS).indices.tolist() == [0, 1, 2, 0, 1, 2]
    files = sorted(f"{number}.png" for number in range(12))
    with pytest.raises(DataError, match="the order of the files is not told"):
        read(tmp_path, "\n".join("n1" for _ in files), files, PETS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x.png,a\n" * 6, "line 1: 'x.png,a' names a file"),
        ("".join(f"{name} cat\n" for name in ("my photo.png",) * 6), "names a file"),
        ("".join(f"cat/{n}.png\n" for n in range(6)), "names a file"),
        ("".join(f"{file}: cat\n" for file in FILES), "line 1: 'tile_1.png: cat' names a file"),
        ("".join(f"big dog={file}\n" for file in FILES), "names a file"),
        ("".join(f"{file[:-4]} => cat\n" for file in FILES).replace(" ", ""), "names a file"),
        (lines([["file", "label"]] + [[f, "a"] for f in FILES] + [["file", "label"]]), "line 8, is the header again"),
        (lines([[f, "0", "1"] for f in FILES]), "Write a first line with the names"),
        (
            lines([[f, "cat|dog" if n else "cat"] for n, f in enumerate(FILES)] + [["x.png", "dog"]]),
            "several classes at once",
        ),
    ],
)
def test_what_is_no_label_is_not_read_as_one(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, text)


def test_a_class_may_be_called_as_a_file_is(tmp_path):
    files = [f"cat {number}.png" for number in range(1, 7)]
    assert named(read(tmp_path, "cat\ncat\n1\ncat\ncat 2\ncat\n", files))[:2] == ["cat", "cat"]


def test_more_ways_in_which_lists_are_kept(tmp_path):
    rows = [[f, str(n % 2)] for n, f in enumerate(FILES)]
    assert read(tmp_path, "# made by hand\n" + lines(rows)).indices.tolist() == [0, 1] * 3
    assert read(tmp_path, "sep=;\n" + lines([["file", "label"], *rows], ";")).class_names == ("0", "1")  # Excel's own
    assert read(tmp_path, lines([[f.upper(), c] for f, c in rows])).indices.tolist() == [0, 1] * 3
    assert read(tmp_path, lines([[f, f"{c},0"] for f, c in rows], ";")).indices.tolist() == [0, 1] * 3
    assert read(tmp_path, lines([[f.replace("png", "jpg"), c] for f, c in rows])).indices.tolist() == [0, 1] * 3
    (tmp_path / "labels.json").write_text("{}")
    with pytest.raises(DataError, match="Save it as CSV"):
        read_ground_truth(tmp_path / "labels.json", FILES, None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfea\0", "UTF-16"),
        ("tile_1.png,Stör\n".encode("latin-1"), "not UTF-8 text, line 1"),
        (b"tile_1.png,a\ntile_2.png,\0\n", "line 2, holds a byte of zero"),
        (b"", "is empty"),
        (b"\n \n", "is empty"),
    ],
)
def test_what_is_no_text_is_told(tmp_path, content, message):
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_ground_truth(tmp_path / "x.csv", FILES, None)


# Class lists and folders


HUB = {"architectures": ["X"], "model_type": "resnet"}


def test_the_advice_for_lines_that_are_no_names_gets_further(tmp_path):
    (tmp_path / "a.txt").write_text("name\n# sharp\nflat\n")
    assert load_classes("a.txt", tmp_path / "a.txt").names == ("# sharp", "flat")
    (tmp_path / "a.json").write_text(json.dumps({0: "cat", 1: "dog"}))
    assert load_classes("a.json", tmp_path / "a.json").names == ("cat", "dog")
    (tmp_path / "a.json").write_text(json.dumps({"1": 0, "0": 1}))
    assert load_classes("a.json", tmp_path / "a.json").names == ("1", "0")


def test_class_lists_of_other_programs(tmp_path):
    for name, text in {
        "class_to_idx.json": json.dumps({"cat": 0, "big dog": 1, "eel": 2}),
        "numbers.txt": "0,cat\n1,big dog\n2,eel\n",
        "one-a-line.txt": "cat\nbig dog\neel\n",
        "synset_words.txt": "n00000001 cat\nn00000002 big dog\nn00000003 eel\n",
        "table.csv": "class_id,class_name\n2,eel\n0,cat\n1,big dog\n",
        "quoted.csv": 'index;name\n0;cat\n1;"big dog"\n2;eel\n',
        "label2id.json": json.dumps({"eel": "2", "cat": "0", "big dog": "1"}),
        "spreadsheet.json": json.dumps({"0.0": "cat", "1.0": "big dog", "2.0": "eel"}),
        "config.json": json.dumps(HUB | {"id2label": {"0": "cat", "1": "big dog", "2": "eel"}}),
        "text-numbers.json": json.dumps(
            HUB
            | {
                "id2label": {"0": "cat", "1": "big dog", "2": "eel"},
                "label2id": {"cat": "0", "big dog": "1", "eel": "2"},
            }
        ),
    }.items():
        (tmp_path / name).write_text(text)
        assert load_classes(name, tmp_path / name).names == ("cat", "big dog", "eel"), name
    (tmp_path / "digits.json").write_text(json.dumps({"0": 0, "1": 1, "10": 2, "2": 3}))
    assert load_classes("digits.json", tmp_path / "digits.json").index("10") == 2


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", '{"cat": 0, "dog": 0}', "index 0 twice"),
        ("a.json", '{"cat": 0, "cat": 1}', "'cat' comes twice"),
        ("a.json", '{"cat": 0, "dog": 2}', "lacks 1"),
        ("a.json", '{"cat": 0, "dog": "one"}', "'dog' is no index, and stands for 'one', which is none either"),
        (
            "a.json",
            '{"id2label": {"0": "cat", "1": "dog"}, "label2id": {"cat": 1, "dog": 0}}',
            "keep the one that is right",
        ),
        ("a.json", '{"0": "1", "1": "0"}', "both sides are numbers in quotes; write the indices without quotes"),
        ("a.json", '{"categories": [{"id": 1, "name": "cat"}]}', "'categories' is no index"),
        ("a.json", '"cat"', "neither"),
        ("a.txt", "# ours\ncat\n", "line 1 begins with '#'.*put the line 'name' above"),
        ("a.txt", "cat\n\ndog\n", "line 3: a line before it is empty"),
        ("a.txt", "{0: 'cat',\n 1: 'dog'}\n", "line 1 is written as in a program"),
        ("a.txt", "0: 'cat',\n1: 'dog',\n", "line 1 is written as in a program"),
        ("a.json", "[" * 5000, "neither"),
        ("a.json", "[1" + "0" * 5000 + "]", "neither"),
        ("a.json", '["cat", ""]', "without a name"),
        ("a.csv", "index,name\n0,cat\n0,dog\n", r"index 0 twice: 'cat' and 'dog' \(line 3\)"),
        ("a.csv", "index,name\n0,cat\n1,dog,big\n", "line 3.*quotes"),
        ("a.csv", "wnid,name\nn1,cat\nn1,dog\n", "key 'n1' twice"),
        ("a.txt", "0 cat\n2 dog\n", "lacks 1"),
        ("a.txt", "", "empty"),
    ],
)
def test_class_lists_that_contradict_themselves(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        load_classes(name, tmp_path / name)


def test_numeric_folders(tmp_path):
    """ImageNet-V2 and traffic signs: the folder's number is the class index, where there is a class list."""
    fill(tmp_path / "images", [f"{number}/a.png" for number in range(12)])
    (tmp_path / "classes.json").write_text(json.dumps([f"thing {number}" for number in range(12)]))
    found = open_here(tmp_path, "dataset.classes=classes.json")
    assert [found.class_names[label] for label in found.labels] == [
        f"thing {name.partition('/')[0]}" for name in found.names
    ]
    bare = open_here(tmp_path)
    assert bare.class_names[2] == "10"
    assert any("0, 1, 10, 11, 2, …" in note and "ImageFolder" in note for note in bare.notes)
    (tmp_path / "images" / "0").rename(tmp_path / "images" / "12")
    with pytest.raises(DataError, match=r"class folder '.*1': the classes are numbers from 1 to 12.*'from_one'"):
        open_here(tmp_path, "dataset.classes=classes.json")
    found = open_here(tmp_path, "dataset.classes=classes.json", "dataset.ground_truth_ids=from_one")
    assert found.class_names[found.labels[found.names.index("12/a.png")]] == "thing 11"
    (tmp_path / "classes.json").write_text(json.dumps({str(n): n - 1 for n in range(12, 0, -1)}))
    found = open_here(tmp_path, "dataset.classes=classes.json")  # ImageFolder's own class_to_idx
    assert found.labels[found.names.index("12/a.png")] == 11


# Lists at random

KEPT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(classes=st.lists(KEPT.map(str.strip).filter(bool), min_size=2, max_size=5, unique=True), data=st.data())
def test_a_table_that_is_written_by_a_program_is_read_as_it_was_meant(tmp_path, classes, data):
    """Whatever the class names are, and wherever the columns stand: the classes, or a refusal."""
    classes = list(dict.fromkeys(unicodedata.normalize("NFC", text) for text in classes))
    chosen = [data.draw(st.sampled_from(classes)) for _ in FILES]
    rows = [[f, c] for f, c in zip(FILES, chosen, strict=True)]
    if data.draw(st.booleans()):
        rows = [[c, f] for f, c in rows]
    if data.draw(st.booleans()):
        rows = [[*row, data.draw(st.sampled_from(["train", "0", "3.5", ""]))] for row in rows]
    text = lines(rows, data.draw(st.sampled_from([",", "\t", ";"])))
    try:
        found = read(tmp_path, text, classes=ClassList(tuple(classes), source="x"))
    except DataError:
        return
    assert named(found) == chosen


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["cat", "nan", "dog"], "'nan' is what programs write where a class is missing"),
        (["cat", "Cat", "dog"], "differ in capitals alone"),
    ],
)
def test_what_a_program_or_a_slip_wrote_is_no_new_class(tmp_path, classes, message):
    text = lines([["image", "label"]] + [[f, classes[i % 3]] for i, f in enumerate(FILES)])
    with pytest.raises(DataError, match=message):
        read(tmp_path, text, classes=None)
    found = read(tmp_path, text, classes=ClassList(tuple(classes), source="x"))  # the advice followed
    assert named(found) == [classes[i % 3] for i in range(len(FILES))]


def test_a_spreadsheet_is_told_as_that(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_bytes(b"PK\x03\x04\x14\x00\xff\xfe")
    with pytest.raises(DataError, match="a spreadsheet or an archive: export its table as CSV"):
        read_ground_truth(path, FILES, None)


def test_parts_of_a_data_set_are_no_classes(tmp_path):
    listing = Listing(tmp_path, [Sample(f"{part}/cat/0.png", 9) for part in ("train", "val")], Counter())
    with pytest.raises(DataError, match="'train', 'val': parts of a data set and no classes"):
        label_by_folder(listing, ["train", "val"], None)
    both = ClassList(("train", "val"), source="x")
    assert label_by_folder(listing, ["train", "val"], both)[0].tolist() == [0, 1]


def test_folders_that_differ_in_capitals_alone_are_no_two_classes(tmp_path):
    listing = Listing(tmp_path, [Sample(f"{folder}/0.png", 9) for folder in ("Cat", "cat")], Counter())
    with pytest.raises(DataError, match="'cat' and 'Cat' differ in capitals alone"):
        label_by_folder(listing, ["Cat", "cat"], None)
    both = ClassList(("Cat", "cat"), source="x")
    assert label_by_folder(listing, ["Cat", "cat"], both)[0].tolist() == [0, 1], "the advice gets further"


def test_two_levels_of_folders_are_not_guessed_between(tmp_path):
    def label(*names, classes=None):
        listing = Listing(tmp_path, [Sample(name, 9) for name in names], Counter())
        return label_by_folder(listing, sorted({name.partition("/")[0] for name in names}), classes)

    years = [f"{year}/{kind}/0.png" for year in ("y1", "y2") for kind in ("cat", "dog")]
    with pytest.raises(DataError, match="all of 'y1', 'y2' hold the same folders 'cat', 'dog', so that either level"):
        label(*years)
    assert label(*years, classes=ClassList(("y1", "y2"), source="x"))[0].tolist() == [0, 0, 1, 1]
    for plain in (["a/x/0.png", "a/z/0.png", "b/y/0.png"], ["a/images/0.png", "b/images/0.png"], [*years, "y1/1.png"]):
        assert len(label(*plain)[1]) == 2


def mutate(text, rng):
    """Change, drop, double or swap characters, lines and cells."""
    rows = text.split("\n")
    kind = rng.randrange(7)
    place = rng.randrange(len(rows))
    if kind == 0:
        del rows[place]
    elif kind == 1:
        rows.insert(place, rows[rng.randrange(len(rows))])
    elif kind == 2:
        other = rng.randrange(len(rows))
        rows[place], rows[other] = rows[other], rows[place]
    else:
        position = rng.randrange(len(rows[place]) + 1)
        odd = rng.choice([",", '"', "\t", "0", "-", " ", "\0", "é", "\u2028", "9" * 400, "\ud7ff", ";", "x,", "\r"])
        rows[place] = rows[place][:position] + odd + rows[place][position + kind % 3 :]
    return "\n".join(rows)


def run_mutated(tmp_path, capsys, n_tries):
    """Mutate lists: the labels of lines that were not touched never change in silence."""
    rng, counts = random.Random(0), Counter()
    truth = dict(zip(FILES, [0, 1, 2, 0, 1, 2], strict=True))
    names = [PETS.names[index] for index in truth.values()]
    originals = [
        lines([["image", "label"]] + [[f, n] for f, n in zip(FILES, names, strict=True)]),
        lines([[f, str(i)] for f, i in truth.items()], "\t"),
        lines([[f, PETS.keys[i], "1", "2", "3", "4"] for f, i in truth.items()], " "),
        lines([["image", *PETS.names]] + [[f, *(str(int(i == k)) for k in range(3))] for f, i in truth.items()], ";"),
        json.dumps(list(PETS.names)),
        "index\twnid\tname\n0\tn1\tcat\n1\tn2\tbig dog\n2\tn3\teel\n",
    ]
    for _ in range(n_tries):
        original = rng.choice(originals)
        text = original
        for _ in range(rng.choice([1, 1, 2, 5])):
            text = mutate(text, rng)
        is_classes = original in originals[4:]
        try:
            if is_classes:
                path = tmp_path / ("classes.json" if original.startswith("[") else "classes.tsv")
                path.write_text(text, encoding="utf-8", newline="")
                load_classes(path.name, path)
                counts["class list read"] += 1
                continue
            path = tmp_path / "labels.csv"
            path.write_text(text, encoding="utf-8", newline="")
            found = read_ground_truth(path, FILES, PETS)
        except DataError as error:
            assert "\n" not in str(error)  # noqa: PT017 - many are refused, and some are not
            counts["refused"] += 1
            continue
        assert len(found.indices) == len(FILES)
        untouched = set(text.split("\n")) & set(original.split("\n"))
        for file, label in zip(FILES, found.indices, strict=True):
            own = [line for line in original.split("\n") if file in line]
            if own[0] in untouched:
                assert label == truth[file], (text, found)
        counts["read"] += 1
    with capsys.disabled():
        print(f"\n{n_tries} mutated lists: {dict(counts)}, 0 tracebacks, 0 labels changed in silence", end="")  # noqa: T201
    assert counts["refused"]
    assert counts["read"]


def test_mutated_lists_are_refused_or_read_right(tmp_path, capsys):
    run_mutated(tmp_path, capsys, 300)


@pytest.mark.slow
def test_many_mutated_lists_are_refused_or_read_right(tmp_path, capsys):
    run_mutated(tmp_path, capsys, 4000)


def test_find_classes_says_where():
    with pytest.raises(DataError, match="there: 'horse' is no class"):
        find_classes({"cat": "here", "horse": "there"}, PETS)


def test_no_two_classes_are_called_alike_and_each_can_be_read():
    """A wrong answer whose name is that of the label would read as right."""
    names = ("crane", "goose", "cr\u200bane", "\u3164", "")
    assert tell_classes_apart(names) == ("crane (class 0)", "goose", "cr\u200bane (class 2)", "class 3", "class 4")
