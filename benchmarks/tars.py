"""Promises on webdataset tars at size: damage is named, kills lose nothing, batches stay the same.

    python benchmarks/tars.py --tars 200 --pairs 500 --kills 20

Writes tars of small JPEG files with captions into a temporary folder, some damaged on purpose
(`damaged_tars.py`), and runs the commands of a user on them: `prolip data index`, `validate` and
`import`, and `prolip train` with a tiny model. Prints whether each promise is kept, and a table of
the stages; exits with 1 if one is broken.
"""

import argparse
import functools
import random
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import damaged_tars
import tensorflow_datasets as tfds
from commands import Commands, Ended
from timing import json_argument, print_header, print_row, save

from prolip.exit_codes import BAD_RECORDS
from prolip.workdir import read_jsonl

TINY = {"width": 64, "depth": 1, "num_heads": 2, "mlp_dim": 64}
MODEL = [
    "--config.model.embed_dim=64",
    *(f"--config.model.{t}.{k}={v}" for t in ("image", "text") for k, v in TINY.items()),
    "--config.optimizer.name=adamw",
    "--config.optimizer.warmup_steps=1",
    "--config.data.augment.mixup=0.0",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tars", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=500, help="samples of a tar")
    parser.add_argument("--steps", type=int, default=200, help="of each training")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--kills", type=int, default=20, help="half of them of the indexer")
    parser.add_argument("--workers", type=int, default=2, help="processes of indexer and importer")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    json_argument(parser)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="prolip-tars-") as folder:
        run = Run(Path(folder), args)
        run.all()
    print_header("stage", "records", "seconds", "records/s")
    for row in run.rows:
        rate = row["records"] / row["seconds"]
        print_row(row["stage"], f"{row['records']:,}", f"{row['seconds']:.1f}", f"{rate:,.0f}")
    save(args.json, run.rows)
    if run.broken:
        raise SystemExit(f"{run.broken} promises are broken")


