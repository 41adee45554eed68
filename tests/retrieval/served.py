"""Collections for tests of the page, with the model that made them."""

import base64
import dataclasses

from collected import OPTIONS, run
from small_model import save, write_pictures

import prolip
from prolip.retrieval.page.asking import Desk
from prolip.retrieval.page.pictures import Pictures

COUNT = 21


def make(model, folder, data=None, **options):
    """An indexed collection; of pictures where no other data are given."""
    save(model, folder / "run")
    data = data or write_pictures(folder / "pictures", COUNT)
    options = dataclasses.replace(OPTIONS, checkpoint=str(folder / "run"), **options)
    run(model, data, folder / "out", options)
    prolip.Index.build(folder / "out")
    return folder / "out"


def desk(model, directory, **options):
    """As `prolip serve` makes it."""
    source = prolip.Index.open(directory).manifest.source
    return Desk(directory, model, Pictures(source, 64), **options)


def address(image):
    """Of a file, as a browser reads it."""
    return f"data:image/png;base64,{base64.b64encode(image).decode()}"
