"""A run as one HTML file: curves, metrics, examples. Read only from its workdir."""

from prolip.report.compare import compare
from prolip.report.page import write_report

__all__ = ["compare", "write_report"]
