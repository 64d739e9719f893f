"""An atlas in a notebook: its tables as pandas, its pictures as PIL, read when they are asked for, without torch.

`open_atlas` is where to begin. Owns the columns of the tables and how a concept and an explanation look in a notebook.
Must not know how an atlas is made.
"""

from .reader import AtlasReader, ConceptView, ExplanationView, open_atlas

__all__ = ["AtlasReader", "ConceptView", "ExplanationView", "open_atlas"]
