"""The engine's ``Together``: the same results as one after another, every pass counted once, errors, memory."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from region_toys import Scored
from torch import Tensor

from xaibench.api import (
    Apply,
    Backward,
    Batch,
    Done,
    Facts,
    Forward,
    LayerBackward,
    Passes,
    PluginError,
    Programme,
    Together,
    Wait,
)
from xaibench.api.probes import addressed
from xaibench.detector.batch_size import calls_in_a_row, compute_batch
from xaibench.detector.engine import ProbeEngine
from xaibench_testing.harness import make_bench, value
from xaibench_testing.planted import LinearDetector

SIZE = (4, 6)
BATCH = 8
WEIGHTS = torch.linspace(-1, 1, 72).view(3, *SIZE).double()


def pictures(n: int, seed: int) -> Tensor:
    return torch.rand((n, 3, *SIZE), generator=torch.Generator().manual_seed(seed))


def climb(seed: int, steps: int) -> Programme[bytes]:
    """A chain of requests, each of which depends on the last reply: as an attack."""
    image = pictures(1, seed)
    for _ in range(steps):
        reply: Tensor = yield Forward(image, output="logit")
        image = (image + 0.1 * reply[:, 1, None, None, None].sin()).clamp(0, 1)
    return image.numpy().tobytes()


def count(n: int, seed: int = 0) -> Programme[list[float]]:
    reply: Tensor = yield Forward(pictures(n, seed), output="logit")
    return reply[:, 1].tolist()


def together(*programmes: Programme[Any]) -> Programme[list[Any]]:
    found: list[Any] = yield Together(programmes)
    return found


def in_turn(*programmes: Programme[Any]) -> Programme[list[Any]]:
    found = []
    for programme in programmes:
        found.append((yield from programme))
    return found


class Calls(Scored):
    """A linear score; counts calls by the rows that it was shown."""

    def __init__(self) -> None:
        super().__init__(lambda images: 0.25 + (images * WEIGHTS).sum(dim=(1, 2, 3)), SIZE)

    @property
    def calls(self) -> float:
        return self.pictures / BATCH


def run(build: Callable[[], Any], detector: Any = None) -> Done[Any]:
    return ProbeEngine(detector or Calls(), BATCH).run_one(build)


# ---- results and passes ---------------------------------------------------------------------------------------------


class Shown:
    """A detector as the choice of a batch sees it."""

    def __init__(self, side: int, device: str = "cpu", engine: str = "torch", **batch: int) -> None:
        self.facts = SimpleNamespace(input_size=(side, side), batch=Batch(**batch), engine=engine)
        self.device = torch.device(device)


@pytest.mark.parametrize(
    ("detector", "wanted", "batch"),
    [
        (Shown(64), None, 16),
        (Shown(128), None, 16),
        (Shown(224), None, 16),
        (Shown(299), None, 8),
        (Shown(1024), None, 8),
        (Shown(2048), None, 8),
        (Shown(224, "cuda"), None, 64),
        (Shown(64, engine="onnxruntime"), None, 16),
        (Shown(24, engine="onnxruntime"), None, 16),
        (Shown(100, engine="onnxruntime"), None, 4),
        (Shown(128, engine="onnxruntime"), None, 4),
        (Shown(224, engine="onnxruntime"), None, 4),
        (Shown(64, "cuda", engine="onnxruntime"), None, 64),
        (Shown(64, engine="onnxruntime"), 50, 50),
        (Shown(64, engine="onnxruntime", maximum=10), None, 10),
        (Shown(224), 50, 50),
        (Shown(64, maximum=10), None, 10),
        (Shown(64, maximum=10), 4, 4),
        (Shown(64, fixed=3), 4, 3),
    ],
)
def test_the_compute_batch_is_what_was_asked_for_or_suits_the_device_as_far_as_the_model_takes_it(
    detector: Any, wanted: int | None, batch: int
) -> None:
    assert compute_batch(detector, wanted) == batch


@pytest.mark.parametrize("asked", [2 * BATCH, BATCH + 1])
def test_a_detector_that_changes_its_input_changes_a_copy(asked: int) -> None:
    class Changes(Calls):
        def scores(self, images: Tensor) -> Tensor:
            found = super().scores(images)
            images.zero_()
            return found

    images, detector = pictures(asked, 0), Changes()
    kept = images.clone()

    def programme() -> Programme[Tensor]:
        return (yield Forward(images, output="logit"))

    done = run(programme, detector)
    assert torch.equal(images, kept)
    assert torch.equal(value(done), Calls().scores(kept))
    assert detector.calls == 2


@pytest.mark.parametrize("fixed", [1, 3])
def test_a_small_fixed_batch_is_kept_and_a_picture_that_fails_ends_its_own_programme_alone(fixed: int) -> None:
    class Fixed(Calls):
        def __init__(self) -> None:
            super().__init__()
            self.sizes: list[int] = []

        @property
        def facts(self) -> Facts:
            return replace(super().facts, batch=Batch(fixed=fixed))

        def scores(self, images: Tensor) -> Tensor:
            self.sizes.append(len(images))
            if bool((images == 0.5).all(dim=(1, 2, 3)).any()):
                raise Trouble("grey")
            return super().scores(images)

    def with_grey() -> Programme[Tensor]:
        images = torch.cat([pictures(3, 0), torch.full((1, 3, *SIZE), 0.5), pictures(9, 1)])
        return (yield Forward(images))

    counts, detector = {3: 3, 12: 12, 24: 24, 27: 27}, Fixed()
    jobs: list[tuple[Any, Callable[[], Any]]] = [(n, partial(count, n, n)) for n in counts]
    done = dict(ProbeEngine(detector, BATCH).run([*jobs, ("grey", with_grey)]))
    assert isinstance(done["grey"].error, Trouble)
    assert {n: value(done[n]) for n in counts} == {n: value(run(partial(count, n, n))) for n in counts}
    assert {n: done[n].passes.forward for n in counts} == counts
    assert set(detector.sizes) == {fixed}


@pytest.mark.parametrize(
    ("callers", "batch", "calls"), [(1, 1, 8), (1, 3, 2), (1, 8, 1), (1, 64, 1), (2, 1, 8), (16, 1, 64), (16, 64, 1)]
)
def test_a_detector_of_several_callers_is_handed_some_pictures_for_each(callers: int, batch: int, calls: int) -> None:
    assert calls_in_a_row(replace(Calls().facts, parallel_calls=callers), batch) == calls


def test_the_pictures_of_several_callers_are_handed_over_in_one_call() -> None:
    handed: list[int] = []

    class Several(Calls):
        @property
        def facts(self) -> Facts:
            return replace(super().facts, batch=Batch(fixed=1), parallel_calls=3)

        def in_batches(self, images: Tensor, batch: int, output: str) -> Tensor:
            handed.append(len(images))
            return self.scores(images)

    assert value(run(partial(count, 30), Several())) == value(run(partial(count, 30)))
    assert handed == [12, 12, 6]


def test_results_are_those_of_one_after_another_in_order_and_take_fewer_calls() -> None:
    lengths = [3, 7, 1, 5, 2, 6, 4, 8, 2, 1]
    side, one = Calls(), Calls()
    a = run(lambda: together(*(climb(i, n) for i, n in enumerate(lengths))), side)
    b = run(lambda: in_turn(*(climb(i, n) for i, n in enumerate(lengths))), one)
    assert value(a) == value(b)
    assert a.passes == b.passes == Passes(forward=sum(lengths))
    assert one.calls == sum(lengths)
    assert side.calls == 8  # as many as the longest chain has links: every call had room for all that waited


def test_children_mix_with_other_programmes_whose_results_stay_the_same() -> None:
    jobs = [(i, partial(_chains, i)) for i in range(6)]
    detector = Calls()
    mixed = dict(ProbeEngine(detector, BATCH).run(jobs))
    for key, build in jobs:
        alone = run(build)
        assert value(mixed[key]) == value(alone)
        assert mixed[key].passes == alone.passes == Passes(forward=9 + key)
    assert detector.calls <= sum(range(9, 15)) / BATCH + 5  # 69 pictures: nearly full batches


def _chains(seed: int) -> Programme[list[Any]]:
    return together(*(climb(10 * seed + i, 3) for i in range(3)), count(seed, seed))


def test_children_may_have_children() -> None:
    def nested() -> Programme[list[Any]]:
        inner = together(count(2, 1), together(climb(2, 2), together()))
        return together(inner, count(0), climb(3, 1))

    done = run(nested)
    (first, (chain, empty)), none, last = value(done)
    assert (first, chain, last) == (
        value(run(lambda: count(2, 1))),
        value(run(lambda: climb(2, 2))),
        value(run(lambda: climb(3, 1))),
    )
    assert (empty, none) == ([], [])
    assert done.passes == Passes(forward=2 + 2 + 0 + 1)


def test_nothing_to_run_is_answered_at_once() -> None:
    detector = Calls()
    done = run(together, detector)
    assert (value(done), done.passes, detector.calls) == ([], Passes(), 0)


def test_what_was_begun_or_is_no_generator_is_refused_where_it_is_asked_for() -> None:
    begun = count(1)
    next(begun)
    again = count(1)
    for wrong in ([begun], [again, again], [lambda: count(1)]):
        with pytest.raises(TypeError, match="Together"):
            Together(wrong)  # type: ignore[arg-type]


def test_children_are_put_to_the_detector_that_the_programme_is_addressed_to() -> None:
    other = LinearDetector(-WEIGHTS, 0.0)
    asked = Calls()
    done = run(lambda: addressed(together(count(3, 5), together(climb(1, 2))), other), asked)
    assert value(done) == value(run(lambda: together(count(3, 5), together(climb(1, 2))), other))
    assert asked.calls == 0
    assert done.passes == Passes(forward=5)


# ---- errors ---------------------------------------------------------------------------------------------------------


class Trouble(Exception):
    """What goes wrong here."""


def failing(after: int) -> Programme[None]:
    yield from climb(0, after)
    raise Trouble(f"after {after}")


def noting(programme: Programme[Any], ended: list[str], name: str) -> Programme[Any]:
    try:
        return (yield from programme)
    except GeneratorExit:
        ended.append(name)
        raise


def test_an_error_ends_the_siblings_and_reaches_the_one_who_asked() -> None:
    ended: list[str] = []

    def parent() -> Programme[Any]:
        long = noting(together(noting(climb(1, 50), ended, "inner")), ended, "outer")
        try:
            yield Together([long, failing(2), noting(climb(2, 50), ended, "sibling")])
        except Trouble as error:
            after = yield from count(3, 4)  # it may still ask
            return str(error), after

    done = run(parent)
    assert value(done) == ("after 2", value(run(lambda: count(3, 4))))
    assert ended == ["inner", "outer", "sibling"]
    assert done.passes == Passes(forward=3 * 2 + 3)


@pytest.mark.parametrize("wrap", [lambda p: p, lambda p: addressed(p, LinearDetector(WEIGHTS, 0.0))])
def test_an_error_that_nobody_catches_ends_the_programme_alone(wrap: Any) -> None:
    jobs = [("bad", lambda: wrap(together(together(failing(1)), climb(1, 9)))), ("good", lambda: climb(3, 4))]
    done = dict(ProbeEngine(Calls(), BATCH).run(jobs))
    assert isinstance(done["bad"].error, Trouble)
    assert value(done["good"]) == value(run(lambda: climb(3, 4)))


def test_an_addressed_programme_may_catch_what_a_child_raises() -> None:
    def parent() -> Programme[Any]:
        try:
            yield Together([failing(1)])
        except Trouble:
            return (yield from count(2))

    other = LinearDetector(WEIGHTS, 0.0)
    assert value(run(lambda: addressed(parent(), other))) == value(run(lambda: count(2), other))


def test_a_failing_detector_call_is_raised_in_the_parents_of_all_that_took_part() -> None:
    def score(images: Tensor) -> Tensor:
        if bool((images == 0.5).all(dim=(1, 2, 3)).any()):
            raise Trouble("no answer")
        return images.mean(dim=(1, 2, 3))

    def parent(image: Tensor) -> Programme[str]:
        try:
            yield Together([_ask(image), _ask(image), climb(0, 3)])
        except Trouble as error:
            return str(error)
        return "fine"

    grey = torch.full((1, 3, *SIZE), 0.5)
    jobs = [(i, partial(parent, image)) for i, image in enumerate((grey, pictures(1, 1), pictures(1, 2)))]
    done = dict(ProbeEngine(Scored(score, SIZE), 6).run(jobs))
    assert {key: value(d) for key, d in done.items()} == {0: "no answer", 1: "no answer", 2: "fine"}
    assert done[0].passes == Passes()
    assert done[2].passes == Passes(forward=5)


def _ask(image: Tensor) -> Programme[Tensor]:
    reply: Tensor = yield Forward(image, output="logit")
    return reply


def test_what_cannot_be_answered_ends_its_programme_and_frees_what_it_was_making() -> None:
    def unanswerable() -> Programme[None]:
        yield from count(1)
        yield LayerBackward(torch.zeros(0, 3, *SIZE), 0)

    bench = make_bench(Calls(), batch_size=BATCH)
    builds = {"bad": unanswerable, "good": lambda: climb(0, 2)}
    done = dict(bench.engine().run((key, partial(bench.once, "it", build)) for key, build in builds.items()))
    assert isinstance(done["bad"].error, ValueError)
    assert value(done["good"]) == value(run(lambda: climb(0, 2)))


def test_a_row_too_few_is_refused_before_it_shifts_the_rows_of_others() -> None:
    def ask(targets: Tensor) -> Programme[list[float]]:
        reply = yield Backward(pictures(3, 0), targets)
        return reply.values.tolist()

    right = torch.tensor([0, 1, 0])
    jobs = [("short", partial(ask, torch.tensor([1]))), ("right", partial(ask, right))]
    done = dict(ProbeEngine(LinearDetector(WEIGHTS, 0.0), BATCH).run(jobs))
    assert isinstance(done["short"].error, ValueError) and "targets" in str(done["short"].error)
    assert value(done["right"]) == value(run(partial(ask, right), LinearDetector(WEIGHTS, 0.0)))
    with pytest.raises(ValueError, match="extras"):
        Apply(_plus, pictures(3, 0), 0, extras=(torch.ones(2, 1),))


def _plus(detector: Any, images: Tensor, targets: Tensor, extras: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (images.flatten(1).sum(dim=1) + extras[0].sum(dim=1),)


def _plus_of_all(detector: Any, images: Tensor, targets: Tensor, extras: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (images.sum()[None],)


def _apply(compute: Any, width: int) -> Programme[list[float]]:
    reply = yield Apply(compute, pictures(2, 0), 0, extras=(torch.ones(2, width),))
    return reply[0].tolist()


def test_one_compute_takes_extras_of_several_shapes() -> None:
    done = dict(ProbeEngine(Calls(), BATCH).run((w, partial(_apply, _plus, w)) for w in (3, 5)))
    assert torch.tensor(value(done[5])).sub(torch.tensor(value(done[3]))).tolist() == pytest.approx([2, 2], abs=1e-4)


def test_a_computation_that_does_not_answer_row_by_row_fails() -> None:
    assert "1 rows came back for 8 pictures" in str(run(partial(_apply, _plus_of_all, 1)).error)


def test_a_wait_that_raises_ends_its_programme_alone() -> None:
    def wrong() -> Programme[None]:
        yield Wait(lambda: 1 / 0 > 0)

    done = dict(ProbeEngine(Calls(), BATCH).run([("bad", wrong), ("good", lambda: count(2))]))
    assert isinstance(done["bad"].error, ZeroDivisionError)
    assert value(done["good"]) == value(run(lambda: count(2)))


def _exits() -> Any:
    raise SystemExit(0)


def _exits_later() -> Programme[Any]:
    yield from count(1)
    _exits()


@pytest.mark.parametrize("start", [
    _exits, _exits_later, lambda: together(climb(1, 50), _exits_later()), lambda: waiting(_exits),
])  # fmt: skip
def test_a_programme_that_exits_ends_alone(start: Any) -> None:
    done = dict(ProbeEngine(Calls(), BATCH).run([("bad", start), ("good", lambda: climb(3, 4))]))
    assert isinstance(done["bad"].error, PluginError) and "sys.exit(0)" in str(done["bad"].error)
    assert isinstance(done["bad"].error.__cause__, SystemExit)
    assert value(done["good"]) == value(run(lambda: climb(3, 4)))


def waiting(ready: Any) -> Programme[Any]:
    yield Wait(ready)


def test_a_detector_that_exits_fails_those_who_asked() -> None:
    def score(images: Tensor) -> Tensor:
        raise SystemExit(1)

    assert "sys.exit(1)" in str(run(lambda: _ask(pictures(1, 0)), Scored(score, SIZE)).error)


def test_an_interrupt_is_no_error_of_a_programme() -> None:
    def interrupted() -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(interrupted)


# ---- waiting and memory ---------------------------------------------------------------------------------------------


def test_children_that_need_the_same_thing_share_it() -> None:
    bench = make_bench(Calls(), batch_size=BATCH)
    done = bench.engine().run_one(lambda: together(*(bench.once("it", lambda: climb(4, 6)) for _ in range(50))))
    assert value(done) == [value(run(lambda: climb(4, 6)))] * 50
    assert done.passes == Passes(forward=6)


def test_one_that_waits_takes_over_where_the_maker_was_given_up() -> None:
    bench = make_bench(Calls(), batch_size=BATCH)

    def maker() -> Programme[Any]:
        return together(bench.once("it", lambda: climb(4, 6)), failing(2))

    done = dict(bench.engine().run([(0, maker), (1, lambda: bench.once("it", lambda: climb(4, 6)))]))
    assert isinstance(done[0].error, Trouble)
    assert value(done[1]) == value(run(lambda: climb(4, 6)))
    assert done[1].passes == Passes(forward=6)


def test_a_child_that_waits_for_its_parent_is_found_out() -> None:
    bench = make_bench(Calls(), batch_size=BATCH)

    def build() -> Programme[Any]:
        return together(bench.once("it", lambda: count(1)))

    done = dict(bench.engine().run([(0, lambda: bench.once("it", build)), (1, lambda: climb(4, 6))]))
    assert "waits for itself" in str(done[0].error)
    assert value(done[1]) == value(run(lambda: climb(4, 6)))


class Alive:
    """How many programmes have begun and not ended: now, and at most."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def watched(self, programme: Programme[Any]) -> Programme[Any]:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return (yield from programme)
        finally:
            self.now -= 1


