"""No number of a text has more digits than float32 holds: real photos, explained in float32 and in float64."""

from pathlib import Path

import numpy as np
import pytest

from precompute.config import load_config
from precompute.explanations.attribution import explain_photo
from precompute.inputs import Inputs
from precompute.narratives.wording import find_wording
from precompute.records import Quantity

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
N_PHOTOS = 2


def explained(precision, folder):
    """Explain photos that nothing was mined of, one target each."""
    overrides = [f"relevance.precision={precision}", "explaining.max_targets=1"]
    config = load_config(ROOT / "data/imagenet-sample.toml", overrides)
    inputs = Inputs(config, folder)
    for index in np.linspace(0, len(inputs.dataset) - 1, N_PHOTOS + 2).astype(int)[1:-1].tolist():
        explanation, _ = explain_photo(
            inputs.dataset.load(index),
            engine=inputs.engine,
            layers=inputs.explained_layers,
            class_names=inputs.class_names,
            config=inputs.config,
            photo_name=inputs.dataset.names[index],
            photo_digest="",
            label="",
        )
        yield explanation


def quantities(explanation):
    """List what texts print of an explanation, by what it is of."""
    for target in explanation.targets:
        yield ("logit",), Quantity("logit", (), target.logit, "score")
        yield ("probability",), Quantity("probability", (), target.probability, "probability")
        for layer in target.layers:
            yield ("sum", layer.layer), Quantity("relevance_sum", (), layer.relevance_sum, "score")
            for item in layer.concepts:
                for name, unit in (("share", "share"), ("relevance", "score"), ("activation", "activation")):
                    yield (name, item.concept), Quantity(name, (), getattr(item, name), unit)


def last_digit(printed):
    """Return what one unit of the last digit printed is worth, in units of the number printed."""
    mantissa, _, exponent = printed.partition("×10")
    raised = exponent.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
    return 10.0 ** (int(raised or 0) - len(mantissa.partition(".")[2]))


@pytest.mark.slow  # half a minute; `make test-all`
@pytest.mark.skipif(not SHARED.exists(), reason="the development photos and networks are not here (../shared)")
def test_every_digit_that_is_printed_is_one_that_float32_holds(tmp_path):
    wording, n_numbers = find_wording("en", "expert", 1), 0
    for rough, exact in zip(explained("float32", tmp_path), explained("float64", tmp_path), strict=True):
        known = dict(quantities(exact))
        for key, quantity in quantities(rough):
            printed = wording.printed(quantity).replace("\u00a0", "").replace(",", "").replace(" ", "")
            if printed[0] in "<>":
                continue
            scale = 100 if printed.endswith("%") else 1
            unit = last_digit(printed.removesuffix("%")) / scale
            assert abs(quantity.value - known[key].value) < unit / 2, (key, printed, known[key].value)
            n_numbers += 1
    assert n_numbers > 20 * N_PHOTOS
