"""Puts the sections of a run into one self-contained HTML file."""

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
from prolip.report.read import Run, read_run
from prolip.report.sets import sets
from prolip.report.training import configuration, training
from prolip.report.uncertainty import extremes, uncertainty
from prolip.workdir import write_whole

PICTURE_SIZE = 96  # Pixels a side, whatever the model's: people look at these.


def write_report(workdir: str | Path, images: Images | None = None) -> Path:
    """Writes `report.html` into the workdir of a run, finished or not.

    What has not been made yet is left out, and the page says which command makes it.

    Args:
      workdir: of the run.
      images: gives the images at positions of the evaluation split; by default they are read from
        the data set of the run's configuration. Without them the page has numbers in their place.

    Returns:
      Where the report is.

    Raises:
      ConfigError: there is no such directory.
    """
    run = read_run(workdir)
    path = run.path / "report.html"
    write_whole(path, render(run, images))
    return path


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
    split = eval_set(from_dict(TrainConfig, run.config, bounds=False).data, PICTURE_SIZE)
    return from_batches(lambda: split.images(64))


def _package_file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf8")
