"""Columns that several studies have."""

from prolip.experiments.study import Column

R_AT_1 = Column("retrieval/text_to_image_multiple/recall@1", "R@1, several matches")
MAP_AT_R = Column("retrieval/text_to_image_multiple/map_at_r", "mAP@R, several matches")
R_PRECISION = Column("retrieval/text_to_image_multiple/r_precision", "R-Precision, several matches")
MAP_ALL = Column("retrieval/text_to_image/map_at_r", "mAP@R, all captions")
IMAGE_MAP = Column("retrieval/image_to_text/map_at_r", "image → text mAP@R")
SPEARMAN = Column(
    "uncertainty/text/matches_spearman", "Spearman of text uncertainty and matches", digits=2
)
SPEARMAN_MULTIPLE = Column(
    "uncertainty/text/matches_spearman_multiple", "the same, several matches", digits=2
)
INSIDE = Column(
    "uncertainty/inclusion_auc", "inclusion of images in a caption, AUC (chance: 0.5)", digits=2
)

RETRIEVAL = (R_AT_1, R_PRECISION, MAP_AT_R, MAP_ALL, IMAGE_MAP)
UNCERTAINTY = (SPEARMAN, SPEARMAN_MULTIPLE, INSIDE)
