"""LongProLIP: the published ViT-B/16 fine-tuned for texts of 256 tokens.

Source: arXiv 2503.08048, with the values of its released script; positions 21 to 64 of the texts
are stretched to 256.
Command: prolip train --config long_prolip --workdir runs/long --config.data.name=YOURS
Data: images with long captions, in TFDS as the keys below say, or as docs/data.md tells. With
--config.data.caption_sampling=range parts of the captions are drawn as well.
Expect: no run of it is recorded here.
"""

import dataclasses

from prolip import config
from prolip.models import sizes


def get_config(init_from="SanghyukChun/ProLIP-ViT-B-16-DC-1B-12_8B"):
    experiment = config.TrainConfig(
        init_from=init_from,
        total_steps=10_000,
        global_batch=1024,
        # As the published weights are wired and trained.
        model=dataclasses.replace(
            sizes.VIT_B16_LONG, heads="released", dtype="bfloat16", remat="dots"
        ),
        objective=config.ObjectiveConfig(
            inclusion_scale=10.0, inclusion_eps=-100.0, form="released"
        ),
        optimizer=config.OptimizerConfig(learning_rate=1e-6, warmup_steps=200, weight_decay=0.01),
        data=config.DataConfig(
            name="long_captions",
            caption_features=("captions",),
            caption_weights=(1.0,),
            num_workers=8,
        ),
        checkpoint=config.CheckpointConfig(every=500, keep_latest=2),
        eval=config.EvalConfig(evaluators=("retrieval", "uncertainty"), label_features=()),
    )
    return config.to_config_dict(experiment)
