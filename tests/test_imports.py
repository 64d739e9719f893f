"""Importing the site loads no computation. Which way imports go is held by import-linter's contracts (`make lint`)."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_importing_the_site_loads_no_computation():
    code = (
        "import sys, sitegen.build\n"
        "heavy = {'torch', 'torchvision', 'openai', 'zennit', 'crp', 'tqdm', 'httpx'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert run.stdout.strip() == "[]"
