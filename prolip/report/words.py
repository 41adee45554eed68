"""Numbers -> plain sentences that say what they mean, also when they are bad."""

import math
from collections.abc import Sequence

DASH, MINUS, SPACE = "\N{EN DASH}", "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}"


def number(value: float | None) -> str:
    """Counts whole, others with three decimals below ten; a dash for what is not there."""
    if value is None or not math.isfinite(value):
        return DASH
    if value == round(value) and abs(value) > 1:
        return minus(f"{value:,.0f}")
    if abs(value) < 1e-3:
        return minus(f"{value:.1e}") if value else "0"
    return minus(f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}")


def signed(value: float | None) -> str:
    """Two decimals with a sign: for correlations."""
    return DASH if value is None or not math.isfinite(value) else minus(f"{value:+.2f}")


def share(value: float) -> str:
    """Percent, whole or with one decimal if it is small."""
    return f"{100 * value:.1f} %" if 0 < value < 0.1 else f"{100 * value:.0f} %"


def of_hundred(value: float) -> str:
    """\"51 of 100\"."""
    return f"{100 * value:.0f} of 100"


def minus(text: str) -> str:
    """With the sign that is as wide as a plus."""
    return text.replace("-", MINUS)


def strength(rho: float) -> str:
    """How a correlation reads."""
    size = abs(rho)
    if size < 0.1:
        return "not"
    return "weakly" if size < 0.3 else "moderately" if size < 0.6 else "strongly"


def grows(rho: float, what: str, by: str) -> str:
    """One sentence on a rank correlation that ought to be positive."""
    value = f"(Spearman{SPACE}{signed(rho)})"
    if abs(rho) < 0.1:
        return f"{what} does not follow {by} {value}."
    if rho < 0:
        falls = f"{what} falls {strength(rho)} with {by}"
        return f"{falls}, the opposite of what is wanted {value}."
    return f"{what} grows {strength(rho)} with {by} {value}."


def multiplicity(metrics: dict[str, float]) -> list[str]:
    """What uncertainty has to do with the number of matches, and with what else it might."""
    name = "uncertainty/text/{}_spearman".format
    rho, length = metrics.get(name("matches")), metrics.get(name("length"))
    sentences = []
    if rho is not None:
        sentences.append(
            grows(rho, "Over all captions, uncertainty", "the number of matching images")
        )
    several = metrics.get("uncertainty/text/matches_spearman_multiple")
    if several is not None:
        sentences.append(
            grows(several, "Among captions with at least two matches, it", "that number")
        )
    level = metrics.get(name("level"))
    if level is not None:
        sentences.append(grows(level, "Uncertainty", "how general the level of the caption is"))
    if length is not None and abs(length) > max(0.1, abs(rho or 0.0)):
        direction = "longer" if length > 0 else "shorter"
        sentences.append(
            f"It follows the length of the text more closely: {direction} captions are more "
            f"uncertain (Spearman{SPACE}{signed(length)})."
        )
    return sentences


def inclusion(
    what: str, rate: float | None, others: float | None, auc: float | None, near: float | None
) -> str:
    """One sentence on the inclusion test: its rates mean something beside each other only.

    Args:
      what: what the test is of, as "a matching image inside the caption".
      rate: share of matches that it says yes to.
      others: the same, of pairs of the same outer items with what doesn't match.
      auc: mean area under the ROC curve among inner items.
      near: the same of similarity.
    """
    if rate is None:
        return ""
    start = f"The inclusion test puts {what} in {share(rate)} of cases"
    if others is None or auc is None:
        return f"{start}, which says nothing without its rate for what does not match."
    told = "worse than" if auc < 0.45 else "no better than" if auc < 0.55 else "better than"
    told += " chance"
    if near is not None:
        told += f"; similarity has {near:.2f}"
    return (
        f"{start}, and what does not match in {share(others)}: its AUC is {auc:.2f}, {told}. "
        "The rate alone says only which of the two is wider on the whole."
    )


def accuracy_by_certainty(spearman: float | None) -> str:
    """What accuracy does from the most certain bin to the least certain one."""
    if spearman is None:
        return "Too few queries, or no uncertainty, to tell."
    value = f"(Spearman over bins {signed(spearman)}; over ten, chance gives up to 0.6 either way)"
    if spearman <= -0.6:
        return f"The less certain, the more mistakes, as it should be {value}."
    if spearman <= -0.3:
        return f"Less certain ones tend to have more mistakes {value}."
    if spearman < 0.3:
        return f"Certainty says little about mistakes {value}."
    return f"The less certain ones are right more often, not less {value}."


def abstention(doubt: float, score: float | None) -> str:
    """What the gain of leaving out by uncertainty is worth, beside that of the best score."""
    value = f"(gain {signed(doubt)})"
    if doubt < -0.05:
        text = f"Leaving out the uncertain ones first is worse than leaving out any {value}."
    elif doubt < 0.05:
        text = f"Leaving out the uncertain ones first is no better than leaving out any {value}."
    else:
        text = f"Uncertainty gives {share(doubt)} of what the best order would {value}."
    if score is None:
        return text
    if abs(score - doubt) < 0.02:
        return f"{text} The best score, which costs nothing, gives as much ({signed(score)})."
    more = "more" if score > doubt else "less"
    return f"{text} The best score, which costs nothing, gives {more} ({signed(score)})."


def skill(brier: float, log_loss: float) -> str:
    """Skill of pair probabilities, against giving every pair the share of matches."""
    values = f"(Brier skill {signed(brier)}, log-loss skill {signed(log_loss)})"
    if min(brier, log_loss) <= 0:
        return (
            "The probabilities are no better than giving every pair the share of matches "
            f"{values}; 1 would be perfect."
        )
    return (
        f"The probabilities remove {share(brier)} of the squared error of giving every pair the "
        f"share of matches {values}; 1 would be perfect."
    )


def expected_matches(ratio: float) -> str:
    """How many matches the probabilities add up to, beside those that there are."""
    if abs(ratio - 1) < 0.05:
        return (
            "The probabilities add up to as many matches as there are, as they would if every pair "
            "got the share of matches."
        )
    return f"The probabilities add up to {number(ratio)} times as many matches as there are."


def probed(features: Sequence[str], known: Sequence[str]) -> str:
    """Which labels a probe finds in the means."""
    unknown = [name for name in features if name not in known]
    if not unknown:
        return "The means know something of each of these labels."
    if not known:
        return "The means know next to nothing of these labels."
    return f"The means know next to nothing of {', '.join(unknown)}."


def times_chance(value: float, chance: float | None) -> str:
    """\"Guessing gives 2.1 %.\", or nothing where chance is not known."""
    if not chance:
        return ""
    factor = value / chance
    more = f"; this is {factor:,.0f} times that" if factor >= 2 else ""
    return f"Guessing gives {share(chance)}{more}."
