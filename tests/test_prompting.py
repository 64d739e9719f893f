import hashlib
from importlib import resources

import pytest

from precompute.errors import ConfigError
from precompute.llm.prompts import load_prompt

HEAD = """+++
version = 3
variables = ["name", "reason"]
+++
"""
BODY = "Task for {{ name }}.\n=== user ===\n{% if reason %}Again: {{ reason }}{% endif %} <b>{{ name }}</b>\n"


def write(folder, text, name="task"):
    (folder / f"{name}.md.j2").write_text(text, encoding="utf-8")


def test_a_prompt_is_read_rendered_and_known_by_its_digest(tmp_path):
    write(tmp_path, HEAD + BODY)
    prompt = load_prompt("task", tmp_path)
    assert (prompt.version, prompt.variables) == (3, ("name", "reason"))
    assert prompt.digest == hashlib.sha256((HEAD + BODY).encode()).hexdigest()
    assert prompt.render(name="a & b", reason="") == ("Task for a & b.", "<b>a & b</b>")
    write(tmp_path, HEAD + BODY + " ")
    assert load_prompt("task", tmp_path).digest != prompt.digest


@pytest.mark.parametrize("values", [{"name": "x"}, {"name": "x", "reason": "", "other": 1}, {}])
def test_missing_and_unknown_variables_are_errors(tmp_path, values):
    write(tmp_path, HEAD + BODY)
    with pytest.raises(ConfigError, match="variables"):
        load_prompt("task", tmp_path).render(**values)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HEAD + BODY.replace("{{ name }}", "{{ nam }}"), "declares"),
        (HEAD + "{{ name }} {{ reason }}", "no line"),
        (HEAD + BODY.replace("{% endif %}", ""), "line"),
        (BODY, "front matter"),
        (HEAD.replace("version = 3", "version = '3'") + BODY, "front matter"),
        (HEAD.replace("version = 3", "") + BODY, "front matter"),
        (HEAD.replace("version = 3", "version = 3\nschema = '{}'") + BODY, "front matter"),
        ("x" + HEAD + BODY, "front matter"),
        (HEAD.replace("version", "author = 'me'\nversion") + BODY, "front matter"),
    ],
)
def test_a_faulty_file_is_an_error_before_any_call(tmp_path, text, says):
    write(tmp_path, text)
    with pytest.raises(ConfigError, match=says):
        load_prompt("task", tmp_path)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot read the prompt nothing"):
        load_prompt("nothing", tmp_path)


def test_every_shipped_prompt_can_be_read():
    root = resources.files("prompts")
    names = [path.name for path in root.iterdir() if path.name.endswith(".md.j2")]
    assert {"planning.md.j2", "naming.md.j2"} <= set(names)
    for name in names:
        assert load_prompt(name.removesuffix(".md.j2")).version > 0
