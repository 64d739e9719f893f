"""Plain frozen records that move between the stages and to the site.

Owns the vocabulary of the project as data, gathered here from one module for each subject. Knows NumPy and nothing
else: no torch, no h5py, no files. Records that hold arrays are compared by identity; all others by value.
"""

from __future__ import annotations

from .explained import (
    ConceptAttribution,
    CutPart,
    CutSplit,
    Explanation,
    LayerExplanation,
    Place,
    Prediction,
    SubConcept,
    TargetExplanation,
)
from .mined import (
    LARGE_SHARE,
    MISSING,
    RANKINGS,
    Atlas,
    BoolArray,
    Box,
    Concept,
    FloatArray,
    IntArray,
    LargeShares,
    LayerInfo,
    LayerTables,
    Ranking,
    RankingTable,
    ReceptiveField,
    Reference,
    SampleTable,
    Scores,
)
from .named import (
    Author,
    ConceptName,
    ConceptScore,
    LocalName,
)
from .narrated import Fact, Narrative, NarrativeTable, OwnWords, Paragraph, Piece, Quantity, Refusal, Statement
from .scored import (
    ConceptTruth,
    LayerTruth,
    ModelTruth,
    ShortcutTruth,
    TruthReport,
)
from .trusted import AblationCurve, ClassTrust, CurveOrder, LayerTrust, OffValue, TrustReport, WhatIf

__all__ = [
    "LARGE_SHARE",
    "MISSING",
    "RANKINGS",
    "AblationCurve",
    "Atlas",
    "Author",
    "BoolArray",
    "Box",
    "ClassTrust",
    "Concept",
    "ConceptAttribution",
    "ConceptName",
    "ConceptScore",
    "ConceptTruth",
    "CurveOrder",
    "CutPart",
    "CutSplit",
    "Explanation",
    "Fact",
    "FloatArray",
    "IntArray",
    "LargeShares",
    "LayerExplanation",
    "LayerInfo",
    "LayerTables",
    "LayerTrust",
    "LayerTruth",
    "LocalName",
    "ModelTruth",
    "Narrative",
    "NarrativeTable",
    "OffValue",
    "OwnWords",
    "Paragraph",
    "Piece",
    "Place",
    "Prediction",
    "Quantity",
    "Ranking",
    "RankingTable",
    "ReceptiveField",
    "Reference",
    "Refusal",
    "SampleTable",
    "Scores",
    "ShortcutTruth",
    "Statement",
    "SubConcept",
    "TargetExplanation",
    "TrustReport",
    "TruthReport",
    "WhatIf",
]
