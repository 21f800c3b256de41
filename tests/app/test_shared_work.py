"""Long work that pages share."""

import asyncio
import threading

import pytest

from pom.app.annotate.shared import Progress, SharedWork
from pom.errors import PomError


def test_a_second_page_joins_and_sees_how_far_it_is() -> None:
    begun: list[str] = []
    go_on, told = threading.Event(), threading.Event()

    def work_of(page: str, progress: Progress) -> str:
        begun.append(page)
        progress(3, 12)
        told.set()
        assert go_on.wait(10)
        return f"found for {page}"

    async def pages() -> None:
        work = SharedWork[str]()
        assert not work.running and await work.wait() is None
        work.begin(lambda progress: work_of("first", progress))
        await asyncio.to_thread(told.wait, 10)
        assert work.running and (work.done, work.total) == (3, 12)
        work.begin(lambda progress: work_of("second", progress))
        first = asyncio.create_task(work.wait())
        second = asyncio.create_task(work.wait())
        await asyncio.sleep(0)
        first.cancel()  # the page that began it was closed
        go_on.set()
        assert await second == work.result == "found for first"
        assert not work.running and begun == ["first"]
        work.begin(lambda progress: work_of("third", progress))
        assert work.result == "found for first"  # until there is another
        assert await work.wait() == "found for third"

    asyncio.run(pages())


def test_what_fails_is_told_to_all_and_can_be_begun_again() -> None:
    def fail(_progress: Progress) -> str:
        raise PomError("No.")

    async def pages() -> None:
        work = SharedWork[str]()
        work.begin(fail)
        for answer in await asyncio.gather(work.wait(), work.wait(), return_exceptions=True):
            assert isinstance(answer, PomError)
        with pytest.raises(PomError):
            await work.wait()
        work.begin(lambda _progress: "yes")
        assert await work.wait() == "yes"

    asyncio.run(pages())
