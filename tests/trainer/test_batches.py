"""Packing changes how rows are computed, never which rows or what they mean."""

import random

import torch

from workers.trainer.batches import epoch_batches, mask, pack, split_packs
from workers.trainer.encode import Row

CPU = torch.device("cpu")
ROWS = [Row((5, 6, 7, 10, 11), 4), Row((5, 6, 8, 9, 12, 13), 4)]


def test_a_shared_prefix_is_laid_out_once() -> None:
    packed = pack(ROWS, CPU)

    assert packed.input_ids.tolist() == [[5, 6, 7, 10, 11, 8, 9, 12, 13]]
    assert packed.position_ids.tolist() == [[0, 1, 2, 3, 4, 2, 3, 4, 5]]


def test_every_label_is_predicted_by_the_token_before_it_in_its_own_row() -> None:
    packed = pack(ROWS, CPU)

    assert packed.labels.tolist() == [11, 12, 13]
    assert packed.input_ids[0, packed.predict].tolist() == [10, 9, 12]


def test_rows_with_the_same_prompt_each_predict_their_own_answer() -> None:
    packed = pack([Row((5, 6, 7), 2), Row((5, 6, 8), 2)], CPU)

    assert packed.input_ids.tolist() == [[5, 6, 7, 6, 8]]
    assert packed.predict.tolist() == [1, 3]


def test_a_token_sees_the_prefix_and_its_own_row_only() -> None:
    packed = pack(ROWS, CPU)
    assert packed.segments is not None

    sees = [(row == 0).nonzero().flatten().tolist() for row in mask(packed.segments, torch.float32)[0, 0]]

    first = [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3, 4]]
    second = [[0, 1, 5], [0, 1, 5, 6], [0, 1, 5, 6, 7], [0, 1, 5, 6, 7, 8]]
    assert sees == first + second


def test_passages_and_chats_keep_prefixes_of_their_own() -> None:
    packed = pack([Row((20, 21), 1), ROWS[0], Row((22, 23), 1), ROWS[1]], CPU)
    assert packed.segments is not None

    sees = [(row == 0).nonzero().flatten().tolist() for row in mask(packed.segments, torch.float32)[0, 0]]

    assert packed.input_ids.tolist() == [[5, 6, 7, 10, 11, 8, 9, 12, 13, 20, 21, 22, 23]]
    assert packed.position_ids.tolist() == [[0, 1, 2, 3, 4, 2, 3, 4, 5, 0, 1, 0, 1]]
    assert sees[9:] == [[9], [9, 10], [11], [11, 12]]


def test_packs_hold_every_row_and_stay_within_their_size() -> None:
    rows = [Row(tuple(range(length)), 1) for length in (3, 9, 4, 30, 2, 8)]

    packs = list(split_packs(rows, pack_tokens=12))

    assert sorted(len(row) for group in packs for row in group) == [2, 3, 4, 8, 9, 30]
    assert all(sum(map(len, group)) <= 12 or len(group) == 1 for group in packs)


def test_epochs_hold_every_row_once_in_an_order_of_their_own() -> None:
    rows = [Row((i, i), 1) for i in range(10)]
    shuffle = random.Random(0)

    first, second = (list(epoch_batches(rows, 3, shuffle)) for _ in range(2))

    assert [len(batch) for batch in first] == [3, 3, 4]
    assert {row for batch in first for row in batch} == set(rows)
    assert first != second
