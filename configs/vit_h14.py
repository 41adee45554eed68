"""ProLIP ViT-H/14 on DataComp-1B; parameters over 8 devices, quick GELU, texts of 77 tokens.

Source: arXiv 2410.18857 and its released model configuration; the recipe is that of its ViT-B/16.
Command: prolip train --config vit_h14 --workdir runs/h14 --config.data.data_dir=WHERE
  --config.data.tokenizer.path=tokenizer.json
Data: webdataset tars of DataComp-1B, as vit_b16_datacomp.py says.
The tokenizer has at most 49,408 entries, as that of CLIP.
Expect: no run of it is recorded here.
"""

import dataclasses

from prolip import config
from prolip.models import sizes


def get_config():
    experiment = config.TrainConfig(
        total_steps=1_280_000_000 // 16_384,
        global_batch=16_384,
        model=dataclasses.replace(sizes.VIT_H14, heads="released", dtype="bfloat16", remat="full"),
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
            tokenizer=config.TokenizerConfig(kind="hf", cleaning="lower"),
            num_workers=16,
        ),
        checkpoint=config.CheckpointConfig(every=2000, keep_latest=2, keep_every=50_000),
        eval=config.EvalConfig(evaluators=("retrieval", "uncertainty"), label_features=()),
        logging=config.LoggingConfig(every=50),
    )
    return config.to_config_dict(experiment)
