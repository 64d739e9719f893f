"""Write `requirements.txt` (every package with the digests of its files) and `docs/sbom.cdx.json` (CycloneDX) anew.

    python -m venv build/pins && build/pins/bin/pip install uv cyclonedx-bom
    build/pins/bin/python docs/pin_packages.py          run it after every change of constraints.txt

The versions are those of `constraints.txt`, for this platform and Python version (committed: Linux on x86-64, 3.11).
The digests come from the package index that pip uses; no address is written. With `requirements.txt` nothing but
those very files can be installed:

    pip install --require-hashes --no-deps -r requirements.txt
    pip install --no-build-isolation --no-deps -e .
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS, BILL = ROOT / "requirements.txt", ROOT / "docs" / "sbom.cdx.json"
HEAD = """\
# Every package that setup installs, with the digests of its files; written by docs/pin_packages.py.
"""
BUILDING = "setuptools\n"


def hashed(*, dev: bool) -> str:
    """Resolve what the project needs, with or without its tools of development, to versions with digests."""
    command = [str(Path(sys.executable).with_name("uv")), "pip", "compile", "pyproject.toml", "-", "--quiet"]
    command += ["--constraints", "constraints.txt", "--generate-hashes", "--no-header", "--no-annotate"]
    command += ["--no-emit-index-url", *(["--extra", "dev"] if dev else [])]
    found = subprocess.run(command, cwd=ROOT, input=BUILDING if dev else "", capture_output=True, text=True, check=True)
    return found.stdout


def bill_of_materials(requirements: str) -> dict[str, object]:
    """Turn requirements into a bill of materials without addresses; the digests are in `requirements.txt`."""
    command = [str(Path(sys.executable).with_name("cyclonedx-py")), "requirements", "-", "--output-reproducible"]
    command += ["--pyproject", "pyproject.toml"]
    found = subprocess.run(command, cwd=ROOT, input=requirements, capture_output=True, text=True, check=True)
    bill: dict[str, object] = json.loads(found.stdout)
    components = bill["components"]
    assert isinstance(components, list)
    for component in components:
        del component["description"], component["externalReferences"]  # the line and the index it was read from
    del bill["metadata"]["tools"]  # type: ignore[attr-defined]
    return bill


def main() -> None:
    """Write both files."""
    REQUIREMENTS.write_text(HEAD + hashed(dev=True), encoding="utf-8")
    BILL.write_text(json.dumps(bill_of_materials(hashed(dev=False)), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
