"""Jinja templates of the generated pages."""
