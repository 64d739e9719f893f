"""A second LRP, apart from the engine: the model itself runs, and autograd carries relevance in place of gradients.

Every function of torch that the model calls is replaced, by a `TorchFunctionMode`, by one whose backward pass is its
rule. It shares nothing with the engine: no graph, no merging, no data flow; a norm looks up the convolution whose
output it was given. EpsilonPlusFlat, float64.
"""

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

EPS = 1e-6


def stab(z):
    return torch.where(z < 0, z - EPS, z + EPS)  # two numbers in `where` would make a float32, 2.5e-9 off


def with_backward(forward, backward, *inputs):
    """Compute `forward(*inputs)`; relevance flows back by `backward(relevance, *inputs)`, one for each input."""

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *values):
            ctx.save_for_backward(*values)
            return forward(*values)

        @staticmethod
        def backward(ctx, relevance):
            with torch.no_grad(), torch._C.DisableTorchFunction():
                return backward(relevance, *ctx.saved_tensors)

    return Function.apply(*inputs)


def sum_to(values, shape):
    return values.sum_to_size(shape)


def linear_rule(function):
    """Epsilon of a linear function without bias: x * J^T (R / stab(J x))."""

    def backward(relevance, x):
        with torch.enable_grad():
            given = x.detach().requires_grad_()
            made = function(given)
            (spread,) = torch.autograd.grad(made, given, relevance / stab(made.detach()))
        return x * spread

    return lambda x: with_backward(function, backward, x)


def passing(function):
    return lambda x: with_backward(function, lambda r, x: r, x)


class SecondLrp(TorchFunctionMode):
    """Relevance in the place of gradients; `image` is where Flat applies."""

    def __init__(self, image):
        super().__init__()
        self.raw = {id(image)}
        self.made_by = {}
        self.alive = [image]

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        handler = HANDLERS.get(function)
        if handler is None:
            return function(*args, **kwargs)
        with torch._C.DisableTorchFunction():
            made = handler(self, *args, **kwargs)
        self.alive.append(made)
        return made

    def conv(self, x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        def run(v, w, b=None):
            return F.conv2d(v, w, b, stride, padding, dilation, groups)

        def spread(r, w):
            with torch.enable_grad():
                given = torch.zeros_like(x).requires_grad_()
                return torch.autograd.grad(run(given, w), given, r)[0]

        flat = id(x) in self.raw

        def backward(r, v):
            if flat:
                ones = torch.ones_like(weight)
                return spread(r / stab(run(torch.ones_like(v), ones)), ones)
            up, down, wp, wn = v.clamp(min=0), v.clamp(max=0), weight.clamp(min=0), weight.clamp(max=0)
            share = r / stab(run(up, wp, None if bias is None else bias.clamp(min=0)) + run(down, wn))
            return up * spread(share, wp) + down * spread(share, wn)

        made = with_backward(lambda v: run(v, weight, bias), backward, x)
        self.made_by[id(made)] = (x, weight, bias, (stride, padding, dilation, groups))
        return made

    def norm(self, x, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
        scale = (var + eps) ** -0.5 * (1 if weight is None else weight)
        shift = (0 if bias is None else bias) - mean * scale
        if id(x) in self.made_by:
            source, kernel, offset, geometry = self.made_by[id(x)]
            offset = 0 if offset is None else offset
            return self.conv(source, kernel * scale[:, None, None, None], offset * scale + shift, *geometry)
        view = (1, -1, 1, 1)
        return passing(lambda v: v * scale.view(view) + shift.view(view))(x)

    def dense(self, x, weight, bias=None):
        def backward(r, v):
            return v * ((r / stab(F.linear(v, weight, bias))) @ weight)

        return with_backward(lambda v: F.linear(v, weight, bias), backward, x)

    def add(self, a, b):
        def backward(r, x, y):
            share = r / stab(x + y)
            return sum_to(share * x, x.shape), sum_to(share * y, y.shape)

        return with_backward(lambda x, y: x + y, backward, a, b)

    def multiply(self, a, b):
        gate, signal = (a, b) if id(a) in self.gates else (b, a)
        if isinstance(gate, torch.Tensor) and gate.requires_grad:
            return with_backward(lambda g, s: g * s, lambda r, g, s: (torch.zeros_like(g), r), gate, signal)
        return passing(lambda v: v * gate)(signal)

    gates = frozenset()

    def sigmoid(self, x):
        made = x.sigmoid()
        self.gates = self.gates | {id(made)}
        return made

    def group_norm(self, x, groups, weight=None, bias=None, eps=1e-5):
        def parts(v):
            return v.reshape(len(v), groups, -1)

        sigma = (parts(x.detach()).var(-1, unbiased=False, keepdim=True) + eps) ** 0.5
        view = (1, -1, 1, 1)

        def linear(v):
            centred = parts(v) - parts(v).mean(-1, keepdim=True)
            return (centred / sigma).reshape(v.shape) * weight.view(view)

        def backward(r, v):
            with torch.enable_grad():
                given = v.detach().requires_grad_()
                made = linear(given)
                (spread,) = torch.autograd.grad(made, given, r / stab(made.detach() + bias.view(view)))
            return v * spread

        return with_backward(lambda v: linear(v) + bias.view(view), backward, x)


def linear_method(name):
    return lambda mode, x, *a, **k: linear_rule(lambda v: getattr(v, name)(*a, **k))(x)


HANDLERS = {
    F.conv2d: SecondLrp.conv,
    torch.conv2d: SecondLrp.conv,
    F.batch_norm: SecondLrp.norm,
    F.group_norm: SecondLrp.group_norm,
    F.linear: SecondLrp.dense,
    torch.Tensor.add: SecondLrp.add,
    torch.Tensor.mul: SecondLrp.multiply,
    torch.sigmoid: SecondLrp.sigmoid,
    torch.Tensor.sum: linear_method("sum"),
    torch.Tensor.mean: linear_method("mean"),
    F.rms_norm: lambda mode, x, *a, **k: passing(lambda v: F.rms_norm(v, *a, **k))(x),
    F.relu: lambda mode, x, inplace=False: passing(torch.relu)(x),
    F.silu: lambda mode, x, inplace=False: passing(F.silu)(x),
    F.leaky_relu: lambda mode, x, negative_slope=0.01, inplace=False: passing(
        lambda v: F.leaky_relu(v, negative_slope)
    )(x),
    F.avg_pool2d: lambda mode, x, *a, **k: linear_rule(lambda v: F.avg_pool2d(v, *a, **k))(x),
    F.adaptive_avg_pool2d: lambda mode, x, size: linear_rule(lambda v: F.adaptive_avg_pool2d(v, size))(x),
}


def explain(module, image, target, layer):
    """Return the logits, the channels' relevance of a convolution's (merged) output, and the heatmap."""
    found = {}
    image = image.detach().clone().requires_grad_()
    mode = SecondLrp(image)

    def note(part, given, made):
        found["output"] = made

    with mode:
        parts = dict(module.named_modules())
        handle = parts[layer].register_forward_hook(note)
        logits = module(image)
        handle.remove()
    start = torch.zeros_like(logits)
    start[0, target] = logits[0, target].detach()
    relevance, pixels = torch.autograd.grad(logits, [found["output"], image], start, allow_unused=True)
    return logits.detach(), relevance, pixels.sum(1)[0]
