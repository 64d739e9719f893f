"""Benchmarks: each module is one command, `python -m benchmarks.<name>`."""

from precompute.__main__ import prepare_environment

prepare_environment()  # zennit-crp's processes inherit it too
