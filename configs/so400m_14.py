"""ProLIP SO400M/14 that begins with SigLIP towers, on DataComp-1B; parameters over 8 devices.

Source: arXiv 2410.18857 (the published SO400M/14 was fine-tuned from SigLIP, arXiv 2303.15343); the
learning rate, warm-up and steps are a choice of ours.
Command: prolip train --config so400m_14 --workdir runs/so400m --config.init_from=WEIGHTS
  --config.data.data_dir=WHERE --config.data.tokenizer.path=SENTENCEPIECE.model
  WEIGHTS is left to you: a workdir, a directory in the Hub's layout, or a Hub id, of a model of
  this size. Without it the towers begin at random.
Data: webdataset tars of DataComp-1B, as vit_b16_datacomp.py says.
Expect: 1.28 billion samples of the published run give 79.3 % zero-shot on ImageNet by its model
card. No run of this file is recorded here.
"""

import dataclasses

from prolip import config
from prolip.models import sizes


def get_config():
    experiment = config.TrainConfig(
        total_steps=1_280_000_000 // 16_384,
        global_batch=16_384,
        model=dataclasses.replace(
            sizes.SO400M_14, heads="released", dtype="bfloat16", remat="full"
        ),
        objective=config.ObjectiveConfig(form="released", reference_world_size=32),
        optimizer=config.OptimizerConfig(
            learning_rate=1e-4, warmup_steps=2_000, grad_clip_norm=1.0
        ),
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
