"""`prolip eval --list`: what can be evaluated, and how to get the files of a set."""

from typing import Any

from prolip.config import ConfigError


def show(name: str) -> int:
    """Prints everything, or of one set or evaluator all there is to say.

    Raises:
      ConfigError: there is nothing of this name.
    """
    from rich.console import Console

    from prolip.data.near import unknown
    from prolip.evals.registry import REGISTRY
    from prolip.evals.sets import known

    console = Console()
    entries = {entry.name: entry for entry in REGISTRY}
    if not name:
        _all(console)
    elif name in known.BY_NAME:
        found = known.BY_NAME[name]
        lines = [f"{found.name}: {found.what} ({found.counts})", known.how_to(found)]
        if not found.captions:
            lines.append(
                f"Prompts: {found.prompts_named}; others by prompts=simple, siglip, openai or FILE."
            )
            lines.append(f"Usually reported: {found.metric}.")
            lines += [f"  {template}" for template in found.templates]
        where = "tfds:/data/tfds" if found.form else f"/data/{found.name}"
        lines.append(f"prolip eval --workdir W --set {found.name}={where}")
        for line in lines:
            console.print(line, highlight=False, markup=False)
    elif name in entries:
        entry = entries[name]
        console.print(f"{name}: {entry.measures}; needs {entry.needs}", markup=False)
    else:
        names = [*known.BY_NAME, *entries]
        raise ConfigError(unknown(name, names, "there is no evaluation set or evaluator"))
    return 0


def _all(console: Any) -> None:
    from rich.markup import escape
    from rich.table import Table

    from prolip.evals.registry import REGISTRY, manual_dir
    from prolip.evals.sets.known import SETS

    table = Table()
    for name in ("name", "measures", "needs", "here"):
        table.add_column(name, overflow="fold")
    for entry in REGISTRY:
        kind = "" if entry.run else "\n(from Python)"
        cells = (entry.name + kind, entry.measures, entry.needs, "yes" if entry.here() else "no")
        table.add_row(*map(escape, cells))
    console.print(table)
    console.print(
        "A run's evaluators are those of its configuration: "
        "--config.eval.evaluators=\"('retrieval', 'probe')\" of prolip train.\n"
        f"The manual folder is {manual_dir()}.",
        highlight=False,
    )
    sets = Table()
    for name in ("set", "what", "counts", "prompts", "metric"):
        # A number and what it counts stay together in a narrow terminal.
        sets.add_column(name, overflow="fold", min_width=14 if name == "counts" else None)
    for known in SETS:
        of_classes = ("", "") if known.captions else (known.prompts_named, known.metric)
        sets.add_row(*map(escape, (known.name, known.what, known.counts, *of_classes)))
    console.print(sets)
    console.print(
        "A set is measured beside the split by --set NAME=WHERE, or eval.sets of a configuration; "
        "`prolip eval --list NAME` says how to get its files.",
        highlight=False,
    )
