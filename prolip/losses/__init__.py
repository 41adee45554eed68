"""Objectives over the global batch; each file is one idea."""

from prolip.losses.bottleneck import bottleneck
from prolip.losses.inclusion import inclusion
from prolip.losses.pairwise import ppcl, siglip
from prolip.losses.softmax import clip

__all__ = ["bottleneck", "clip", "inclusion", "ppcl", "siglip"]
