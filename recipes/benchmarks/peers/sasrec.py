"""SASRec of RecTools: `python sasrec.py QUESTION.npz FOLDER SETTINGS_JSON` writes FOLDER/N.npz after N epochs.

The settings are those of `SASRecModel`, and `write_after`, a list of numbers of epochs; the last one ends training.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from exchange import Answer, Histories, Question, read_question, write_answer
from pytorch_lightning import Callback, Trainer, seed_everything
from rectools.dataset import Dataset
from rectools.models import SASRecModel

SEED = 0
BATCH = 512


class Writer(Callback):
    """Writes what the model answers after some of the epochs."""

    def __init__(self, question: Question, folder: Path, after: list[int]) -> None:
        self.model: SASRecModel | None = None  # it is made with the trainer, and the trainer with this
        self.question, self.folder, self.after = question, folder, after
        self.seconds, self.started = 0.0, 0.0

    def __deepcopy__(self, _: Any) -> Writer:
        return self  # RecTools copies its trainer; the model of a copy would be another one

    def on_train_epoch_start(self, *_: Any) -> None:
        self.started = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, *_: Any) -> None:
        self.seconds += time.monotonic() - self.started
        epoch = trainer.current_epoch + 1
        if epoch in self.after:
            write_answer(self.folder / f"{epoch}.npz", answer(self.model, self.question))
        print(json.dumps({"epoch": epoch, "seconds": round(self.seconds, 1)}), flush=True)


def interactions(train: Histories) -> pd.DataFrame:
    lengths = np.diff(train.offsets)
    place = np.arange(len(train.items)) - np.repeat(train.offsets[:-1], lengths)
    return pd.DataFrame(
        {
            "user_id": np.repeat(np.arange(len(train)), lengths),
            "item_id": train.items.astype(np.int64),
            "weight": 1.0,
            "datetime": pd.to_datetime(place, unit="s"),  # RecTools sorts by time: the order of the history
        }
    )


def answer(model: SASRecModel, question: Question) -> Answer:
    """The model's vectors of all items and of all histories that are asked for."""
    numbers = model.data_preparator.item_id_map.to_internal  # catalog row -> number in the model
    rows = np.array([row for row in numbers.index if not isinstance(row, str)], np.int64)
    inside = np.zeros(question.catalog, np.int64)
    inside[rows] = numbers.loc[rows].to_numpy()
    net = model.lightning_model.torch_model
    was_training = net.training
    net.eval()
    with torch.no_grad():
        embeddings = net.item_model.get_all_embeddings()
        users = tuple(_states(model, net, embeddings, asked, inside) for asked in question.asked)
        vectors = net.similarity_module.item_tower_forward(embeddings).numpy()
    net.train(was_training)
    items = np.zeros((question.catalog, vectors.shape[1]), np.float32)
    items[rows] = vectors[inside[rows]]
    return Answer(users, items, inside > 0)


def _states(
    model: SASRecModel, net: torch.nn.Module, embeddings: torch.Tensor, asked: Histories, inside: np.ndarray
) -> np.ndarray:
    length = model.data_preparator.session_max_len
    sessions = np.zeros((len(asked), length), np.int64)  # 0 = padding, on the left
    for number in range(len(asked)):
        history = inside[asked[number]]
        history = history[history > 0][-length:]
        sessions[number, length - len(history) :] = history
    found = []
    for start in range(0, len(asked), BATCH):
        batch = {"x": torch.from_numpy(sessions[start : start + BATCH])}
        state = net.encode_sessions(batch, embeddings)[:, -1, :]
        found.append(net.similarity_module.session_tower_forward(state).numpy())
    users = np.concatenate(found)
    users[sessions[:, -1] == 0] = 0  # nothing is known of whoever met only items that the model does not know
    return users


def main() -> None:
    question, folder, settings = read_question(Path(sys.argv[1])), Path(sys.argv[2]), json.loads(sys.argv[3])
    torch.set_num_threads(2)
    seed_everything(SEED, verbose=False)
    after = settings.pop("write_after")
    writer = Writer(question, folder, after)

    def trainer() -> Trainer:
        return Trainer(
            max_epochs=max(after),
            min_epochs=max(after),
            callbacks=[writer],
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )

    writer.model = SASRecModel(**settings, get_trainer_func=trainer, recommend_torch_device="cpu")
    writer.model.fit(Dataset.construct(interactions(question.train)))


if __name__ == "__main__":
    main()
