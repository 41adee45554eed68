"""Puts the sections of a run into one self-contained HTML file."""

import dataclasses
import errno
import shlex
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from prolip.config import ConfigError, TrainConfig, from_dict
from prolip.data.records import DataError
from prolip.report.abstention import abstention
from prolip.report.calibration import calibration
from prolip.report.examples import caption_examples, image_examples
from prolip.report.headline import headline
from prolip.report.multiplicity import multiplicity
from prolip.report.pictures import Images, data_uris, from_batches
from prolip.report.probe import probe
from prolip.report.quality import quality
from prolip.report.read import Run, left_out, read_run
from prolip.report.sets import sets
from prolip.report.training import configuration, training
from prolip.report.uncertainty import extremes, uncertainty
from prolip.workdir import write_whole

PICTURE_SIZE = 96  # Pixels a side, whatever the model's: people look at these.


def write_report(
    workdir: str | Path,
    images: Images | None = None,
    *,
    results: str | Path | None = None,
    output: str | Path | None = None,
) -> Path:
    """Writes the report of a run, finished or not.

    What has not been made yet is left out, and the page says which command makes it. What is
    damaged is left out, and the page names it.

    Args:
      workdir: of the run.
      images: gives the images at positions of the evaluation split; by default they are read from
        the data set of the run's configuration. Without them the page has numbers in their place.
      results: where the evaluations are; by default in the workdir.
      output: the file to write; by default `report.html` in the workdir.

    Returns:
      Where the report is.

    Raises:
      ConfigError: there is no such directory, or the page can't be written there.
    """
    run = read_run(workdir, results)
    path = Path(output).expanduser().absolute() if output else run.path / "report.html"
    try:
        page = render(run, images)
    except Exception:
        page = render(_without_damage(run, images), images)
    # A damaged file may hold half of a character.
    try:
        write_whole(path, page.encode("utf8", "replace"))
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        raise ConfigError(
            f"{path} can't be written ({error.strerror}); --output FILE writes the report elsewhere"
        ) from error
    return path


def _without_damage(run: Run, images: Images | None) -> Run:
    """The run without the parts of which no page can be made, each named in a notice.

    Only the sections know what an evaluator's notes and arrays must look like, so each part is
    tried by itself, in a run that has nothing else.
    """
    empty = dataclasses.replace(
        run, config={}, training={}, evaluations={}, artefacts={}, notices=[], step=None, best=None
    )
    measured = dataclasses.replace(
        empty, evaluations=run.evaluations, step=run.step, best=run.best, notices=[*run.notices]
    )
    alone = {
        str(run.path / "config.json"): dataclasses.replace(empty, config=run.config),
        str(run.path / "metrics.jsonl"): dataclasses.replace(empty, training=run.training),
    } | {
        f"{artefact.folder / name}.json or .npz": dataclasses.replace(
            measured, artefacts={name: artefact}
        )
        for name, artefact in run.artefacts.items()
    }
    errors = {file: _error(part, images) for file, part in alone.items()}
    good = [part for file, part in alone.items() if not errors[file]]
    return dataclasses.replace(
        measured,
        config=next((part.config for part in good if part.config), {}),
        training=next((part.training for part in good if part.training), {}),
        artefacts={name: value for part in good for name, value in part.artefacts.items()},
        notices=run.notices + [left_out(file, error) for file, error in errors.items() if error],
    )


def _error(run: Run, images: Images | None) -> str:
    """The error of rendering a run; empty if there is none."""
    try:
        render(run, images)
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    return ""


def render(run: Run, images: Images | None = None) -> str:
    """The page as text."""
    captions, pictures, ends = caption_examples(run), image_examples(run), extremes(run)
    wanted = [i for group in captions for e in group["examples"] for i in e["images"]]
    wanted += [e["index"] for e in pictures]
    wanted += [e["index"] for k in ("most_images", "least_images") for e in ends.get(k, [])]
    uris, problem = _pictures(run, images, wanted)
    place = shlex.quote(str(run.path))
    values: dict[str, Any] = {
        "name": run.path.name,
        "step": run.step,
        "best": run.best,
        "total_steps": run.config.get("total_steps"),
        "data": run.config.get("data", {}).get("name"),
        "style": Markup(_package_file("style.css")),
        "notices": run.notices + ([problem] if problem else []),
        "headline": headline(run),
        "caption_examples": captions,
        "image_examples": pictures,
        "uncertainty": uncertainty(run),
        "extremes": ends,
        "abstention": abstention(run),
        "calibration": calibration(run),
        "quality": quality(run),
        "probe": probe(run),
        "sets": sets(run),
        "multiplicity": multiplicity(run),
        "wanted_evaluators": run.config.get("eval", {}).get("evaluators", ()),
        "training": training(run),
        "configuration": configuration(run),
        "uris": uris,
        "train_command": f"prolip train --workdir {place} --config CONFIG",
        "eval_command": f"prolip eval --workdir {place}",
        "report_command": f"prolip report --workdir {place}",
    }
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_package_file),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("template.html").render(values)


def _pictures(run: Run, images: Images | None, wanted: list[int]) -> tuple[dict[int, str], str]:
    """Addresses by index, and a sentence on why they are missing if they are."""
    if not wanted:
        return {}, ""
    try:
        return data_uris(images or _split_images(run), wanted), ""
    except (ConfigError, DataError, OSError, LookupError) as error:
        return {}, f"The images of the evaluation split could not be read: {error}"


def _split_images(run: Run) -> Images:
    from prolip.data.evaluation import eval_set  # Only where no images are given.

    if not run.config:
        raise ConfigError("the run has no config.json that names its data")
    config = from_dict(TrainConfig, run.config, bounds=False)
    # With the labels of the evaluation: images with several labels are numbered once for each.
    split = eval_set(config.data, PICTURE_SIZE, config.eval.label_features)
    return from_batches(lambda: split.images(64))


def _package_file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf8")
