"""What docs/security.md promises names tests and benchmarks that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_promise_names_what_tries_it():
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    promises = text.split("## What is promised")[1].split("## What is not promised")[0]
    rows = [row for row in promises.splitlines() if row.startswith("| ") and not row.endswith("| tried by |")]
    assert len(rows) > 25
    for row in rows:
        named = re.findall(r"(test_\w+\.py)\b|`python -m benchmarks\.(\w+)", row)
        assert named, row
        for test, benchmark in named:
            assert (ROOT / "tests" / test if test else ROOT / "benchmarks" / f"{benchmark}.py").exists(), row
