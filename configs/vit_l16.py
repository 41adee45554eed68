"""ProLIP ViT-L/16 at 256 pixels on DataComp-1B, 1.28 billion samples; parameters over 8 devices.

Source: arXiv 2410.18857 with the recipe of its ViT-B/16; the size is that of its released model
configurations.
Command: prolip train --config vit_l16 --workdir runs/l16 --config.data.data_dir=WHERE
  --config.data.tokenizer.path=SENTENCEPIECE.model
Data: webdataset tars of DataComp-1B, as vit_b16_datacomp.py says.
Expect: no run of it is recorded here, and none is published with these steps.
"""

import dataclasses

from prolip import config
from prolip.models import sizes


def get_config():
    experiment = config.TrainConfig(
        total_steps=1_280_000_000 // 16_384,
        global_batch=16_384,
        model=dataclasses.replace(sizes.VIT_L16, heads="released", dtype="bfloat16", remat="full"),
        objective=config.ObjectiveConfig(form="released", reference_world_size=32),
        optimizer=config.OptimizerConfig(grad_clip_norm=1.0),
        mesh=config.MeshConfig(data=-1, fsdp=8),
        data=config.DataConfig(
            name="webdataset",
            train_split="train/*.tar",
            eval_split="held_out/*.tar",
            caption_features=("txt",),
            caption_weights=(1.0,),
            max_captions=1,
            tokenizer=config.TokenizerConfig(kind="sentencepiece", pad_id=1),
            num_workers=16,
        ),
        checkpoint=config.CheckpointConfig(every=2000, keep_latest=2, keep_every=50_000),
        eval=config.EvalConfig(evaluators=("retrieval", "uncertainty"), label_features=()),
        logging=config.LoggingConfig(every=50),
    )
    return config.to_config_dict(experiment)
