"""The packages that may be installed: the same versions in every list, each with the digests of its files."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
AGAIN = "run docs/pin_packages.py after a change of constraints.txt"


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(text):
    return {normal(name): version for name, version in re.findall(r"(?m)^([A-Za-z0-9._-]+)==([^\s;\\]+)", text)}


def test_hashed_requirements_are_the_constraints():
    wanted = pins((ROOT / "constraints.txt").read_text())
    found = pins((ROOT / "requirements.txt").read_text())
    differing = {name for name, version in found.items() if wanted.get(name) != version}
    assert not differing, AGAIN
    assert len(found) > 90
    assert found.keys() >= {"torch", "mkdocs-material", "pytest", "setuptools"}


def test_every_package_has_digests_and_no_list_an_address():
    lists = (ROOT / "requirements.txt").read_text()
    blocks = re.split(r"(?m)^(?=[A-Za-z0-9])", lists)[1:]
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", block) for block in blocks)
    assert "://" not in lists
    bill = (ROOT / "docs" / "sbom.cdx.json").read_text()
    assert re.findall(r"[a-z]+://[^\"]+", bill) == ["http://cyclonedx.org/schema/bom-1.6.schema.json"]


def test_the_bill_of_materials_lists_what_a_run_needs():
    bill = json.loads((ROOT / "docs" / "sbom.cdx.json").read_text())
    listed = {normal(item["name"]): item["version"] for item in bill["components"]}
    wanted = pins((ROOT / "constraints.txt").read_text())
    assert {name for name, version in listed.items() if wanted.get(name) != version} == set(), AGAIN
    assert listed.keys() >= {"torch", "pillow", "h5py", "mkdocs", "openai"}
    assert "pytest" not in listed
