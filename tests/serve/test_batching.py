"""What waits together is answered together; each gets its own answer; nothing is lost and nothing waits in vain."""

from __future__ import annotations

import asyncio

from adapt.serve.settings import Settings

from .asking import asking, recommend, record, run, until
from .fake_service import FakeService


def test_what_waits_while_a_batch_is_computed_forms_the_next_one() -> None:
    async def work() -> None:
        fake = FakeService()
        async with asking(fake, Settings(batch=8)) as caller:
            first = recommend(caller)
            await asyncio.to_thread(fake.begun.acquire)
            waiting = [recommend(caller) for _ in range(11)]
            context = caller._transport.app.state.context  # type: ignore[attr-defined]
            await until(lambda: context.compute.waiting() == 11)
            fake.open.set()
            assert [(await task).status_code for task in (first, *waiting)] == [200] * 12
        assert fake.batches == [1, 8, 3]

    run(work())


def test_an_ask_that_cannot_be_answered_harms_no_other() -> None:
    async def work() -> None:
        fake = FakeService()
        async with asking(fake) as caller:
            first = recommend(caller)
            await asyncio.to_thread(fake.begun.acquire)
            tasks = [recommend(caller, "unknown" if number == 1 else "a") for number in range(3)]
            context = caller._transport.app.state.context  # type: ignore[attr-defined]
            await until(lambda: context.compute.waiting() == 3)
            fake.open.set()
            assert (await first).status_code == 200
            assert [(await task).status_code for task in tasks] == [200, 422, 200]
        assert fake.batches == [1, 3]

    run(work())


def test_searches_take_turns_with_batches() -> None:
    async def work() -> None:
        fake = FakeService()
        order: list[str] = []
        async with asking(fake, Settings(batch=1)) as caller:

            async def search() -> None:
                assert (await caller.post("/v1/search", json={"text": "x"})).status_code == 200
                order.append("search")

            async def ask() -> None:
                assert (await caller.post("/v1/recommend", json={"history": ["x"]})).status_code == 200
                order.append("ask")

            first = recommend(caller)
            await asyncio.to_thread(fake.begun.acquire)
            tasks = [asyncio.ensure_future(work()) for work in (ask, ask, ask, search, search, search)]
            context = caller._transport.app.state.context  # type: ignore[attr-defined]
            await until(lambda: context.compute.waiting() == 6)
            fake.open.set()
            await asyncio.gather(first, *tasks)
        assert order == ["search", "ask"] * 3

    run(work())


def test_a_request_that_ran_out_of_time_is_not_computed() -> None:
    async def work() -> None:
        fake = FakeService()
        async with asking(fake, Settings(seconds=0.2)) as caller:
            first = recommend(caller)
            await asyncio.to_thread(fake.begun.acquire)
            late = [recommend(caller) for _ in range(5)]
            answers = [await task for task in (first, *late)]
            assert [answer.status_code for answer in answers] == [503] * 6
            assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
            fake.open.set()
            assert (await recommend(caller)).status_code == 200
        assert fake.batches == [1, 1]  # the one that was under way, and the one that came after

    run(work())


def test_reads_do_not_wait_for_a_write() -> None:
    async def work() -> None:
        fake = FakeService()
        async with asking(fake) as caller:
            fake.open.set()
            assert (await recommend(caller)).status_code == 200
            fake.open.clear()
            write = record(caller)
            await asyncio.to_thread(fake.begun.acquire)
            assert not write.done()
            fake.open.set()
            assert (await write).status_code == 200

    run(work())


def test_what_waits_when_the_service_stops_is_still_done_and_what_comes_after_is_refused() -> None:
    async def work() -> None:
        fake = FakeService()
        async with asking(fake) as caller:
            writes = [record(caller) for _ in range(5)]
            await asyncio.to_thread(fake.begun.acquire)
            context = caller._transport.app.state.context  # type: ignore[attr-defined]
            await until(lambda: context.writes.waiting() == 4)
            stopping = asyncio.ensure_future(asyncio.to_thread(context.stop))
            await until(lambda: not context.ready)
            assert (await caller.get("/v1/ready")).status_code == 503
            fake.open.set()
            assert [(await task).status_code for task in writes] == [200] * 5
            await stopping
            late = await record(caller)
            assert late.status_code == 503
            assert "retry-after" in late.headers
        assert len(fake.recorded) == 5

    run(work())
