"""Drawn shapes with small towers: captions of known truth, and of known misalignment.

`shapes:full` has right captions of every generality; `shapes:mention_1` to `shapes:mention_5` have
captions that never mention some factors, `shapes:wrong_1` to `shapes:wrong_5` captions that get
some factors wrong half of the time. `probe/<factor>/top1` says which factors the means know.

Source: selection and perturbation bias of arXiv 2504.10143, with the objective of arXiv 2410.18857.
Command: prolip train --config shapes --workdir runs/shapes
Expect: BENCHMARKS.md, "Shapes".
"""

import dataclasses

from prolip import config
from prolip.data.shapes.factors import FACTORS, LEVELS
from prolip.models import sizes

VARIANTS = (
    "full",
    *(f"{knob}_{k}" for knob in ("mention", "wrong") for k in range(1, len(FACTORS))),
)
# Captions: up to 19 words.
MODEL = dataclasses.replace(
    sizes.EMOJI,
    image=dataclasses.replace(sizes.EMOJI.image, patch=16),
    text=dataclasses.replace(sizes.EMOJI.text, length=20),
    log_var_init=-6.0,
)


def get_config(variant="full"):
    if variant not in VARIANTS:
        raise ValueError(f"shapes:{variant}: choose {', '.join(VARIANTS)}")
    return config.to_config_dict(
        config.TrainConfig(
            total_steps=2000,
            global_batch=128,
            model=MODEL,
            objective=config.ObjectiveConfig(
                # A caption such as "red shape" matches an eighth of the batch.
                positives="extended",
                inclusion_text_text=0.1,
                inclusion_image_text=1e-3,
                inclusion_masked=0.0,
                inclusion_scale=10.0,
                bottleneck=1e-3,
            ),
            optimizer=config.OptimizerConfig(
                name="muon",
                learning_rate=1e-3,
                muon_scale=3.0,
                warmup_steps=200,
                grad_clip_norm=1.0,
            ),
            data=config.DataConfig(
                name=f"shapes/{variant}",
                caption_features=tuple(LEVELS),
                caption_weights=(0.25, 0.25, 0.25, 0.25),
                # Position and size are factors: pictures stay as they are drawn.
                augment=config.AugmentConfig(
                    crop_scale=(1.0, 1.0),
                    crop_ratio=(1.0, 1.0),
                    jitter_probability=0.0,
                    grey_probability=0.0,
                ),
                cache=True,
                num_threads=2,
            ),
            checkpoint=config.CheckpointConfig(every=500, keep_latest=2),
            eval=config.EvalConfig(
                evaluators=(
                    *("retrieval", "zero_shot", "uncertainty"),
                    *("abstention", "calibration", "probe", "multiplicity"),
                ),
                label_features=tuple(FACTORS),
                templates=("{}",),
            ),
        )
    )
