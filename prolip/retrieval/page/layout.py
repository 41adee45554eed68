"""The page as gradio sees it: what can be set on the left, the answer on the right."""

import dataclasses
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prolip.data.records import DataError
from prolip.retrieval.page import cards
from prolip.retrieval.page.asking import MAX_UPLOAD, Asked, Desk, Settings

FOLDER = Path(__file__).parent
MAX_K = 100
VAGUE_TIMES = 4  # Single words of another meaning can be as much vaguer.
STEPS = 100  # Of a slider, about.
UNEXPECTED = "Something unexpected happened; the terminal that runs `prolip serve` says more."
RANKINGS = [("CSD", "csd"), ("Mean only", "mean")]
HINT = (
    '<p class="hint">Limits of the uncertainty, the trace of the covariance; at its right end a '
    "slider limits nothing. The bar of a result is longer the more of the collection is more "
    "certain.</p>"
)

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Limit:
    """A slider of uncertainties; at its right end nothing is limited."""

    least: float
    most: float
    step: float

    @classmethod
    def of(cls, least: float, most: float) -> "Limit":
        """With round numbers around the two."""
        step = 10.0 ** math.floor(math.log10(max(most - least, abs(most) / STEPS, 1e-12) / STEPS))
        digits = max(0, -round(math.log10(step)))
        low, high = math.floor(least / step), math.ceil(most / step)
        return cls(round(low * step, digits), round(max(high, low + 1) * step, digits), step)

    def value(self, position: float) -> float:
        """Infinity at the right end."""
        return math.inf if position > self.most - self.step / 2 else position


def blocks(gradio: Any, desk: Desk) -> Any:
    """The page; see `options` for how it is mounted."""
    least, most = float(desk.uncertainties[0]), float(desk.uncertainties[-1])
    of_items = Limit.of(least, most)
    of_queries = Limit.of(0.0, max(1.25 * most, VAGUE_TIMES * desk.vaguest()))
    noun = desk.manifest.kind

    with gradio.Blocks(
        title=f"prolip · {noun} search", analytics_enabled=False, fill_width=True
    ) as page:
        gradio.HTML(cards.heading(desk), apply_default_css=False)
        with gradio.Row(elem_id="desk"):
            with gradio.Column(scale=1, min_width=290, elem_id="settings"):
                words = gradio.Textbox(
                    label="Caption",
                    placeholder="a cat with a wry smile",
                    lines=1,
                    max_lines=4,
                    autofocus=True,
                    visible=desk.takes_text,
                    elem_id="words",
                )
                button = gradio.Button(
                    "Search", variant="primary", visible=desk.takes_text, elem_id="search"
                )
                well = gradio.HTML(
                    "",
                    html_template=(FOLDER / "well.html").read_text(encoding="utf8").strip(),
                    js_on_load=(FOLDER / "well.js")
                    .read_text(encoding="utf8")
                    .replace("LIMIT", str(MAX_UPLOAD)),
                    apply_default_css=False,
                    elem_id="well",
                )
                by = gradio.Radio(
                    RANKINGS,
                    value="csd",
                    label="Ranked by",
                    elem_id="by",
                )
                k = gradio.Slider(1, MAX_K, value=20, step=1, label="Results", elem_id="k")
                items = gradio.Slider(
                    of_items.least,
                    of_items.most,
                    value=of_items.most,
                    step=of_items.step,
                    label=f"Leave out {noun}s above",
                    elem_id="items",
                )
                queries = gradio.Slider(
                    of_queries.least,
                    of_queries.most,
                    value=of_queries.most,
                    step=of_queries.step,
                    label="Abstain from queries above",
                    elem_id="queries",
                )
                gradio.HTML(HINT, apply_default_css=False)
            with gradio.Column(scale=3, min_width=320):
                shown = gradio.HTML(cards.empty(desk), apply_default_css=False, elem_id="answer")
        asked = gradio.State(None)
        settings = [by, k, items, queries]

        def read(values: tuple[Any, ...]) -> Settings:
            ranking, number, item_limit, query_limit = values
            return Settings(
                by=ranking,
                k=min(max(int(number), 1), MAX_K),
                max_item_uncertainty=of_items.value(float(item_limit)),
                max_query_uncertainty=of_queries.value(float(query_limit)),
            )

        def show(query: Asked | None, values: tuple[Any, ...]) -> str:
            if query is None:
                return cards.empty(desk)
            return cards.answer(desk.search(query, read(values)), desk)

        def ask_text(text: str, *values: Any) -> tuple[Any, str, str]:
            query, answer = _sentences(lambda: (q := desk.ask_text(text), show(q, values)))
            return query, "", answer

        def ask_image(address: str, *values: Any) -> tuple[Any, str, Any, str]:
            if not address:
                return None, "", gradio.skip(), cards.empty(desk)
            query, answer = _sentences(lambda: (q := desk.ask_image(address), show(q, values)))
            return query, "" if query is None else gradio.skip(), "", answer

        def again(query: Asked | None, *values: Any) -> str:
            return _sentences(lambda: (query, show(query, values)))[1]

        options = dict(
            show_progress="minimal", api_visibility="private", concurrency_id="model", queue=True
        )
        # One query at a time: the towers take all cores anyway.
        gradio.on(
            [words.submit, button.click],
            ask_text,
            [words, *settings],
            [asked, well, shown],
            concurrency_limit=1,
            **options,
        )
        well.input(ask_image, [well, *settings], [asked, well, words, shown], **options)
        gradio.on(
            [by.input, k.release, items.release, queries.release],
            again,
            [asked, *settings],
            shown,
            trigger_mode="always_last",
            **options,
        )
    return page


def theme(gradio: Any) -> Any:
    """Fonts of the machine, colours of the reports."""
    fonts = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif"]
    return gradio.themes.Base(
        primary_hue=gradio.themes.colors.sky,
        neutral_hue=gradio.themes.colors.slate,
        radius_size=gradio.themes.sizes.radius_md,
        font=fonts,
        font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"],
    ).set(
        body_background_fill="#ffffff",
        body_background_fill_dark="#14171b",
        button_primary_background_fill="#0067a6",
        button_primary_background_fill_hover="#00588d",
        button_primary_background_fill_dark="#0f7cc0",
        button_primary_background_fill_hover_dark="#2290d4",
        button_primary_text_color="#ffffff",
        body_text_color="#1b1f24",
        body_text_color_dark="#e8eaed",
        body_text_color_subdued="#5f6977",
        body_text_color_subdued_dark="#9aa4b2",
        border_color_primary="#dfe3e8",
        border_color_primary_dark="#2d333b",
        background_fill_secondary="#f1f3f6",
        background_fill_secondary_dark="#1e2329",
        input_background_fill="#f1f3f6",
        input_background_fill_dark="#1e2329",
        color_accent="#0067a6",
        slider_color="#0067a6",
        slider_color_dark="#5db4ee",
        checkbox_background_color_selected="#0067a6",
        checkbox_background_color_selected_dark="#5db4ee",
    )


def style() -> str:
    """CSS of the page."""
    return (FOLDER / "style.css").read_text(encoding="utf8")


def _sentences(ask: Callable[[], tuple[Asked | None, str]]) -> tuple[Asked | None, str]:
    """What was asked and its answer; or no query, and a sentence in the page."""
    try:
        return ask()
    except DataError as error:
        return None, cards.error(str(error))
    except Exception:
        log.exception("a search failed")
        return None, cards.error(UNEXPECTED)
