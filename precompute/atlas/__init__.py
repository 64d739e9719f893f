"""The atlas as records and files: all of it that the site may import. Must not know torch, models or networks."""
