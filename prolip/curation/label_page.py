"""The page on which a person labels candidates: one file that asks no other."""

import base64
import json
from pathlib import Path

import numpy as np

from prolip.curation.embedded import Embedded
from prolip.retrieval.thumbnails import read_thumbnails
from prolip.workdir import write_whole

TEMPLATE = Path(__file__).with_name("label_page.html")


def write(
    path: Path, texts: Embedded, text_rows: np.ndarray, images: Embedded, image_rows: np.ndarray
) -> bool:
    """Writes the page of a sample.

    Pictures are the thumbnails of the collection; where it has none, ids and places stand for them.

    Args:
      path: of the file.
      texts: whose texts are shown.
      text_rows: Int[pairs], rows of it.
      images: whose thumbnails are shown.
      image_rows: Int[pairs], rows of it.

    Returns:
      Whether there is any picture.

    Raises:
      DataError: the thumbnails can't be read.
    """
    shown = np.unique(image_rows)
    found = read_thumbnails(images.directory, images.manifest, shown.tolist())
    pictures = {
        images.ids[row]: base64.b64encode(data).decode()
        for row, data in zip(shown.tolist(), found, strict=True)
        if data is not None
    }
    pairs = [
        {
            "text": texts.ids[t],
            "image": images.ids[i],
            "caption": texts.texts[t] or texts.ids[t],
            "where": images.uris[i] or images.ids[i],
        }
        for t, i in zip(text_rows.tolist(), image_rows.tolist(), strict=True)
    ]
    data = json.dumps({"pairs": pairs, "pictures": pictures}, ensure_ascii=True)
    # A caption with "</script>" would end the data; so would "<!--" in the eyes of a browser.
    data = data.replace("<", "\\u003c")
    write_whole(path, TEMPLATE.read_text(encoding="utf8").replace("__DATA__", data))
    return bool(pictures)
