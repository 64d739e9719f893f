"""Asking a language model and paying for it. Must not know what the prompts mean."""
