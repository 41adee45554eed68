"""ProLIP on the shipped emoji, with tiny towers.

Source: objective of arXiv 2410.18857 on 1,582 training images, captions by Unicode's annotators.
Command: prolip train --config emoji_prolip --workdir runs/emoji_prolip
"""

from prolip import config
from prolip.models import sizes


def get_config():
    return config.to_config_dict(
        config.TrainConfig(
            total_steps=3000,
            global_batch=128,
            model=sizes.EMOJI,
            optimizer=config.OptimizerConfig(
                learning_rate=1e-3, warmup_steps=200, grad_clip_norm=1.0
            ),
            data=config.DataConfig(name="emoji", cache=True, num_threads=2),
            checkpoint=config.CheckpointConfig(every=500, keep_latest=2),
        )
    )
