"""Importing the site loads neither torch nor openai, and dependencies point one way."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {"atlas", "errors"}
SITE_MODULES = sorted((ROOT / "sitegen").rglob("*.py"))
COMPUTE_MODULES = sorted((ROOT / "precompute").rglob("*.py"))
OWNERS = {"h5py": {"hdf5"}, "jinja2": {"render"}, "mkdocs": {"shell"}}


def imports_of(path):
    """List every imported module as a dotted name, relative ones resolved, also those inside functions."""
    found = set()
    package = ".".join(path.parent.relative_to(ROOT).parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, [package if node.level else "", node.module or ""]))
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return found


def test_importing_the_site_loads_no_computation():
    code = (
        "import sys, sitegen.build\n"
        "heavy = {'torch', 'torchvision', 'openai', 'zennit', 'crp', 'tqdm', 'httpx'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("path", SITE_MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_site_uses_only_records_and_files(path):
    imported = {name for name in imports_of(path) if name.startswith("precompute.")}
    modules = {name.split(".")[1] for name in imported}
    assert modules <= ALLOWED


@pytest.mark.parametrize("path", COMPUTE_MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_computation_knows_the_site_only_in_its_pipeline(path):
    uses_site = any(name.split(".")[0] == "sitegen" for name in imports_of(path))
    assert not uses_site or path.stem in {"pipeline", "cli"}


@pytest.mark.parametrize("path", SITE_MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_one_module_knows_each_library(path):
    roots = {name.split(".")[0] for name in imports_of(path)}
    assert not [library for library, owners in OWNERS.items() if library in roots and path.stem not in owners]
    assert "PIL" not in roots or path.stem == "pictures"