class Run:
    """The stages, in order.

    Args:
      folder: For all files.
      args: Of the command line.
    """

    def __init__(self, folder: Path, args: argparse.Namespace):
        self._folder, self._args = folder, args
        self._tars, self._out = folder / "tars", folder / "imported"
        self._set = self._out / "mine" / "1.0.0"
        self._list_of_bad = self._set / "bad-train.jsonl"
        self._commands = Commands(folder / "cache")
        self._chance = random.Random(args.seed)
        self.rows: list[dict[str, Any]] = []
        self.broken = 0

    def all(self) -> None:
        """Everything that is promised."""
        clock = time.perf_counter()
        made = self._made = damaged_tars.write(self._tars, self._args.tars, self._args.pairs)
        self._records = len(made.good) + len(made.bad)
        self._row("write tars", time.perf_counter() - clock, self._records)
        print(
            f"{self._args.tars:,} tars of {made.nbytes / 1e6:,.0f} MB: {len(made.good):,} usable "
            f"records, {len(made.bad):,} bad, tars damaged in {len(made.damage):,} places"
        )
        self._index()
        self._validate()
        self._import()
        self._train()

    def _index(self) -> None:
        words = ["data", "index", str(self._tars), "--workers", str(self._args.workers)]
        undisturbed = self._folder / "indices"
        elsewhere = [*words, "--index-dir", str(undisturbed)]
        ended = self._stage("index", elsewhere)
        lines = ended.said.splitlines()
        said = [f"{self._tars}/{place}: {reason}" for place, reason in self._made.damage]
        self._promise(
            ended.code == BAD_RECORDS and all(line in lines for line in said),
            f"the indexer names all {len(said):,} damaged places and their causes",
        )
        if kills := self._args.kills // 2:
            self._kill(words, elsewhere, kills, ended.seconds, self._tars, "*.index")
            self._promise(
                _contents(self._tars.glob("*.index")) == _contents(undisturbed.rglob("*.index")),
                "the indices are then those of an undisturbed indexer, to the byte",
            )

    def _validate(self) -> None:
        listed = self._folder / "bad.jsonl"
        ended = self._stage("validate", ["data", "validate", str(self._tars), "--out", str(listed)])
        self._promise(
            ended.code == BAD_RECORDS and self._names_all(listed),
            f"`validate` names all {len(self._made.bad):,} bad records and the damaged places",
        )

    def _import(self) -> None:
        words = ["data", "import", str(self._tars), "--name", "mine", "--captions", "txt"]
        words += ["--shard-mib", "4", "--workers", str(self._args.workers), "--out"]
        ended = self._stage("import", [*words, str(self._out)])
        self._promise(
            ended.code == BAD_RECORDS and self._names_all(self._list_of_bad),
            f"the importer names all {len(self._made.bad):,} bad records and the damaged places",
        )
        self._promise(
            _read(self._set) == list(self._made.good.items()),
            f"the import holds the {len(self._made.good):,} usable records once, in order, their "
            "images and texts to the byte",
        )
        if kills := self._args.kills - self._args.kills // 2:
            out = self._folder / "killed"
            there, here = [*words, str(self._out)], [*words, str(out)]
            self._kill(here, there, kills, ended.seconds, out, "*.array_record-*-of-?????")
            self._promise(
                _contents(out.rglob("*")) == _contents(self._out.rglob("*")),
                "the import is then that of an undisturbed importer, to the byte",
            )

    def _train(self) -> None:
        skip = f"--config.data.skip_keys={self._list_of_bad}"
        tars = _data("webdataset", self._tars, "*.tar", "txt")
        skipping = self._training("tars without the bad records", [*tars, skip])
        imported = self._training("import", _data("mine", self._out, "train", "caption"))
        everything = self._training("tars", tars)
        ours, theirs = (read_jsonl(w / "metrics.jsonl") for w in (skipping, imported))
        self._promise(
            len(ours) == self._args.steps and ours == theirs,
            f"the {len(ours)} steps from tars without the bad records are those from the import: "
            "samples, losses and gradients to the bit",
        )
        self._promise(not _met(imported), "training from the import meets no bad record")
        damage = set(self._made.damage)
        self._promise(
            set(_met(skipping)) == damage, "training without the bad records meets no other"
        )
        met = _met(everything)
        self._promise(
            len(set(met)) == len(met) and damage <= set(met) <= damage | {*self._made.bad.items()},
            f"training from the tars goes on around the {len(met) - len(damage):,} bad records "
            "that it draws, and names them and the damaged places",
        )

    def _training(self, name: str, words: Sequence[str]) -> Path:
        workdir = self._folder / f"run-{len(self.rows)}"
        args = self._args
        size = [f"--config.total_steps={args.steps}", f"--config.global_batch={args.batch}"]
        command = ["train", "--config", "emoji", "--workdir", str(workdir), *MODEL, *words, *size]
        ended = self._stage(f"train: {name}", command, args.steps * args.batch)
        done = (workdir / "DONE").exists()
        self._promise(ended.code == 0 and done, f"training from {name} ends well")
        return workdir

    def _stage(self, name: str, words: Sequence[str], records: int = 0) -> Ended:
        ended = self._commands.run(words)
        if ended.code not in (0, BAD_RECORDS):
            print(ended.said[-3000:])
        self._row(name, ended.seconds, records or self._records)
        return ended

    def _kill(
        self,
        words: Sequence[str],
        undisturbed: Sequence[str],
        kills: int,
        seconds: float,
        out: Path,
        files: str,
    ) -> None:
        verb = words[1]
        clock = time.perf_counter()
        finished = functools.partial(_files, out, files)
        # All is there for this one. Most of a start is none of the work, and all kills together
        # should meet the work once.
        idle = self._commands.run(undisturbed).seconds
        seconds = idle + 2 * max(0.0, seconds - idle) / kills

        def undo() -> None:
            for path in finished():
                path.unlink()

        found = self._commands.kill(
            words, kills, seconds, lambda: len(finished()), undo, self._chance
        )
        self._row(f"{verb}: {kills} kills", time.perf_counter() - clock, self._records)
        whole = ", ".join(map(str, found.whole))
        print(f"{verb}: {found.starts} starts, killed with so many files finished: {whole}")
        self._promise(
            found.last.code == BAD_RECORDS and not found.orphans,
            f"after {kills} kills `{verb}` ends well, and no child outlived its parent",
        )

    def _names_all(self, path: Path) -> bool:
        named = [(row["key"], row["reason"]) for row in read_jsonl(path)]
        return sorted(named) == sorted([*self._made.bad.items(), *self._made.damage])

    def _row(self, stage: str, seconds: float, records: int) -> None:
        self.rows.append({"stage": stage, "records": records, "seconds": seconds})

    def _promise(self, kept: bool, sentence: str) -> None:
        self.broken += not kept
        print(f"{'kept' if kept else 'BROKEN'}: {sentence}", flush=True)


def _data(name: str, folder: Path, split: str, caption: str) -> list[str]:
    values = {
        "name": name,
        "data_dir": folder,
        "train_split": split,
        "eval_split": split,
        "caption_features": (caption,),
        "caption_weights": (1.0,),
        "cache": False,
        "max_bad_fraction": 0.5,
    }
    words = [f"--config.data.{key}={value}" for key, value in values.items()]
    return [*words, "--config.eval.label_features=()", "--config.logging.every=1"]


def _met(workdir: Path) -> list[tuple[str, str]]:
    """Keys and reasons of the bad records and places of a run."""
    return [(row["key"], row["reason"]) for row in read_jsonl(workdir / "quarantine.jsonl")]


def _read(folder: Path) -> list[tuple[str, int]]:
    """Keys and checksums of the records of an import, as TFDS reads them."""
    source = tfds.builder_from_directory(folder).as_data_source(
        split="train", decoders={"image": tfds.decode.SkipDecoding()}
    )
    return [
        (row["key"].decode(), damaged_tars.checksum(row["image"], row["caption"][0]))
        for row in source
    ]


def _files(folder: Path, pattern: str) -> list[Path]:
    return list(folder.rglob(pattern))


def _contents(paths: Iterable[Path]) -> list[tuple[str, bytes]]:
    """Names and bytes of files."""
    return sorted((path.name, path.read_bytes()) for path in paths if path.is_file())


if __name__ == "__main__":
    main()
