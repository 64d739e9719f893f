"""Prompt templates, one file per task and audience."""
