"""The executor of Ray on a cluster that the tests control: actors, rooms, losses."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace

import pytest

from xaibench.api import Lost, PlanError
from xaibench_executors import ray_executor
from xaibench_executors.ray_cluster import RayCluster, require_ray
from xaibench_executors.ray_executor import RayExecutor, RayParameters, TaskRunner


class RayError(Exception):
    preempted = False


class RayTaskError(RayError):
    pass


class FakeRay:
    """Ray with one thing done at each wait. ``deaths`` maps a task to the errors of its next attempts; ``stillborn``
    counts actors that die while they begin; ``free`` False: no actor begins."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, slots=2):
        self.slots, self.deaths, self.stillborn, self.free = slots, {}, 0, True
        self.actors, self.killed, self.results, self.open = [], [], {}, 0

    def nodes(self):
        return [
            {"Alive": True, "Resources": {"CPU": float(self.slots), "GPU": 1.0}},
            {"Alive": False, "Resources": {"CPU": 64.0}},
        ]

    def cluster_resources(self):
        return {"CPU": 2.0, "GPU": 1.0, "memory": 1e9, "node:1": 1.0, "object_store_memory": 1e9}

    def remote(self, kind):
        return SimpleNamespace(options=lambda **options: SimpleNamespace(remote=lambda: self._actor(options)))

    def _actor(self, options):
        actor = SimpleNamespace(options=options)
        actor.begin = SimpleNamespace(remote=lambda call: self._reference("begin"))
        actor.run = SimpleNamespace(remote=lambda call, task: self._reference("run", call, task))
        self.actors.append(actor)
        return actor

    def _reference(self, *what):
        reference = (len(self.results), *what)
        self.results[reference] = None
        return reference

    def wait(self, references, timeout):
        begins = [r for r in references if r[1] == "begin"]
        references = [r for r in references if r[1] == "run"] if not self.free else begins or references
        return references[-1:], []

    def get(self, reference):
        _, kind, *rest = reference
        if kind == "begin":
            self.stillborn -= 1
            if self.stillborn >= 0:
                raise RayError("No module named 'xaibench'")
            return 1
        call, task = rest
        if self.deaths.get(task):
            raise self.deaths[task].pop()
        return TaskRunner.run(None, call, task)

    def kill(self, actor):
        self.killed.append(actor)


@pytest.fixture
def ray(monkeypatch):
    monkeypatch.setattr(ray_executor, "require_ray", lambda: None)
    return FakeRay()


def executor(ray, **parameters):
    here = RayExecutor(RayParameters(**parameters))
    here._connection = RayCluster.__new__(RayCluster)
    here._connection.ray, here._connection._is_ours = ray, False
    return here


def double(task):
    return 2 * task


def test_one_actor_for_one_task_and_as_many_as_the_nodes_hold_for_more(ray):
    assert list(executor(ray).run(iter([1]), double)) == [(1, 2)]
    assert len(ray.actors) == 1 and ray.actors[0].options["max_restarts"] == 0
    assert sorted(executor(ray).run(iter(range(8)), double)) == [(i, 2 * i) for i in range(8)]
    assert len(ray.actors) == 1 + 2


def test_a_task_is_taken_when_an_actor_is_free(ray):
    taken = []
    answers = executor(ray, jobs=3).run((taken.append(i) or i for i in range(9)), double)
    next(answers)
    assert len(ray.actors) == 3 and len(taken) <= 4
    assert len([*answers]) == 8


def test_actors_stay_for_the_next_stage_and_are_ended(ray):
    here = executor(ray, jobs=2)
    for _ in range(3):
        assert len(list(here.run(iter(range(5)), double))) == 5
    assert len(ray.actors) == 2
    here.close()
    assert len(ray.killed) == 2


@pytest.mark.parametrize(
    ("needs", "room"),
    [({"CPU": 1}, 8), ({"CPU": 3}, 2), ({"CPU": 0.5, "GPU": 0.25}, 4), ({"CPU": 0, "GPU": 0.3}, 3), ({"CPU": 9}, 0)],
)
def test_the_room_of_a_cluster_is_that_of_its_living_nodes(needs, room):
    cluster = RayCluster.__new__(RayCluster)
    cluster.ray = FakeRay(slots=8)
    assert cluster.room(needs) == room


def test_what_an_actor_takes(ray):
    list(executor(ray, num_cpus=2, num_gpus=0.5, resources={"big": 1}).run(iter([1]), double))
    assert ray.actors[0].options == {"num_cpus": 2, "num_gpus": 0.5, "resources": {"big": 1}, "max_restarts": 0}


@pytest.mark.parametrize(("deaths", "outcome"), [(2, 2), (3, Lost)])
def test_a_task_is_tried_again_as_often_as_said(ray, capsys, deaths, outcome):
    ray.deaths = {1: [RayError("pid: 7\nThe worker process has died.") for _ in range(deaths)]}
    outcomes = dict(executor(ray, jobs=1, retries=2).run(iter([0, 1, 2]), double))
    assert (outcomes[0], outcomes[2]) == (0, 4)
    assert outcomes[1] == outcome if outcome == 2 else isinstance(outcomes[1], Lost)
    assert len(ray.killed) == deaths and len(ray.actors) == 1 + deaths
    assert capsys.readouterr().err.count("(pid: 7) died: The worker process has died.: its task runs again") == 2


def test_no_task_is_to_blame_for_the_death_of_a_node(ray):
    preempted = RayError("gone")
    preempted.preempted = True
    ray.deaths = {1: [preempted, *(RayError("The actor is dead because its node has died.") for _ in range(5))]}
    assert dict(executor(ray, retries=0).run(iter([0, 1]), double)) == {0: 0, 1: 2}


def test_a_worker_that_knows_its_component_is_not_tried_again(ray):
    lost = Lost("it died", "acme", "s1")
    assert list(executor(ray).run(iter([0]), lambda _: lost)) == [(0, lost)]


def test_what_the_call_raises_is_raised(ray):
    def call(task):
        raise PlanError("other torch")

    with pytest.raises(PlanError, match="other torch"):
        list(executor(ray).run(iter([0]), call))
    ray.deaths = {0: [RayTaskError("ModuleNotFoundError: no torch")]}
    with pytest.raises(PlanError, match=r"cannot run tasks: .*no torch"):
        list(executor(ray).run(iter([0]), double))


def test_actors_that_do_not_begin_end_the_command_and_one_that_does_not_is_replaced(ray):
    ray.stillborn = 2
    assert list(executor(ray).run(iter([1]), double)) == [(1, 2)]
    ray.stillborn = 3
    with pytest.raises(PlanError, match=r"3 Ray actors in a row did not begin: .*No module named 'xaibench'"):
        list(executor(ray).run(iter([1]), double))


def test_a_cluster_without_room_ends_the_command(ray):
    ray.free = False
    with pytest.raises(PlanError, match=r"no node gave an actor 64 CPU, 2 GPU in 0.01 s; the cluster has 2 CPU, 1 GPU"):
        list(executor(ray, num_cpus=64, num_gpus=2, patience=0.01).run(iter([1]), double))


def test_ray_that_is_not_installed_is_said(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PlanError, match="needs Ray") as refusal:
        require_ray()
    assert refusal.value.mend == "pip install 'xaibench[ray]'"
