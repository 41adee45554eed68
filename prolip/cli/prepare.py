"""`prolip prepare`."""

import argparse

from prolip.cli import configuration


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    configuration.arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Makes or checks the data and prints what is in it."""
    config = configuration.load(args.config, args.overrides)
    from prolip.data.evaluation import eval_set
    from prolip.data.files.names import visible
    from prolip.data.pipeline import caption_notes, train_tokenizer
    from prolip.data.sources.choose import open_train

    train = open_train(config.data)
    split = eval_set(config.data, config.model.image.image_size, config.eval.label_features)
    print(f"{train.name}: {len(train):,} records in {config.data.train_split!r}")
    notes = list(train.notes)
    wanted = config.data.tokenizer
    # A run that begins with other weights takes their tokenizer; a path may be set later.
    if not config.init_from and (wanted.kind == "train" or wanted.path):
        notes += caption_notes(train, train_tokenizer(config.data, config.model.text.length))
    for note in notes:
        print(visible(note))
    matches = [len(images) for images in split.positives]
    print(
        f"{split.name}: {split.num_images:,} images, {len(split.captions):,} distinct captions, "
        f"{sum(m > 1 for m in matches):,} of them match several images (most: {max(matches):,})"
    )
    for note in split.notes:
        print(note)
    return 0
