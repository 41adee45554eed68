"""ProLIP against SigLIP on the shipped emoji, trained the same way, over several seeds.

Each seed holds out another part of the emoji: which 15 % are held out moves the recall more than
anything else that is drawn, and none of these parts was used to choose the recipe (that was
`emoji/plain`).

    python benchmarks/emoji.py --seeds 3 --workdir runs/benchmark --json results/bench/emoji.json

Goes on where it was stopped. Prints a Markdown table: mean ± standard deviation over seeds.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from prolip.data.emoji.builder import FOLDS
from prolip.report.compare import ROWS, metrics_of
from prolip.report.read import read_run

VARIANTS = {"ProLIP": "emoji", "SigLIP": "emoji:siglip"}
ALSO = (
    "retrieval/text_to_image_multiple/mean/recall@1",
    "retrieval/image_to_text_multiple/recall@1",
    "uncertainty/text/level_spearman",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, choices=range(1, FOLDS))
    parser.add_argument("--workdir", type=Path, default=Path("runs/benchmark"))
    parser.add_argument("--json", type=Path)
    args, overrides = parser.parse_known_args()
    results: dict[str, list[dict]] = {name: [] for name in VARIANTS}
    for seed in range(1, args.seeds + 1):
        for name, config in VARIANTS.items():
            workdir = args.workdir / f"{name.lower()}_{seed}"
            command = ["train", "--config", config, "--workdir", str(workdir)]
            command += [f"--config.seed={seed}", f"--config.data.name=emoji/fold_{seed}"]
            command += overrides
            prolip(*command)
            step = read_run(workdir).config["total_steps"]
            prolip("eval", "--workdir", str(workdir), "--step", str(step))
            results[name].append(dict(metrics_of(workdir)))
            if args.json:
                record = {"command": " ".join(["prolip", *command]), "seed": seed}
                save(args.json, name, seed, record | {"metrics": results[name][-1]})
    print(table(results))


def prolip(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "prolip", *words], check=True)


def save(path: Path, name: str, seed: int, record: dict) -> None:
    """Puts one run into the file."""
    stored = json.loads(path.read_text()) if path.exists() else {}
    stored.setdefault(name, {})[str(seed)] = record
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n")


def table(results: dict[str, list[dict]]) -> str:
    """Markdown, a row for each metric."""
    lines = ["| | " + " | ".join(results) + " |", "|---|" + "---|" * len(results)]
    for metric, title in {**ROWS, **{name: f"`{name}`" for name in ALSO}}.items():
        cells = [cell([m[metric] for m in runs if metric in m]) for runs in results.values()]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(values: list[float]) -> str:
    """Mean ± standard deviation."""
    if not values:
        return "–"
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.3f} ± {spread:.3f}"


if __name__ == "__main__":
    main()
