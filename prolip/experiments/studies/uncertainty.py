"""(g) When does text uncertainty grow with the number of valid matches?"""

from prolip.experiments import columns, small
from prolip.experiments.study import Cell, Column, Study

# Of arXiv 2410.18857, as the released scripts have them.
PUBLISHED = (
    "config.objective.inclusion_text_text=0",
    "config.objective.inclusion_image_text=1e-7",
    "config.objective.inclusion_masked=1e-3",
    "config.objective.inclusion_scale=1000",
    "config.objective.bottleneck=1e-4",
    "config.model.log_var_init=-10",
)
# Changes of the recipe, one at a time.
FACTORS: dict[str, tuple[str, ...]] = {
    "the recipe": (),
    "no text in text": ("config.objective.inclusion_text_text=0",),
    "scale 1000": ("config.objective.inclusion_scale=1000",),
    "released form": ("config.objective.form=released",),
    "masked views": ("config.objective.inclusion_masked=1e-3",),
    "log-variance from -10": ("config.model.log_var_init=-10",),
    "no bottleneck": ("config.objective.bottleneck=0",),
    "drawn pairs alone": ("config.objective.positives=paired",),
    "batch of 32": ("config.global_batch=32",),
    "one text layer": ("config.model.text.depth=1",),
    "published weights": PUBLISHED,
    "published weights, 32-fold": (*PUBLISHED, "config.objective.reference_world_size=32"),
}
DATA = {"emoji": small.emoji(), "shapes": small.shapes()}
EMOJI_ALONE = ("released form", "masked views", "no bottleneck")

STUDY = Study(
    name="uncertainty",
    title="When does text uncertainty grow with the number of matches?",
    question=(
        "A caption that fits many images should be wide (arXiv 2410.18857). It is not so by "
        "itself: which parts of the recipe make it so, on emoji and on shapes? Each row changes "
        "one of them."
    ),
    cells=tuple(
        Cell(f"{data}: {name}", data, (*common, small.EVALUATORS, *changes))
        for data, common in DATA.items()
        for name, changes in FACTORS.items()
        if data == "emoji" or name not in EMOJI_ALONE
    ),
    columns=(
        columns.SPEARMAN,
        columns.SPEARMAN_MULTIPLE,
        columns.INSIDE,
        columns.MAP_AT_R,
        columns.MAP_ALL,
        Column("train/positives_per_image", "positives of an image in its batch", "", 1),
    ),
)
