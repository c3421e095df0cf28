"""A service below HTTP: what is written counts at once, once, and after a restart."""

from __future__ import annotations

import io
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adapt import Checkpoint, few_shot, load_dataset
from adapt.errors import AdaptError, ConflictError, DataError, NotFoundError, UsageError
from adapt.index.filters import parse_condition
from adapt.memory.store import EventStore
from adapt.workflows.few_shot import FewShotRecommender, interactions_of, memory_for
from adapt.workflows.index_types import SearchOptions
from adapt.workflows.live_service import LiveService, default_memory
from adapt.workflows.live_types import Answer, Ask, Event, LiveOptions, NewItem

from .index_cases import built, rows, saved, table

USERS, STEPS, ITEMS = 40, 5, 24
EVENTS = "user_id,item_id,timestamp\n" + "".join(
    f"u{user},{(user * 5 + step * (1 + user % 2)) % ITEMS:03},{100 * user + step}\n"
    for user in range(USERS)
    for step in range(STEPS)
)


@pytest.fixture(scope="module")
def model(tiny: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tiny, tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def _template(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    (folder / "shop" / "images").mkdir(parents=True)
    table(folder / "shop" / "items.csv", rows(ITEMS))
    (folder / "shop" / "images" / "003.png").write_bytes(picture("red"))
    (folder / "shop" / "interactions.csv").write_text(EVENTS)
    built(folder / "shop", folder / "index", model)
    return folder


@pytest.fixture
def options(_template: Path, tmp_path: Path) -> LiveOptions:
    shutil.copytree(_template, tmp_path / "work")
    return LiveOptions(str(tmp_path / "work" / "index"), dataset=str(tmp_path / "work" / "shop"))


@pytest.fixture
def service(options: LiveOptions) -> Iterator[LiveService]:
    opened = LiveService.open(options)
    yield opened
    opened.close()


def picture(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
    return buffer.getvalue()


def one(service: LiveService, ask: Ask) -> Answer:
    (answer,) = service.recommend([ask])
    if isinstance(answer, AdaptError):
        raise answer
    return answer


def ids(answer: Answer) -> list[str]:
    return [item.item_id for item in answer.items]


def test_it_answers_as_the_few_shot_recommender_does(service: LiveService, options: LiveOptions, model: Path) -> None:
    """The memory counts the same events; only the folds that weights are chosen on are others."""
    made = few_shot(Checkpoint.from_pretrained(str(model)), load_dataset(options.dataset))
    tuned = replace(made.tuned, fusion=service.memory.fusion)
    known = interactions_of(made.dataset)
    memory = memory_for(known, ITEMS, made.prefixes, tuned, 0)
    assert memory.states is not None
    expected = FewShotRecommender(made.zero_shot, memory, tuned, made.prefixes)
    for history in (("003", "004"), ("000",), ("006", "014", "022")):
        (wanted,) = expected.recommend(history=history, k=8)
        found = one(service, Ask(history=history, options=SearchOptions(k=8)))
        assert ids(found) == list(wanted.item_ids)
        np.testing.assert_allclose([item.score for item in found.items], wanted.scores, rtol=1e-3, atol=1e-4)
        by_content = one(service, Ask(history=history, method="zero-shot"))
        assert ids(by_content) == list(service.index.by_history(history).item_ids)


def test_a_batch_answers_as_single_requests_do_and_errors_stay_where_they_belong(service: LiveService) -> None:
    cheap = SearchOptions(k=3, where=(parse_condition("price<=10"),))
    asks = [
        Ask(history=("003", "004"), options=cheap),
        Ask(user_id="u1", method="zero-shot"),
        Ask(user_id="nobody"),
        Ask(history=("nothing",)),
        Ask(history=("005", "nothing"), method="zero-shot"),
        Ask(history=("005",), method="oracle"),
        Ask(history=("005",), options=SearchOptions(deny=("004",), allow=("004", "006"))),
        Ask(history=("005",), user_id="u1"),
    ]
    answers = service.recommend(asks)
    assert [type(answer) for answer in answers] == [
        Answer, Answer, NotFoundError, NotFoundError, Answer, UsageError, Answer, UsageError,
    ]  # fmt: skip
    for ask, answer in zip(asks, answers, strict=True):
        if isinstance(answer, Answer):
            assert ids(one(service, ask)) == ids(answer)
    assert all(int(item) <= 9 for item in ids(answers[0]))  # type: ignore[arg-type]
    assert ids(answers[6]) == ["006"]  # type: ignore[arg-type]
    assert answers[4].unknown == ("nothing",)  # type: ignore[union-attr]
    assert "u1" not in ids(answers[1])  # type: ignore[arg-type]


def test_an_event_counts_for_the_next_answer_of_its_user_and_of_others(service: LiveService) -> None:
    ask = Ask(history=("010",), options=SearchOptions(k=ITEMS))
    before = [item.score for item in one(service, ask).items if item.item_id == "017"]
    with pytest.raises(NotFoundError):
        one(service, Ask(user_id="new"))
    for user in range(30):
        service.record([Event(f"fresh{user}", "010", 1.0), Event(f"fresh{user}", "017", 2.0)])
    after = [item.score for item in one(service, ask).items if item.item_id == "017"]
    assert after[0] > before[0]
    service.record([Event("new", "010")])
    assert "010" not in ids(one(service, Ask(user_id="new", options=SearchOptions(k=ITEMS))))
    explained = one(service, replace(ask, explain=True))
    (reason,) = [item.reason for item in explained.items if item.item_id == "017"]
    assert reason is not None
    assert reason.because == ("010",)
    assert "in your history" in reason.text
    assert max(reason.parts, key=lambda name: reason.parts[name]) in {"cooccurrence", "successors", "item_knn"}
    np.testing.assert_allclose(sum(reason.parts.values()), after[0], atol=1e-2)


def test_a_repeated_key_changes_nothing_and_another_request_under_it_is_refused(service: LiveService) -> None:
    events = [Event("u", "001", 5.0)]
    first = service.record(events, key="k")
    again = service.record(events, key="k")
    assert (first.recorded, first.replayed, again.recorded, again.replayed) == (1, False, 1, True)
    assert service.store.history("u") == ["001"]
    with pytest.raises(ConflictError):
        service.record([Event("u", "002", 5.0)], key="k")
    item = NewItem("new", {"title": "camp stove of steel"})
    added = service.put_items([item], key="p")
    assert service.put_items([item], key="p") == replace(added, replayed=True)
    with pytest.raises(ConflictError):
        service.remove_items(["new"], key="p")
    removed = service.remove_items(["new"], key="r")
    assert service.remove_items(["new"], key="r") == replace(removed, replayed=True)
    assert (added.added, removed.removed, removed.items) == (1, 1, ITEMS)


def test_new_items_are_found_by_every_way_and_removed_ones_by_none(service: LiveService) -> None:
    service.put_items([NewItem("new", {"title": "camp stove 2", "category": "camp", "price": "3"}, picture("blue"))])
    service.record([Event(f"v{user}", item, step) for user in range(9) for step, item in enumerate(("002", "new"), 1)])
    everything = SearchOptions(k=100)
    assert service.by_text("camp stove 2", everything).items[0].item_id in {"new", "002"}
    assert "new" in ids(service.similar("002", everything))
    assert "new" in ids(one(service, Ask(history=("002",), options=everything)))
    assert "new" in ids(one(service, Ask(history=("002",), method="zero-shot", options=everything)))
    assert service.item("new").columns["category"] == "camp"
    assert service.picture("new") == picture("blue")
    service.put_items([NewItem("new", {"title": "white rose"})])
    assert service.picture("new") is None
    assert not service.item("new").has_picture
    service.remove_items(["new"])
    for found in (
        service.by_text("white rose", everything),
        one(service, Ask(history=("002",), options=everything)),
        one(service, Ask(history=("002",), method="zero-shot", options=everything)),
    ):
        assert "new" not in ids(found)
    with pytest.raises(NotFoundError):
        service.similar("new", everything)
    assert one(service, Ask(history=("new", "002"))).unknown == ("new",)


def test_the_data_sets_pictures_are_shown(service: LiveService) -> None:
    assert service.picture("003") == picture("red")
    assert service.picture("004") is None
    assert [item.has_picture for item in service.similar("004", SearchOptions(k=30)).items].count(True) == 1


def test_all_or_none_of_a_bulk_is_written(service: LiveService) -> None:
    generation = service.index.snapshot.generation
    for bad in (
        [NewItem("a", {"title": "tent"}), NewItem("b", {})],
        [NewItem("a", {"title": "tent"}), NewItem("a", {"title": "rose"})],
    ):
        with pytest.raises(DataError):
            service.put_items(bad)
    with pytest.raises(NotFoundError):
        service.remove_items(["001", "nothing"], key="half")
    with pytest.raises(NotFoundError):
        service.record([Event("u", "001"), Event("u", "nothing")])
    assert service.index.snapshot.generation == generation
    assert service.store.history("u") == []
    assert service.remove_items(["001"], key="other").items == ITEMS - 1


def test_a_removal_that_died_half_way_is_finished_by_its_key(options: LiveOptions) -> None:
    service = LiveService.open(options)
    removal = service.store.keep_answer

    def die(key: str, request: object, answer: object) -> None:
        if isinstance(answer, dict) and not answer.get("begun", True):
            raise KeyboardInterrupt
        removal(key, request, answer)

    service.store.keep_answer = die  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        service.remove_items(["001", "002"], key="k")
    service.close()
    again = LiveService.open(options)
    assert len(again.index.snapshot) == ITEMS - 2
    assert again.remove_items(["001", "002"], key="k").removed == 2
    assert again.remove_items(["001", "002"], key="k").replayed


def test_a_restart_gives_the_same_answers_and_imports_nothing_twice(options: LiveOptions) -> None:
    service = LiveService.open(options)
    service.record([Event("late", "011", 1e9), Event("late", "003", 2e9), Event("u3", "012", 3e9)])
    asks = [Ask(history=(f"{number:03}",), options=SearchOptions(k=9)) for number in range(ITEMS)]
    before, counts = [one(service, ask) for ask in asks], service.store.counts()
    service.close()
    again = LiveService.open(options)
    assert again.store.counts() == counts == {"events": USERS * STEPS + 3, "users": USERS + 1, "items": ITEMS}
    for ask, answer in zip(asks, before, strict=True):
        found = one(again, ask)
        assert ids(found) == ids(answer)
        np.testing.assert_allclose([i.score for i in found.items], [i.score for i in answer.items], atol=1e-4)


def test_another_process_of_the_same_service_sees_what_was_written(service: LiveService, options: LiveOptions) -> None:
    other = LiveService.open(options)
    service.put_items([NewItem("new", {"title": "tent of silk"}, picture("green"))])
    service.record([Event("fresh", "new", 1.0), Event("fresh", "007", 2.0)])
    service.remove_items(["020"])
    other.refresh()
    assert other.picture("new") == picture("green")
    assert other.item("new").has_picture
    for ask in (Ask(user_id="fresh"), Ask(history=("new", "004")), Ask(history=("new",), method="zero-shot")):
        assert ids(one(other, ask)) == ids(one(service, ask))
        assert "020" not in ids(one(other, replace(ask, options=SearchOptions(k=100))))
    service.index.compact()
    other.refresh()
    assert ids(one(other, Ask(user_id="fresh"))) == ids(one(service, Ask(user_id="fresh")))


def test_reads_and_writes_from_many_threads_agree_in_the_end(service: LiveService) -> None:
    failures: list[BaseException] = []

    def write(number: int) -> None:
        for step in range(6):
            service.put_items(
                [NewItem(f"w{number}-{step}", {"title": f"tent {number} {step}"})], key=f"{number}/{step}"
            )
            service.record([Event(f"w{number}", f"w{number}-{step}", float(step))], key=f"e{number}/{step}")

    def read() -> None:
        for _ in range(30):
            for answer in service.recommend([Ask(history=("001", "002")), Ask(user_id="u1", method="zero-shot")]):
                assert isinstance(answer, Answer)
                assert len(answer.items) == 10

    def guarded(job: object, *arguments: int) -> None:
        try:
            job(*arguments)  # type: ignore[operator]
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(write, number)) for number in range(3)]
    threads += [threading.Thread(target=guarded, args=(read,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(service.index.snapshot) == ITEMS + 18
    for number in range(3):
        assert service.store.history(f"w{number}") == [f"w{number}-{step}" for step in range(6)]
        found = one(service, Ask(user_id=f"w{number}", options=SearchOptions(k=100)))
        assert not {f"w{number}-{step}" for step in range(6)} & set(ids(found))


def test_without_events_few_shot_is_zero_shot(options: LiveOptions, tmp_path: Path) -> None:
    shutil.copytree(options.index, tmp_path / "index")
    service = LiveService.open(LiveOptions(str(tmp_path / "index")))
    assert service.store.path == default_memory(tmp_path / "index") == tmp_path / "index-memory"
    for number in range(0, ITEMS, 5):
        ask = Ask(history=(f"{number:03}",), options=SearchOptions(k=12))
        assert ids(one(service, ask)) == ids(one(service, replace(ask, method="zero-shot")))
    diverse = one(service, Ask(history=("001",), options=SearchOptions(k=5, diversity=0.7)))
    assert len(set(ids(diverse))) == 5
    with pytest.raises(UsageError):
        one(service, Ask(history=()))
    info = service.info()
    assert info["index"]["count"] == ITEMS
    assert info["memory"]["events"] == 0


def test_a_memory_holds_no_more_than_its_folder(options: LiveOptions) -> None:
    """Weights are stored with the model that they were chosen for."""
    LiveService.open(options).close()
    store = EventStore(default_memory(options.index))
    known = store.fact("fusion")
    assert known["events"] == USERS * STEPS
    store.set_fact("fusion", known | {"model": "another", "content": 0.123})
    store.close()
    assert LiveService.open(options).memory.fusion.content != 0.123
