"""ViT-B/16 on CC12M on a single node: ProLIP, and its twins `cc12m:siglip` and `cc12m:clip`.

Source: objectives of arXiv 2410.18857, 2303.15343 and 2103.00020 on the pairs of arXiv 2102.08981;
batch, steps and learning rate are a choice of ours for one node of 8 devices.
Command: prolip train --config cc12m --workdir runs/cc12m --config.data.data_dir=WHERE
  --config.data.tokenizer.path=SENTENCEPIECE.model
Data: the 2,176 webdataset tars of CC12M below data_dir, read in place; the last eight are held out
to evaluate. Tars of your own download have other names: set data.train_split and data.eval_split,
as docs/data.md says. Of the 12.4 million addresses some fail to load, more each year: keep the tars
of what you trained on.
Expect: no run of it is recorded here.
"""

import dataclasses

from prolip import config
from prolip.models import sizes

BATCH, EPOCHS, PAIRS = 4096, 32, 10_000_000
OFF = dict(ppcl=0.0, bottleneck=0.0, inclusion_image_text=0.0, inclusion_masked=0.0)
OBJECTIVES = {
    # The auxiliary weights that the published runs had in effect.
    "prolip": config.ObjectiveConfig(reference_world_size=32),
    "siglip": config.ObjectiveConfig(siglip=1.0, **OFF),
    "clip": config.ObjectiveConfig(clip=1.0, **OFF),
}


def get_config(objective="prolip"):
    if objective not in OBJECTIVES:
        raise ValueError(f"cc12m:{objective}: choose {', '.join(OBJECTIVES)}")
    heads = "paper" if objective == "prolip" else "deterministic"
    experiment = config.TrainConfig(
        total_steps=EPOCHS * PAIRS // BATCH,
        global_batch=BATCH,
        model=dataclasses.replace(sizes.VIT_B16, heads=heads, dtype="bfloat16", remat="dots"),
        objective=OBJECTIVES[objective],
        optimizer=config.OptimizerConfig(warmup_steps=2_000),
        data=config.DataConfig(
            name="webdataset",
            train_split="cc12m-train-{0000..2167}.tar",
            eval_split="cc12m-train-{2168..2175}.tar",
            caption_features=("txt",),
            caption_weights=(1.0,),
            max_captions=1,
            tokenizer=config.TokenizerConfig(kind="sentencepiece", pad_id=1),
            num_workers=16,
        ),
        checkpoint=config.CheckpointConfig(every=1000, keep_latest=2, keep_every=10_000),
        eval=config.EvalConfig(evaluators=("retrieval", "uncertainty"), label_features=()),
    )
    return config.to_config_dict(experiment)
