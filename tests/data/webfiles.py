"""Files as `img2dataset` and people write them, with the rows of `toy`."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

from toy import png, rows

from prolip.config import DataConfig, TokenizerConfig

COMMON: dict[str, Any] = {
    "tokenizer": TokenizerConfig(vocab_size=200),
    "num_threads": 2,
    "max_bad_fraction": 1.0,
}


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    """A tar of these members in order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def sample(number: int, row: dict[str, Any]) -> dict[str, bytes]:
    """Members of one sample."""
    about = {
        "caption": row["title"],
        "texts": row["texts"],
        "width": 24,
        "similarity": number / 100,
    }
    key = f"{number:09}"
    return {
        f"{key}.jpg": row["picture"],
        f"{key}.txt": row["title"].encode(),
        f"{key}.json": json.dumps(about).encode(),
        f"{key}.cls": row["kind"].encode(),
    }


def write_tars(folder: Path, count: int, each: int = 5, first: int = 0) -> list[Path]:
    """Tars of `each` samples, `count` in all."""
    numbered = list(enumerate(rows(first + count)))[first:]
    paths = []
    for tar, begin in enumerate(range(0, count, each)):
        members: dict[str, bytes] = {}
        for number, row in numbered[begin : begin + each]:
            members |= sample(number, row)
        paths.append(write_tar(folder / f"set-{tar:05}.tar", members))
    return paths


def tar_config(folder: Path, **options: Any) -> DataConfig:
    """Reads all tars of a folder."""
    defaults = {
        **COMMON,
        "name": "webdataset",
        "data_dir": str(folder),
        "train_split": "set-*.tar",
        "eval_split": "set-*.tar",
        "caption_features": ("txt", "json/texts"),
        "caption_weights": (0.5, 0.5),
    }
    return DataConfig(**{**defaults, **options})


def write_folder(folder: Path, count: int) -> DataConfig:
    """A labelled folder whose images have texts beside them."""
    for number, row in enumerate(rows(count)):
        path = folder / row["kind"] / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
        path.with_suffix(".txt").write_text(row["title"])
    return DataConfig(
        **COMMON,
        name="folder",
        data_dir=str(folder.parent),
        train_split=folder.name,
        eval_split=folder.name,
        caption_features=("txt", "folder"),
        caption_weights=(0.5, 0.5),
    )