@pytest.mark.parametrize("kind", ["chains", "waiting", "nested"])
def test_a_long_list_is_begun_bit_by_bit(kind: str) -> None:
    alive, bench = Alive(), make_bench(Calls(), batch_size=BATCH)
    build: dict[str, Callable[[int], Programme[Any]]] = {
        "chains": lambda i: climb(i, 1 + i % 3),
        "waiting": lambda i: bench.once("it", lambda: climb(0, 20)),
        "nested": lambda i: together(climb(i, 2), climb(i, 1)),
    }
    done = bench.engine().run_one(lambda: together(*(alive.watched(build[kind](i)) for i in range(1000))))
    assert len(value(done)) == 1000
    assert alive.now == 0
    assert 4 <= alive.most <= BATCH + 1


def test_programmes_go_on_only_while_no_batch_is_full() -> None:
    """As NES: one picture first, then many. If all went on at once, each would hold its many."""
    alive = Alive()

    def many(seed: int) -> Programme[Any]:
        yield from count(1, seed)
        return (yield from alive.watched(count(BATCH, seed)))

    done = run(lambda: together(*(many(i) for i in range(40))))
    assert done.passes == Passes(forward=40 * (1 + BATCH))
    assert alive.most <= 3


def test_those_who_waited_for_one_thing_do_not_ask_all_at_once() -> None:
    alive, bench = Alive(), make_bench(Calls(), batch_size=BATCH)

    def many(seed: int) -> Programme[Any]:
        yield from bench.once("it", lambda: climb(0, 20))
        return (yield from alive.watched(count(BATCH, seed)))

    done = bench.engine().run_one(lambda: together(*(many(i) for i in range(40))))
    assert done.passes == Passes(forward=20 + 40 * BATCH)
    assert alive.most <= 3


def test_waiting_for_nothing_holds_a_batch_at_most() -> None:
    def idle() -> Programme[int]:
        yield Wait(lambda: True)
        return 1

    alive = Alive()
    assert value(run(lambda: together(*(alive.watched(idle()) for _ in range(500))))) == [1] * 500
    assert alive.most <= BATCH


def test_what_is_given_up_is_let_go() -> None:
    engine = ProbeEngine(Calls(), BATCH)
    engine.run_one(lambda: together(failing(1), *(climb(i, 90) for i in range(100))))
    gc.collect()
    assert not any(queue.slices or queue.rows for queue in engine._queues.values())
    assert not engine._unstarted_groups and not engine._parked and not engine._answered
