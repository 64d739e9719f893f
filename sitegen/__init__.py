"""Records in, pages out: the static site. Imports neither torch nor openai."""
