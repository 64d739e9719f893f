"""Models that would be mis-explained are refused with the reason; the others pass."""

import pytest
import torch
from torch import nn
from torchvision import models

from precompute.errors import UnsupportedModel
from precompute.relevance.soundness import check_sound


@pytest.mark.parametrize("name", ["vgg11", "vgg16_bn", "alexnet", "squeezenet1_0", "resnet18", "resnet50"])
def test_treated_models_pass(name):
    check_sound(models.get_model(name).eval(), name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("densenet121", "BatchNorm2d that does not directly follow"),
        ("mobilenet_v3_small", "Hardswish"),
        ("efficientnet_b0", "SiLU"),
        ("convnext_tiny", "permute"),
        ("shufflenet_v2_x0_5", "outside a module"),
    ],
)
def test_models_without_rules_are_refused(name, reason):
    with pytest.raises(UnsupportedModel, match=reason):
        check_sound(models.get_model(name).eval(), name)


class Gate(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.gate = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)

    def forward(self, images):
        return self.conv(images) * self.gate(images)


class Branching(nn.Module):
    def forward(self, images):
        return images if images.sum() > 0 else -images


class HiddenMean(nn.Module):
    def forward(self, images):
        return images.mean((2, 3))


@pytest.mark.parametrize(("module", "reason"), [(Gate(), "mul"), (Branching(), "traced"), (HiddenMean(), "mean")])
def test_hidden_operations_are_refused(module, reason):
    with pytest.raises(UnsupportedModel, match=reason):
        check_sound(module.eval(), "custom")


def test_a_functional_relu_is_right():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

        def forward(self, images):
            return self.head(torch.flatten(nn.functional.relu(self.conv(images)), 1))

    check_sound(Functional().eval(), "functional")
