"""(a) Which objective?"""

from prolip.experiments import columns, small
from prolip.experiments.study import Cell, Study

PAIRED = "config.objective.positives=paired"
NO_PPCL = "config.objective.ppcl=0"
# Of PCME++ and PCME: their own bottleneck, and nothing of ProLIP.
DISTANCES = (
    NO_PPCL,
    "config.objective.inclusion_text_text=0",
    "config.objective.inclusion_image_text=0",
    "config.objective.bottleneck=1e-4",
    "config.model.logit_scale_init=5",
    "config.model.logit_bias_init=5",
)
SLOTS = ("config.objective.siglip=0", "config.objective.sets=1")


def _cell(name: str, config: str, *changes: str) -> Cell:
    return Cell(name, config, (*small.emoji(), small.EVALUATORS, *changes))


def _sigmoid(name: str, *changes: str) -> Cell:
    return _cell(name, "emoji:siglip", *changes)


STUDY = Study(
    name="objectives",
    title="Objectives compared on emoji",
    question=(
        "Do objectives that know of many valid matches rank better than those that see pairs, and "
        "what do variances add? (arXiv 2505.19614, section 3.) All with the towers, data, steps "
        "and optimizer that were chosen for ProLIP; none is tuned."
    ),
    cells=(
        _cell("ProLIP", "emoji"),
        _cell("ProLIP, drawn pairs alone", "emoji", PAIRED),
        _sigmoid("SigLIP"),
        _sigmoid("SigLIP, drawn pairs alone", PAIRED),
        _cell("CLIP", "emoji:clip"),
        _cell("CLIP, drawn pairs alone", "emoji:clip", PAIRED),
        _cell("PCME++", "emoji", *DISTANCES, "config.objective.pcmepp=1"),
        _cell("PCME", "emoji", *DISTANCES, "config.objective.pcme=1"),
        _sigmoid("triplet", "config.objective.siglip=0", "config.objective.triplet=1"),
        _sigmoid("4 slots", *SLOTS, "config.model.slots.count=4"),
        *(
            _sigmoid(f"SigLIP, drawn pairs, {name}", PAIRED, f"config.objective.{change}")
            for name, change in {
                "false negatives weighted": "false_negatives=weight",
                "false negatives relabelled": "false_negatives=relabel",
                "noisy pairs re-weighted": "noisy_pairs=reweight",
            }.items()
        ),
    ),
    columns=(*columns.RETRIEVAL, columns.SPEARMAN, columns.SPEARMAN_MULTIPLE),
)
