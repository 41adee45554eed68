"""Published benchmarks, from anybody's embeddings with the ids of their items."""

from prolip.evals.benchmarks.coco import coco, coco_rankings
from prolip.evals.benchmarks.flickr import flickr30k
from prolip.evals.benchmarks.hierarcaps import hierarcaps
from prolip.evals.benchmarks.pmrp import pmrp

__all__ = ["coco", "coco_rankings", "flickr30k", "hierarcaps", "pmrp"]
