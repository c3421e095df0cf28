from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from adapt.data import load_dataset

# name -> users, items, interactions, items with an image; as the data sets' own description counts them
COUNTS = {
    "amazon_sports_2014": (35_598, 18_357, 296_337, 0),
    "amazon_toys_2014": (19_412, 11_924, 167_597, 0),
    "movielens_small": (610, 9_742, 100_836, 2_863),
    "amazon_beauty_2014": (22_363, 12_101, 198_502, 0),
    "yelp": (30_431, 20_033, 316_354, 0),
    "fashion_catalog": (0, 12_000, 0, 12_000),
    "anime": (4_714, 7_390, 419_943, 0),
    "book_crossing": (2_946, 17_384, 272_678, 0),
    "amazon_industrial_2018": (3_285, 3_686, 22_743, 0),
    "ml100k": (943, 1_682, 100_000, 1_236),
}


@pytest.mark.real_data
@pytest.mark.parametrize("name", COUNTS)
def test_counts(name: str, real_data: Callable[[str], Path]) -> None:
    data = load_dataset(real_data(name))
    report = data.report
    assert (report.users, report.items, report.interactions, report.with_image) == COUNTS[name]
    assert report.text_template[0] == "title"
    if data.interactions is not None:
        times = data.interactions.timestamps
        assert times is not None
        same_user = np.diff(data.interactions.users()) == 0
        assert (np.diff(times)[same_user] >= 0).all()
