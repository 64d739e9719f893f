"""Relevance: rules, composites and engines. Must not know files or data sets."""
