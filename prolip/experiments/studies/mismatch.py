"""(d) How far are unannotated matches pushed away in training?"""

from prolip.experiments import columns, small
from prolip.experiments.study import Cell, Column, Study

# Captions of how many of six factors -> weight of each caption feature.
LEVELS = {
    "six factors": (1, 0, 0, 0),
    "three": (0, 1, 0, 0),
    "two": (0, 0, 1, 0),
    "one": (0, 0, 0, 1),
}
POINTS = (
    "config.model.heads=deterministic",
    "config.objective.ppcl=0",
    "config.objective.bottleneck=0",
    "config.objective.inclusion_text_text=0",
    "config.objective.inclusion_image_text=0",
)
PAIRED, EXTENDED = (f"config.objective.positives={name}" for name in ("paired", "extended"))
LOSSES = {
    "CLIP, drawn pairs": (*POINTS, "config.objective.clip=1", PAIRED),
    "CLIP, all known matches": (*POINTS, "config.objective.clip=1", EXTENDED),
}
COMMON = (
    *small.shapes(120),
    "config.objective.measure_mismatch=True",
    "config.eval.evaluators=('retrieval',)",
)

STUDY = Study(
    name="mismatch",
    title="The pull of unannotated matches, as they grow",
    question=(
        "A loss that knows the drawn pairs alone pushes every other valid match away: the more "
        "there are (K), the further its gradient is from the one that knows them all (arXiv "
        "2505.19614, section 3.1). Measured while training on shapes, with captions of fewer and "
        "fewer factors; every match of a batch is known."
    ),
    cells=tuple(
        Cell(
            f"{loss}, captions of {level}",
            "shapes",
            (*COMMON, f"config.data.caption_weights={tuple(map(float, weights))}", *changes),
        )
        for loss, changes in LOSSES.items()
        for level, weights in LEVELS.items()
    ),
    columns=(
        Column("train/mismatch/positives", "K: matches of an image in its batch", "", 1),
        Column("train/mismatch/push", "weight that pushes from unannotated ones", ""),
        Column("train/mismatch/gradient", "distance from the ideal gradient", ""),
        columns.MAP_ALL,
    ),
)
