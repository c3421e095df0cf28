"""A pretraining recipe: YAML that holds only what differs from the defaults here."""

from __future__ import annotations

from dataclasses import field
from typing import Any, Literal

from adapt.config import config, parse, read_yaml
from adapt.features.base import EncoderSpec
from adapt.train.loop import LoopOptions
from adapt.train.structure import StructureGrid
from adapt.workflows.recipe_files import recipe_path


@config
class ObjectiveSettings:
    """The objectives, their weights and what they draw.

    Attributes:
        next_item, alignment, cloze: weights in the sum; 0 leaves an objective out.
        pairs: of the alignment objective.
        temperature: at the start; it is learned.
        batch_size: histories a batch.
        source_temperature: each step draws from one data set, with a chance proportional to its size to this power:
            1 follows the sizes, 0 makes all equal.
        negatives: candidates drawn uniformly from the catalog, or "all": every item, as the paper.
        catalog_batch: items a batch for the alignment objective.
        modality_dropout: chance that an item with several modalities shows only one of them.
        second_view: of the pairs with a dash: a second pass through dropout, or features moved by a learned adversary.
        mask_ratio: chance that the cloze objective hides a place that is not the last.
    """

    next_item: float = 1.0
    alignment: float = 0.0
    cloze: float = 0.0
    pairs: list[str] = field(default_factory=lambda: ["V-T", "V-VT", "T-VT"])
    temperature: float = 0.07
    batch_size: int = 128
    source_temperature: float = 0.5
    negatives: int | Literal["all"] = 512
    catalog_batch: int = 512
    modality_dropout: float = 0.3
    second_view: Literal["dropout", "learned"] = "dropout"
    mask_ratio: float = 0.2


@config
class TuningSettings:
    """How a transformer text encoder is tuned.

    Attributes:
        rank, alpha: of the LoRA adapter.
        window: items in a row that make one training case; each after the first is predicted.
        max_length: tokens of a text that are read while tuning.
    """

    rank: int = 16
    alpha: float = 32.0
    window: int = 6
    max_length: int = 32


@config
class Recipe:
    """What `adapt pretrain` does.

    Attributes:
        name, summary: of the checkpoint or encoder.
        stage: ``"towers"`` makes a checkpoint, ``"encoder"`` a tuned text encoder for one, ``"leave-one-out"``
            trains and tests towers on one data set, as papers do.
        encoders: modality -> encoder.
        encoder_recipe: recipe of the stage ``"encoder"`` that runs first, on the same data sets; its result is the text
            encoder of the towers, and part of the checkpoint.
        dims: modality -> principal directions kept of its features; a modality that is not named keeps all.
        architecture, towers: see :mod:`adapt.hub.format`; the widths of the features are filled in.
        prior_count: weight of the sources' statistics in the normalisation of a catalog, in items.
        structure: grid of the structure parameters.
        structure_encoders: modality -> encoder to choose the structure with, where ``encoders`` were tuned on the data
            sets themselves and would flatter what fits them.
        unordered: names of data sets whose events have no order; they give statistics and alignment only.
        hold_back: data set -> number of items that nothing is learned from, to be tested on; see
            :func:`adapt.train.sources.held_back`.
        objectives: see :class:`ObjectiveSettings`.
        tuning: see :class:`TuningSettings`.
        loop: see :class:`~adapt.train.loop.LoopOptions`.
        leave_out: names of the data sets that are left out in turn to decide how far training may move the towers;
            empty = every one whose order is known. ``A+B`` leaves out both at once (stage ``"encoder"``).
        mixtures: shares of the way from the start to the trained weights that are tried.
        cases: how many measure a left-out data set, at most; see :func:`adapt.train.sources.prepare_source`.
        licences: sentences for the card on the licences of data and encoders.
        notes: further sentences for the card.
        repository: ``org/name`` that the checkpoint will be shared as, for the card.
        license: of the checkpoint, as the Hub names licences; empty = Apache-2.0.
        trainable: regular expression; parameters whose name it matches from its beginning are trained, others stay.
        whitening: power of the whitening of what the paper's towers read; 0 only centres features.
        alignment_first: how long to train alignment alone before the other objectives (``"leave-one-out"`` only); None
            leaves it out.
        test_events: last events of each user that are tested, each with all that came before it (``"leave-one-out"``).
        seed: of every draw.
    """

    name: str
    summary: str
    encoders: dict[str, EncoderSpec]
    loop: LoopOptions
    stage: Literal["towers", "encoder", "leave-one-out"] = "towers"
    encoder_recipe: str = ""
    dims: dict[str, int] = field(default_factory=dict)
    architecture: Literal["content", "mmsrec"] = "content"
    towers: dict[str, Any] = field(default_factory=dict)
    prior_count: float = 256.0
    structure: StructureGrid = field(default_factory=StructureGrid)
    structure_encoders: dict[str, EncoderSpec] = field(default_factory=dict)
    unordered: list[str] = field(default_factory=list)
    hold_back: dict[str, int] = field(default_factory=dict)
    objectives: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    tuning: TuningSettings = field(default_factory=TuningSettings)
    leave_out: list[str] = field(default_factory=list)
    mixtures: list[float] = field(default_factory=lambda: [0.25, 0.5, 0.75, 1.0])
    cases: int = 4000
    licences: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    repository: str = ""
    license: str = ""
    trainable: str = ""
    whitening: float = 0.0
    alignment_first: LoopOptions | None = None
    test_events: int = 1
    seed: int = 0


def load_recipe(reference: str) -> Recipe:
    """Read and check a recipe.

    Raises:
        UsageError: there is no such recipe, or a key or value does not fit.
    """
    path = recipe_path(reference)
    return parse(Recipe, read_yaml(path), str(path))
