"""Objectives over the global batch; each file is one idea."""

from prolip.losses.bottleneck import bottleneck
from prolip.losses.inclusion import inclusion
from prolip.losses.pairwise import ppcl, siglip
from prolip.losses.pcme import pcme
from prolip.losses.pcmepp import pcmepp
from prolip.losses.softmax import clip
from prolip.losses.triplet import triplet

__all__ = ["bottleneck", "clip", "inclusion", "pcme", "pcmepp", "ppcl", "siglip", "triplet"]
