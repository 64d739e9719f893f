"""What counts as a chain: everything that is computed must be seen, and everything else is refused."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import alexnet, googlenet, resnet18, squeezenet1_0, vgg11, vgg13_bn

from precompute.errors import UnsupportedModel
from precompute.network import steps as chain
from tests import nets

SHAPE = (3, 16, 16)


class Classifier(nn.Module):
    """A body and a head, with anything at all computed between them."""

    def __init__(self, between=lambda values: values.flatten(1), head=None):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4))
        self.head = head or nn.Linear(64, 5)
        self.between = between

    def forward(self, images):
        return self.head(self.between(self.body(images)))


def run(steps, values):
    for step in steps:
        values = chain.run_step(step, values)
    return values


@pytest.mark.parametrize("factory", nets.TINY)
def test_the_chain_computes_what_the_module_computes(factory):
    module = nets.tiny(factory)
    images = torch.randn(4, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    difference = (run(chain.flatten(module, SHAPE), images) - module(images)).abs().max()
    # the remainder of a merged BatchNorm, 1 / sqrt(1 + eps), is kept as the reference canonizer leaves it
    assert difference <= (1e-4 if factory is nets.normalised else 1e-12) * module(images).abs().max()


@pytest.mark.parametrize("factory", [vgg11, vgg13_bn, alexnet])
def test_torchvision_chains_qualify(factory):
    assert chain.qualifies(factory(num_classes=5).eval(), (3, 64, 64), ["features.0"]) == ""


def test_a_flattening_in_the_forward_is_found():
    kinds = [type(step) for step in chain.flatten(Classifier().eval(), SHAPE)]
    assert kinds == [chain.Convolution, chain.Rectifier, chain.MaxPooling, chain.Flattening, chain.Dense]


@pytest.mark.parametrize(
    "between",
    [
        lambda values: F.relu(values - 0.1).flatten(1),
        lambda values: 2 * values.flatten(1),
        lambda values: values.transpose(1, 2).flatten(1),
        lambda values: F.dropout(values, 0.5, training=True).flatten(1),
        lambda values: values.flatten(1) + 1e-6,
    ],
)
def test_anything_computed_between_the_leaves_is_refused(between):
    assert "not sequential: head" in chain.qualifies(Classifier(between).eval(), SHAPE)


@pytest.mark.parametrize("factory", [resnet18, squeezenet1_0, lambda: googlenet(init_weights=False)])
def test_branching_networks_are_refused(factory):
    assert chain.qualifies(factory().eval(), (3, 64, 64)) != ""


class Softened(Classifier):
    def forward(self, images):
        return super().forward(images).softmax(1)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.Sequential(nn.Flatten(), nn.Linear(768, 5))

    def forward(self, images):
        return self.head(self.body(self.body(images)))


class Swapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.head, self.body = nn.Linear(3 * 256, 5), nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, images):
        return self.head(self.body(images).flatten(1))


class Spare(Classifier):
    def __init__(self):
        super().__init__()
        self.auxiliary = nn.Linear(4, 4)


class Odd(nn.Conv2d):
    def forward(self, images):
        return super().forward(images) * 2


def sequential(*parts):
    return nn.Sequential(*parts, nn.Flatten(), nn.LazyLinear(5))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (Softened(), "the output does not take"),
        (Twice(), "body runs more than once"),
        (Swapped(), "not registered in the order"),
        (Spare(), "auxiliary is never used"),
        (sequential(Odd(3, 4, 3)), "0 is a Odd"),
        (sequential(nn.Conv2d(3, 4, 3), nn.GELU()), "1 is a GELU"),
        (sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)), "does not directly follow"),
        (sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)), "no running statistics"),
        (sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")), "pads by 'reflect'"),
        (sequential(nn.Conv2d(3, 4, 2, padding="same")), "not symmetric"),
        (nn.Sequential(nn.Conv2d(3, 5, 3)), "the output is"),
        (nn.Sequential(nn.ReLU(), nn.Flatten()), "no parameters"),
        (nn.Sequential(nn.Linear(7, 5), nn.Flatten()), "does not run on"),
    ],
)
def test_the_reason_is_told(module, reason):
    if isinstance(module, nn.Sequential) and isinstance(module[-1], nn.LazyLinear):
        module(torch.zeros(2, *SHAPE))
    assert reason in chain.qualifies(module.eval(), SHAPE)


def test_hooks_and_patched_methods_are_refused():
    hooked, patched = Classifier().eval(), Classifier().eval()
    hooked.body[0].register_forward_hook(lambda module, given, made: made + 1)
    patched.body[0].forward = lambda images: nn.Conv2d.forward(patched.body[0], images) + 1
    for module in (hooked, patched):
        assert "another output than the model itself" in chain.qualifies(module, SHAPE)


def test_a_layer_that_is_no_convolution_is_refused():
    assert "body.1 is no convolution" in chain.qualifies(Classifier().eval(), SHAPE, ["body.0", "body.1"])


def test_a_module_in_training_mode_is_read_as_in_evaluation_and_left_alone():
    torch.manual_seed(0)
    module = nets.normalised().train()
    before = module[1].running_mean.clone()
    assert chain.qualifies(module, SHAPE) == ""
    assert module.training
    assert torch.equal(module[1].running_mean, before)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def test_half_precision_weights_are_refused():
    with pytest.raises(UnsupportedModel, match="load the model in float32"):
        chain.flatten(Classifier().half(), SHAPE)
