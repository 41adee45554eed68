"""The page of exit codes and the launcher say what the package says."""

import re
from pathlib import Path

from prolip import exit_codes

ROOT = Path(__file__).parents[1]


def test_the_page_lists_each_code_with_its_cause_and_what_to_do():
    text = (ROOT / "docs" / "exit_codes.md").read_text()
    rows = re.findall(r"^\| (\d+) \| (.+) \| (yes|no) \|$", text, re.MULTILINE)
    assert {int(code): (cause, again == "yes") for code, cause, again in rows} == {
        code: tuple(meaning) for code, meaning in exit_codes.EXIT_CODES.items()
    }
    named = {v for k, v in vars(exit_codes).items() if k.isupper() and isinstance(v, int)}
    assert named <= exit_codes.EXIT_CODES.keys()


def test_keep_running_ends_at_the_codes_that_starting_again_does_not_help():
    text = (ROOT / "launch" / "keep_running.sh").read_text()
    [ends] = re.findall(r"^ +([\d |]+)\) exit", text, re.MULTILINE)
    final = {code for code, meaning in exit_codes.EXIT_CODES.items() if not meaning.restart}
    assert set(map(int, ends.split("|"))) == final
