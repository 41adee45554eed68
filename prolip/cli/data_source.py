"""What a `prolip data` verb reads: SRC, or the training split of a configuration."""

import argparse
import dataclasses

from prolip.cli import configuration
from prolip.config import ConfigError, DataConfig


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of verbs that read records."""
    parser.add_argument(
        "source",
        nargs="?",
        default="",
        metavar="SRC",
        help="a folder of images, .csv, .tsv, .jsonl, .parquet, .tar, a folder of them,\n"
        "'tars/{00000..00099}.tar', or KIND:WHERE as in docs/data.md; default: --config",
    )
    parser.add_argument("--config", default="", metavar="FILE", help="data of a configuration")
    parser.add_argument(
        "--image", default="", metavar="FEATURE", help="column, or extensions in tars: 'jpg;png'"
    )
    parser.add_argument(
        "--captions",
        default="",
        metavar="FEATURE,FEATURE",
        help="columns; 'txt,json/caption' in tars; 'txt' or 'folder' of a folder",
    )
    parser.add_argument(
        "--filter", default="", metavar="CONDITION", help="'similarity >= 0.28 and width >= 200'"
    )
    parser.add_argument("--keep-keys", default="", metavar="FILE", help="keys of what is kept")
    parser.add_argument(
        "--skip-keys", default="", metavar="FILE", help="keys of what is left out, or a list of bad"
    )
    parser.add_argument("--index-dir", default="", metavar="DIR", help="of indices of tars")
    parser.add_argument("--threads", type=int, default=8, metavar="N", help="that read; default: 8")
    parser.set_defaults(overrides=[])


def config(args: argparse.Namespace) -> DataConfig:
    """The configuration of the data.

    Raises:
      ConfigError: neither SRC nor --config, or both, or an option that is not right.
    """
    if bool(args.source) == bool(args.config):
        raise ConfigError("name either SRC or --config")
    if args.config:
        for option, key in (("image", "image_feature"), ("captions", "caption_features")):
            if getattr(args, option):
                raise ConfigError(
                    f"--{option} is for SRC; with --config give --config.data.{key}=..."
                )
        data = configuration.load(args.config, args.overrides).data
    elif args.overrides:
        raise ConfigError(f"{args.overrides[0]} needs --config")
    else:
        data = _named(args)
    names = ("filter", "keep_keys", "skip_keys", "index_dir")
    changes = {name: value for name in names if (value := getattr(args, name))}
    return dataclasses.replace(data, num_threads=max(1, args.threads), **changes)


def _named(args: argparse.Namespace) -> DataConfig:
    from prolip.data.sources.address import address, default_captions, inferred

    data = address(inferred(args.source), DataConfig(caption_features=()))
    captions = tuple(args.captions.split(",")) if args.captions else data.caption_features
    if not captions:
        captions = default_captions(data)
    return dataclasses.replace(
        data,
        image_feature=args.image or data.image_feature,
        caption_features=captions,
        caption_weights=(1.0,) * len(captions),
    )
