"""The hazards of replaying a recorded call: each right or a clear error, none silently stale."""

import cProfile
import functools
import gc
import importlib
import importlib.util

import pytest

import torchlike
from tests.hazards import (
    HAZARDS,
    alike,
    difference,
    given,
    gradients,
    handles,
    hidden,
    kept,
    made_up,
    modules,
    plain,
    recipes,
    tensors,
    training,
    unseen,
    values,
)
from torchlike._core.errors import NotSupported
from torchlike.compiler import _guards

assert alike and given and gradients and handles and hidden and kept  # they fill the table
assert made_up and modules and recipes and tensors and training and unseen and values
NAMED = {hazard.name: hazard for hazard in HAZARDS}


@pytest.fixture(autouse=True)
def both_guards(monkeypatch):
    """Each recording is guarded by lists at first, and soon by the function that is written out."""
    monkeypatch.setattr(_guards, "_OFTEN", 2)


def uncompiled(function):
    return function


def stale(function):
    """The worst ``compile``: returns what the first call returned, whatever has changed."""
    first = []

    def run(*args, **kwargs):
        if not first:
            first.append(function(*args, **kwargs))
        return first[0]

    return run


@pytest.fixture(scope="module", autouse=True)
def _older_objects_are_no_garbage():
    """A recording collects garbage: looking through all older objects each time takes half the run.

    They stay out of later collections too, as the modules do (see conftest.py).
    """
    gc.collect()
    gc.freeze()


@functools.cache
def expected(name):
    """What PyTorch's eager mode shows, or torchlike's where that differs or PyTorch is missing."""
    library = torchlike
    if NAMED[name].oracle and importlib.util.find_spec("torch") is not None:
        library = importlib.import_module("torch")
    return plain(NAMED[name].run(library, uncompiled))


def test_the_table_is_large_and_names_are_unique():
    assert len(NAMED) == len(HAZARDS) >= 40


@pytest.mark.parametrize("name", [name for name in NAMED if NAMED[name].oracle])
def test_a_stale_replay_would_be_noticed(name):
    """On PyTorch, which compiles nothing here: a scenario that cannot fail proves nothing."""
    torch = pytest.importorskip("torch")
    try:
        found = plain(NAMED[name].run(torch, stale))
    except Exception:
        return
    assert difference(expected(name), found)


@pytest.mark.parametrize("name", NAMED)
def test_compiled_shows_what_eager_shows(name):
    try:
        found = plain(NAMED[name].run(torchlike, torchlike.compile))
    except NotSupported:
        if not NAMED[name].may_raise:
            raise
        return
    assert not difference(expected(name), found)


@pytest.mark.parametrize(
    "name",
    [
        "argument_list_emptied", "argument_list_filled", "arrays_as_batches",
        "batches_made_for_each_call",
        "plain_values_made_for_each_call", "records_written_inside",
        "tables_cached_by_their_lengths",
        "samples_by_the_weights_that_are_computed",
        "tensor_in_a_slot_replaced", "tensor_of_an_outer_function_replaced",
        "views_put_into_an_argument",
    ],
)  # fmt: skip
def test_replayed_all_the_same(name):
    made = []

    def compile(function):
        made.append(torchlike.compile(function))
        return made[-1]

    NAMED[name].run(torchlike, compile)
    assert all(f.compiled.plain is f.compiled.full is None and f.compiled.replays for f in made)


# ---- where compiled code shows that it is compiled ---------------------------------------------


def test_names_in_a_state_dict():
    model = torchlike.nn.Linear(2, 1)
    compiled = torchlike.compile(model)
    compiled(torchlike.ones(3, 2))
    assert list(compiled.state_dict()) == ["_orig_mod.weight", "_orig_mod.bias"]  # PyTorch's names
    assert list(model.state_dict()) == ["weight", "bias"]
    compiled.load_state_dict(compiled.state_dict())
    model.compile()  # in place: the names stay
    assert list(model.state_dict()) == ["weight", "bias"]


def test_compiled_under_a_profiler():
    run, x = torchlike.compile(lambda x: x * 2), torchlike.arange(3)
    profile = cProfile.Profile()
    profile.enable()
    try:
        results = [run(x * i).tolist() for i in range(4)]
    finally:
        profile.disable()
    assert results == [[0, 0, 0], [0, 2, 4], [0, 4, 8], [0, 6, 12]]


def test_a_value_inside_raises_under_fullgraph_with_the_line():
    @torchlike.compile(fullgraph=True)
    def step(x):
        return x + 1 if x.sum().item() > 0 else x - 1

    with pytest.raises(RuntimeError, match=rf"{__file__}:\d+"):
        for _ in range(3):
            step(torchlike.ones(2))


def test_fifty_compiled_steps_are_fifty_eager_steps():
    """Losses to 1e-6; statistics, schedule and generator are where eager leaves them."""

    def train(compile):
        nn = torchlike.nn
        torchlike.manual_seed(0)
        # No bias before BatchNorm: its gradient is rounding, which Adam would scale up.
        first = nn.Linear(4, 8, bias=False)
        model = nn.Sequential(first, nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
        optimizer = torchlike.optim.Adam(model.parameters(), lr=0.01)
        scheduler = torchlike.optim.lr_scheduler.StepLR(optimizer, 10, 0.5)
        batches = [torchlike.randn(16, 4) for _ in range(5)]

        @compile
        def step(x):
            optimizer.zero_grad()
            loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
            loss.backward()
            optimizer.step()
            scheduler.step()
            return loss

        losses = torchlike.stack([step(batches[i % 5]).detach() for i in range(50)])
        rest = [*model.buffers(), torchlike.randn(16), torchlike.get_rng_state()]
        return losses, rest, scheduler.state_dict(), optimizer.state_dict()["param_groups"]

    eager, compiled = train(uncompiled), train(torchlike.compile)
    torchlike.testing.assert_close(compiled[0], eager[0], rtol=1e-6, atol=0)
    torchlike.testing.assert_close(compiled[1], eager[1], rtol=1e-5, atol=1e-6)
    assert compiled[2:] == eager[2:]
