"""The shipped emoji with small towers: ProLIP, and its twins `emoji:siglip` and `emoji:clip`.

`emoji:adapter` gives variances to a trained twin, whose means stay as they are:
prolip train --config emoji:adapter --config.init_from=runs/siglip --workdir runs/adapted

Source: objectives of arXiv 2410.18857, 2303.15343 and 2103.00020, on 1,582 training images with
captions by Unicode's annotators. The twins have the same towers, data, steps and optimizer.
Command: prolip train --config emoji --workdir runs/emoji
Expect: BENCHMARKS.md, "Emoji".
"""

import dataclasses

from prolip import config
from prolip.models import sizes

# A caption such as "flags" matches a tenth of a batch: with the drawn pairs alone as positives,
# most of its matches would be trained as mismatches.
POSITIVES = "extended"
OFF = dict(ppcl=0.0, bottleneck=0.0, inclusion_image_text=0.0, inclusion_masked=0.0)
TWINS = {
    "siglip": config.ObjectiveConfig(siglip=1.0, positives=POSITIVES, **OFF),
    "clip": config.ObjectiveConfig(clip=1.0, positives=POSITIVES, **OFF),
}
PROLIP = config.ObjectiveConfig(
    positives=POSITIVES,
    # With the published weights the variance of a text falls with the number of its matches.
    # A text inside the next more general one makes it grow with them.
    inclusion_text_text=0.1,
    inclusion_image_text=1e-3,
    inclusion_masked=0.0,
    inclusion_scale=10.0,
    bottleneck=1e-3,
)


def get_config(objective="prolip"):
    experiment = config.TrainConfig(
        total_steps=2700,
        global_batch=128,
        model=dataclasses.replace(sizes.EMOJI, log_var_init=-6.0),
        objective=PROLIP,
        optimizer=config.OptimizerConfig(
            name="muon", learning_rate=1e-3, muon_scale=3.0, warmup_steps=200, grad_clip_norm=1.0
        ),
        data=config.DataConfig(
            name="emoji",
            caption_weights=(0.2, 0.5, 0.2, 0.1),
            # Colour tells emoji apart, and they are all upright and centred: no mirrors, and slight
            # crops only. Without blends the training loss comes near zero on 1,582 images.
            augment=config.AugmentConfig(
                crop_scale=(0.9, 1.0),
                crop_ratio=(0.9, 1.1),
                jitter_probability=0.0,
                grey_probability=0.0,
                mixup=0.5,
            ),
            cache=True,
            num_threads=2,
        ),
        checkpoint=config.CheckpointConfig(every=540, keep_latest=2, keep_every=540),
    )
    if objective in TWINS:
        model = dataclasses.replace(experiment.model, heads="deterministic")
        experiment = dataclasses.replace(experiment, model=model, objective=TWINS[objective])
    elif objective == "adapter":
        experiment = dataclasses.replace(
            experiment,
            total_steps=600,
            model=dataclasses.replace(experiment.model, heads="adapter"),
            optimizer=config.OptimizerConfig(
                frozen="towers", learning_rate=3e-3, warmup_steps=50, grad_clip_norm=1.0
            ),
            checkpoint=config.CheckpointConfig(every=200),
        )
    elif objective != "prolip":
        raise ValueError(f"emoji:{objective}: choose prolip, adapter, {', '.join(TWINS)}")
    return config.to_config_dict(experiment)
