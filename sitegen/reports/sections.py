"""Sections that every report has: method, limits, provenance, and how far to trust the atlas.

Owns their words. Numbers are printed by `precompute.printing.numbers`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from precompute.printing.numbers import count, fixed, percent
from precompute.records import LayerTrust, TrustReport
from precompute.records.reported import Block, Cell, Figure, Heading, Line, Listing, Role, Run, Table, Words
from sitegen.data.catalogue import Catalogue
from sitegen.links import slug
from sitegen.pages.trust import ORDER_WORDS, verdict

from .album import Album
from .drawing import LOOKS, Curve, curves

SHORT_DIGEST = 12


def line(text: str) -> Line:
    """Make a line of plain text."""
    return (Run(text),)


def plain(text: str, role: Role = "body") -> Words:
    """Make a paragraph of plain text."""
    return Words(line(text), role)


def strong(text: str) -> Run:
    """Make a part of a line that stands out."""
    return Run(text, "strong")


def heading(text: str, level: int = 1, key: str = "") -> Heading:
    """Make a heading; `key` is what its address is made from, where its text could stand twice."""
    return Heading(line(text), 2 if level == 2 else 1, slug(key or text))


def cells(*values: str | Cell) -> tuple[Cell, ...]:
    """Make a row of a table."""
    return tuple(item if isinstance(item, Cell) else Cell(line(item)) for item in values)


def code(text: str) -> Cell:
    """Make a cell of a digest, a version or a path of a module."""
    return Cell((Run(text, "code"),))


# --- method and limits -----------------------------------------------------------------------------------------------


def method_section(catalogue: Catalogue) -> list[Block]:
    """Say in half a page how the numbers came about."""
    rules = catalogue.rules_told
    return [
        heading("Method"),
        plain(
            "A classifier ends in one number for each class, the logit. Concept Relevance Propagation passes that "
            f"number back through the network, layer by layer, in proportion to what each unit contributed (here by "
            f"the rules {rules}), until it reaches the pixels. Relevance is signed: positive relevance spoke "
            "for the class, negative relevance against it."
        ),
        plain(
            "A concept is one channel of one layer. Its share is its relevance divided by the absolute relevance of "
            "all channels that cross the network at that depth. Shares are never rescaled to the concepts shown; the "
            "coverage says how much those carry. To see where a concept lies in a photo, relevance is passed back "
            "with everything masked at its layer except this one channel."
        ),
        plain(
            "A concept’s reference images are the samples of the data set in which it carried most relevance, cut to "
            "the region that can affect its strongest neuron. Its name is a hypothesis, given once from these images "
            "and never from a prediction. Sentences tell facts of the table alone; the program words them and prints "
            "every number."
        ),
    ]


LIMITS = (
    (
        "No cause.",
        "A share says how much of the score passed through a channel, not what the score would be without it. Where "
        "channels were switched off, this report says so, and what happened.",
    ),
    (
        "No verdict on the world.",
        "That the network used a concept does not make it a property of the class: it may be a background, a mark or "
        "a habit of photographers.",
    ),
    (
        "No certain names.",
        "A name sums up a handful of images. Trust the images before the name; some channels react to several things.",
    ),
    (
        "No fine outlines.",
        "Heatmaps are coarse. Those of one class share a scale; those of reference images are each scaled to their "
        "own strongest place.",
    ),
    (
        "No other data.",
        "All of this was seen in one data set. A concept that it hardly calls on looks silent or odd here.",
    ),
    (
        "No clearance.",
        "A report like this can found a suspicion or answer one. Alone it cannot show that a network is safe, fair or "
        "right.",
    ),
)


def limits_section(further: Iterable[tuple[str, str]] = ()) -> list[Block]:
    """Say what the report does not show; `further` are the limits of this one, told first."""
    items = tuple((strong(first), Run(f" {rest}")) for first, rest in (*further, *LIMITS))
    return [heading("What this does not show"), Listing(items)]


# --- trust -----------------------------------------------------------------------------------------------------------


def trust_section(title: str, measured: Iterable[Block]) -> list[Block]:
    """Say how far to trust what the report says: what was measured of it, or that nothing was."""
    blocks = list(measured) or [plain("Nothing was measured of how far the shares of this atlas can be trusted.")]
    return [heading(title, key="trust"), *blocks]


def layer_trust(catalogue: Catalogue, album: Album, layer: str) -> list[Block]:
    """Say how well the shares of a layer tell what the network needs; nothing where that was not measured."""
    report = catalogue.source.trust
    found = next((item for item in report.layers if item.layer == layer), None) if report else None
    if report is None or found is None:
        return []
    return [
        plain(f"{verdict(found)} in {layer}. {_correlation_words(found)}"),
        *_curves(report, found, album),
    ]


def _correlation_words(layer: LayerTrust) -> str:
    if layer.correlation is None:
        return ""
    return (
        f"Over {count(layer.n_samples)} images of the data set, the rank correlation between a channel’s share and the "
        f"drop of the logit when it alone is off is {fixed(layer.correlation)} ± {fixed(layer.correlation_error)} "
        f"(with the activation in place of the share: {fixed(layer.activation_correlation)}; after ± stands the "
        "standard error)."
    )


def _curves(report: TrustReport, layer: LayerTrust, album: Album) -> list[Block]:
    counts = report.counts[: max((len(curve.left) for curve in layer.curves), default=0)]
    if len(counts) < 2:
        return []
    drawn = [Curve(ORDER_WORDS[curve.order], curve.left, *LOOKS[curve.order]) for curve in layer.curves]
    content = curves(counts, drawn, "channels switched off", "what is left of the probability")
    said = "; ".join(f"{ORDER_WORDS[curve.order]}: on average {percent(curve.area)} left" for curve in layer.curves)
    figure = Figure(
        album.add(content, "svg"),
        f"Curves of what is left of the class’s probability as up to {count(counts[-1])} channels of {layer.layer} are "
        f"switched off. {said}.",
        line(
            f"What is left of the probability (1 is all) as channels of {layer.layer} are switched off. Where the "
            "largest shares are taken first it has to fall fastest."
        ),
        0.82,
    )
    return [figure]


# --- provenance ------------------------------------------------------------------------------------------------------

_ROWS = (
    ("atlas", "Atlas"),
    ("program", "Program"),
    ("program_code", "Program code"),
    ("weights", "Weights of the network"),
    ("data", "Data set"),
    ("config", "Settings"),
    ("mining", "What was mined"),
    ("product:atlas", "Tables (atlas.h5)"),
    ("product:references", "Reference images (references.h5)"),
    ("product:names", "Names (names.jsonl)"),
    ("product:scores", "Tests of names (scores.jsonl)"),
    ("product:truth", "Known truth (truth.json)"),
    ("product:trust", "Trust report (trust.json)"),
    ("explanation", "Numbers of the explanation"),
    ("photo", "Photo"),
)
_WORDS = dict(_ROWS)


def provenance_section(catalogue: Catalogue, made_from: Mapping[str, str]) -> list[Block]:
    """List what the report was made from."""
    provenance = catalogue.atlas.provenance
    order = [key for key, _ in _ROWS if key in made_from] + sorted(made_from.keys() - _WORDS.keys())
    rows = [cells(_WORDS.get(key, key), code(made_from[key])) for key in order]
    packages = provenance.get("packages", {})
    versions = ", ".join(f"{name} {version}" for name, version in sorted(packages.items())) if packages else ""
    said = [
        f"The atlas was made on {provenance.get('date', '–')} with the engine {provenance.get('engine', '–')} in "
        f"{provenance.get('precision', '–')}, seed {provenance.get('seed', '–')}."
    ]
    if versions:
        said.append(f"Packages: {versions}.")
    said.append(
        "Digests are SHA-256. The same list, and everything that this report says, is embedded in it as record.json."
    )
    header = ("Made from", "Digest or version")
    table = Table(line("What this report was made from"), header, tuple(rows), (0.0, 1.0))
    return [heading("Provenance"), plain(" ".join(said)), table]
