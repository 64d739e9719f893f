"""Pages: records in, contexts of templates out. Must not write files."""
