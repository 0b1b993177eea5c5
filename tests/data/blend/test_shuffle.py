import numpy as np
import pytest

from nemo_vtb.data.blend.shuffle import shuffled


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 1024, 1025, 4097])
def test_every_row_comes_once_in_every_epoch(rows):
    for key in (0, 1, 2**63):
        assert sorted(shuffled(np.arange(rows), rows, key)) == list(range(rows))


def test_any_part_can_be_had_alone():
    whole = shuffled(np.arange(5000), 5000, 5)
    np.testing.assert_array_equal(shuffled(np.arange(300, 310), 5000, 5), whole[300:310])


def test_it_is_the_same_for_ever():
    assert shuffled(np.arange(8), 8, 42).tolist() == [4, 5, 6, 1, 2, 0, 7, 3]
    assert shuffled(np.arange(4), 5000, 42).tolist() == [2120, 1809, 1773, 139]


def test_every_order_of_four_rows_is_equally_likely():
    counts: dict[tuple[int, ...], int] = {}
    for key in range(1200):
        order = tuple(shuffled(np.arange(4), 4, key << 13))
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 24
    # Chi-square with 23 degrees of freedom; 49.7 is exceeded once in a thousand.
    assert sum((count - 50) ** 2 / 50 for count in counts.values()) < 49.7


def test_neighbours_end_far_apart():
    rows = shuffled(np.arange(100_000), 100_000, 7)
    assert abs(np.corrcoef(rows[:-1], rows[1:])[0, 1]) < 0.02
    assert abs(np.corrcoef(np.arange(100_000), rows)[0, 1]) < 0.02
