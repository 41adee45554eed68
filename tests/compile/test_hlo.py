"""What is read from the text of a compiled program, on small texts of the forms XLA writes."""

from pathlib import Path

import pytest

from prolip.compile import hlo
from prolip.compile.report import group, largest_with_side, where

FIXTURES = Path(__file__).parents[1] / "fixtures" / "hlo"

# Twelve layers in a loop, one exchange inside and one outside; a condition with a constant.
LOOP = (FIXTURES / "loop.hlo").read_text()

# A gather that runs beside products: started, carried on in two fusions, one of them in a loop.
ASYNCHRONOUS = (FIXTURES / "asynchronous.hlo").read_text()


def test_exchanges_in_a_loop_count_as_often_as_it_turns():
    reduce = next(c for c in hlo.collectives(hlo.parse(LOOP)) if c.kind == "all-reduce")
    assert (reduce.times, reduce.devices) == (12, 4)
    assert reduce.nbytes == 12 * 64 * 128 * 2
    # A ring sends each array twice but for one part of it.
    assert reduce.moved == reduce.nbytes * 2 * 3 // 4


def test_groups_are_read_in_every_form():
    found = {c.kind: c for c in hlo.collectives(hlo.parse(LOOP))}
    assert {kind: c.devices for kind, c in found.items()} == {
        "all-reduce": 4,
        "all-gather": 8,
        "reduce-scatter": 8,
    }
    # What is scattered is eight times what stays.
    assert found["reduce-scatter"].nbytes == found["all-gather"].nbytes == 256 * 64 * 4


def test_an_exchange_beside_products_counts_once_and_its_end_not_at_all():
    found = hlo.collectives(hlo.parse(ASYNCHRONOUS))
    assert [(c.kind, c.times) for c in found] == [("all-gather", 1), ("collective-permute", 1)]
    assert found[1].nbytes == found[1].moved == 4 * 8 * 4


def test_cycles_count_loops_by_their_turns():
    program = hlo.parse(LOOP)
    assert hlo.cycles(program) == 12 * 100 + 7
    assert hlo.cycles_by_source(program) == {"jvp()/while/body/dot_general": 1200, "": 7}


def test_arrays_inside_fusions_take_no_memory():
    program = hlo.parse(LOOP)
    assert max(a.size for a in hlo.arrays(program)) == 256 * 64
    assert largest_with_side(program, 4096) == "none"
    assert largest_with_side(program, 256) == "f32[256,64]"


def test_exchanges_are_grouped_by_the_part_of_the_step():
    rows = group(hlo.collectives(hlo.parse(LOOP)))
    assert (rows[0].kind, rows[0].where) == ("all-reduce", "backward, by layer")
    assert {r.where for r in rows} == {"backward, by layer", "loss"}
    assert where("reduce_sum") == "update" and where("") == "compiler"
    assert where("transpose(jvp())/shard_map/psum") == where("shard_map/psum") == "backward"
    assert where("jvp()/shard_map/psum") == "loss"


@pytest.mark.parametrize(
    ("text", "nbytes"), [("bf16", 6), ("f32", 12), ("pred", 3), ("s4", 2), ("f8e4m3fn", 3)]
)
def test_bytes_of_a_dtype(text, nbytes):
    assert hlo.Array(text, (3,)).nbytes == nbytes


def test_a_text_without_a_program_is_refused():
    with pytest.raises(ValueError, match="ENTRY"):
        hlo.parse("HloModule nothing")
