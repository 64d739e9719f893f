"""Blind trials of names: which rows of held-out images stand against each other, who is asked what, what came of it."""
