"""Batch normalization folded into the convolutions before it."""

from __future__ import annotations

import copy

import torch
from torch import nn

from yolokkn.models.blocks import ConvBnAct
from yolokkn.models.network import Network


def fuse(network: Network) -> Network:
    """Return a copy in evaluation mode whose convolutions have taken in their batch normalizations.

    The outputs are those of the network in evaluation mode, up to rounding (about 1e-5).
    """
    fused = copy.deepcopy(network).eval()
    for module in fused.modules():
        if isinstance(module, ConvBnAct) and isinstance(module.norm, nn.modules.batchnorm._BatchNorm):
            module.conv = _folded(module.conv, module.norm)
            module.norm = nn.Identity()
    return fused


def _folded(conv: nn.Conv2d, norm: nn.modules.batchnorm._BatchNorm) -> nn.Conv2d:
    gain = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    weight = conv.weight.double() * gain[:, None, None, None]
    bias = norm.bias.double() - norm.running_mean.double() * gain
    if conv.bias is not None:
        bias = bias + conv.bias.double() * gain
    conv.weight = nn.Parameter(weight.detach().to(conv.weight.dtype), requires_grad=conv.weight.requires_grad)
    conv.bias = nn.Parameter(bias.detach().to(torch.promote_types(conv.weight.dtype, torch.float16)))
    return conv
