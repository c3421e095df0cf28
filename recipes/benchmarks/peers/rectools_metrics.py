"""The metrics of RecTools: `python rectools_metrics.py LISTS.npz` prints them as one line of JSON."""

from __future__ import annotations

import json
import sys

import numpy as np
import pandas as pd
from rectools.metrics import MRR, NDCG, AvgRecPopularity, CatalogCoverage, HitRate, MeanInvUserFreq, Recall


def main() -> None:
    with np.load(sys.argv[1], allow_pickle=False) as file:
        top, targets, candidates, users, items = (
            file[name] for name in ("top", "targets", "candidates", "users", "items")
        )
    case, place = np.nonzero(top >= 0)
    reco = pd.DataFrame({"user_id": case, "item_id": top[case, place], "rank": place + 1})
    test = pd.DataFrame({"user_id": np.arange(len(targets)), "item_id": targets})
    train = pd.DataFrame({"user_id": users, "item_id": items})
    # A repeated event is one interaction to RecTools' novelty; popularity counts all of them.
    once = train.drop_duplicates()
    found = {
        "novelty": MeanInvUserFreq(k=top.shape[1]).calc(reco, once),
        "popularity": AvgRecPopularity(k=top.shape[1]).calc(reco, train),
        "coverage": CatalogCoverage(k=top.shape[1], normalize=True).calc(reco, np.flatnonzero(candidates)),
    }
    for k in (1, 5, top.shape[1]):
        found[f"recall@{k}"] = Recall(k=k).calc(reco, test)
        found[f"ndcg@{k}"] = NDCG(k=k, divide_by_achievable=True).calc(reco, test)
        found[f"mrr@{k}"] = MRR(k=k).calc(reco, test)
        found[f"hit_rate@{k}"] = HitRate(k=k).calc(reco, test)
    print(json.dumps({name: float(value) for name, value in found.items()}))


if __name__ == "__main__":
    main()
