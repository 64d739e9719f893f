"""The rules of relevance of an atlas in words.

Owns how a composite, the rules of single layers and what gates take are told. Must not know networks or formulas.
"""

from __future__ import annotations

from collections.abc import Mapping

_NAMES = {"epsilon": "Epsilon", "zplus": "ZPlus", "flat": "Flat"}


def tell_rules(composite: str, rules: Mapping[str, str], gates: str) -> str:
    """Say which rules relevance goes by.

    Examples: ``EpsilonPlusFlat``; ``EpsilonPlusFlat, except Flat for features.0; gates take half``.
    """
    by_rule: dict[str, list[str]] = {}
    for pattern, rule in rules.items():
        by_rule.setdefault(rule, []).append(pattern)
    exceptions = [f"{_NAMES.get(rule, rule)} for {', '.join(patterns)}" for rule, patterns in by_rule.items()]
    told = f"{composite}, except {' and '.join(exceptions)}" if exceptions else composite
    return f"{told}; gates take half" if gates == "half" else told


def tell_rule_counts(counts: Mapping[str, int]) -> str:
    """Count the layers of each rule, as in ``1 by Flat, 12 by ZPlus``."""
    return ", ".join(f"{n} by {_NAMES.get(rule, rule)}" for rule, n in sorted(counts.items()))
