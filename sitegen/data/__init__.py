"""What the pages are made of, and the downloads beside them. Must not know templates."""
