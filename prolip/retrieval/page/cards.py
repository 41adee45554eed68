"""An answer as HTML. Ids, texts and paths come from the collection: all of them are escaped."""

import base64
import html
import math
import os

from prolip.retrieval.answers import Hit
from prolip.retrieval.page.asking import Desk, Found

MINUS, TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"
RANKED = {
    "csd": "by distance, uncertainty included",
    "mean": "by the means alone",
}


def heading(desk: Desk) -> str:
    """Name of the collection, and what it is."""
    manifest = desk.manifest
    facts = [
        f"<b>{manifest.count:,}</b> {manifest.kind}{'' if manifest.count == 1 else 's'}",
        f"<b>{manifest.dim}</b> dimensions",
    ]
    if manifest.checkpoint:
        name = _escape(_last(manifest.checkpoint))
        facts.append(f'model <b title="{_escape(manifest.checkpoint)}">{name}</b>')
    if manifest.departures:
        total = sum(manifest.departures.values())
        reasons = ", ".join(f"{n:,} x {reason}" for reason, n in manifest.departures.items())
        facts.append(
            f'<b title="{_escape(reasons)}">{total:,}</b> embedded otherwise than shown '
            f"({_escape(reasons)})"
        )
    listed = "".join(f"<span>{fact}</span>" for fact in facts)
    return (
        f'<header class="collection"><p class="brand">prolip</p>'
        f'<h1 title="{_escape(manifest.source)}">{_escape(_last(manifest.source))}</h1>'
        f'<p class="facts">{listed}</p></header>'
    )


def empty(desk: Desk) -> str:
    """Before the first query."""
    ask = "Type a caption, or drop an image" if desk.takes_text else "Drop an image"
    return _notice("", "Nothing asked yet", f"{ask}: what is nearest to it is shown here.")


def error(sentence: str) -> str:
    """What went wrong, and how to mend it."""
    return _notice("wrong", "That did not work", sentence)


def answer(found: Found, desk: Desk) -> str:
    """The query with its uncertainty, and the cards of what it found."""
    limit = found.settings.max_query_uncertainty
    if found.answer.abstained:
        body = _notice(
            "abstained",
            "Abstained",
            f"The query's uncertainty is {number(found.answer.uncertainty)}, above the limit of "
            f"{number(limit)}. Ask something more specific, or raise the limit.",
        )
    elif not found.answer.hits:
        body = _notice(
            "", "No item passes", f"{_left_out(found, desk)} Loosen a limit to see more."
        )
    else:
        cards = [
            _card(place, hit, picture, found, desk)
            for place, (hit, picture) in enumerate(
                zip(found.answer.hits, found.pictures, strict=True), 1
            )
        ]
        body = f'<ol class="grid {desk.manifest.kind}">{"".join(cards)}</ol>'
    return f'<section class="answer">{_asked(found, desk)}{body}</section>'


def number(value: float) -> str:
    """Three digits that matter, and never an exponent that fits on no card."""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    digits = 2 - math.floor(math.log10(abs(value)))
    text = f"{value:,.{max(0, digits)}f}" if digits <= 9 else f"{value:.2e}"
    return text.replace("-", MINUS)


def _asked(found: Found, desk: Desk) -> str:
    asked, own = found.asked, found.answer.uncertainty
    if asked.text is not None:
        query = f'<p class="words">{_escape(asked.text)}</p>'
    else:
        query = f'<img src="{_url(asked.picture or b"")}" alt="the image that was asked for">'
    departed = f"Embedded otherwise than shown: {asked.departure}." if asked.departure else ""
    median = float(desk.uncertainties[len(desk.uncertainties) // 2])
    times = f"{own / median:,.1f} {TIMES} the median {desk.manifest.kind}" if median else ""
    return (
        f'<header class="asked">{query}<div class="about">'
        f'<p><span class="label">Uncertainty of the query</span> <b>{number(own)}</b> '
        f'<span class="note apart">{times}</span></p>'
        f'<p class="note">{"" if found.answer.abstained else _counted(found, desk)}'
        f" {_escape(departed)}</p>"
        f"</div></header>"
    )


def _counted(found: Found, desk: Desk) -> str:
    shown, kind = len(found.answer.hits), desk.manifest.kind
    if not shown:
        return ""
    graph = "" if found.answer.exact else ", found by the graph"
    one = f"The nearest {kind}" if shown == 1 else f"The best {shown} {kind}s"
    text = f"{one} of {desk.manifest.count:,} {RANKED[found.settings.by]}{graph}."
    return f"{text} {_left_out(found, desk)}" if found.left_out else text


def _left_out(found: Found, desk: Desk) -> str:
    limit = number(found.settings.max_item_uncertainty)
    if not found.left_out:
        return ""
    are = "is" if found.left_out == 1 else "are"
    return f"{found.left_out:,} more uncertain than {limit} {are} left out."


def _card(place: int, hit: Hit, picture: bytes | None, found: Found, desk: Desk) -> str:
    by = found.settings.by
    ranked = {
        "csd": ("distance", number(hit.csd)),
        "mean": ("similarity", f"{hit.score:.3f}".replace("-", MINUS)),
    }[by]
    name = hit.text if hit.text is not None else hit.id
    where = _escape("\n".join(dict.fromkeys(x for x in (hit.id, hit.text, hit.uri) if x)))
    if desk.manifest.kind == "text":
        face = f'<p class="text">{_escape(name)}</p>'
    elif picture is not None:
        inner = f'<img src="{_url(picture)}" alt="{_escape(name)}">'
        face = f'<div class="frame">{inner}</div>{_name(name)}'
    else:
        inner = f"<span>no picture<br>{_escape(hit.id)}</span>"
        face = f'<div class="frame missing">{inner}</div>{_name(name)}'
    share = desk.rank(hit.uncertainty)
    meaning = f"more uncertain than {share:.0%} of the collection"
    return (
        f'<li class="card" title="{where}"><span class="place">{place}</span>{face}'
        f'<dl><div class="ranked"><dt>{ranked[0]}</dt><dd>{ranked[1]}</dd></div>'
        f'<div title="{meaning}"><dt>uncertainty</dt><dd>{number(hit.uncertainty)}</dd></div></dl>'
        f'<div class="meter" role="img" aria-label="{meaning}" title="{meaning}">'
        f'<i style="width:{100 * share:.0f}%"></i></div></li>'
    )


def _name(name: str) -> str:
    """The last part of a path first: it says more, and may be all there is room for."""
    folder, slash, last = name.rpartition("/")
    if not slash or not last:
        return f'<p class="name">{_escape(name)}</p>'
    return f'<p class="name">{_escape(last)}</p><p class="folder">{_escape(folder)}</p>'


def _last(place: str) -> str:
    """Name of a file or folder; other texts as they are."""
    return os.path.basename(place.rstrip("/")) if os.path.isabs(place) else place


def _notice(kind: str, title: str, sentence: str) -> str:
    return (
        f'<div class="notice {kind}" role="status"><h2>{_escape(title)}</h2>'
        f"<p>{_escape(sentence)}</p></div>"
    )


def _url(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def _escape(text: str) -> str:
    # The page's templates are JavaScript ones: nothing of a collection may look like a part of one.
    return html.escape(text).replace("$", "&#36;").replace("{", "&#123;").replace("`", "&#96;")
