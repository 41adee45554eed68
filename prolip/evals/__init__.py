"""Evaluation of embeddings, of any model, and of the checkpoints of a run."""

from prolip.evals.metrics import retrieval_metrics
from prolip.evals.retrieval import retrieval

__all__ = ["retrieval", "retrieval_metrics"]
