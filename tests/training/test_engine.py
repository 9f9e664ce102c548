"""The loop on a few hundred synthetic images: what it learns, and that stopping it anywhere changes nothing."""

import itertools
import os
import signal
import time
from collections import defaultdict
from statistics import mean

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from coatnet import UserError
from coatnet.machine import memory
from coatnet.machine.processes import World
from coatnet.training import engine
from coatnet.training.engine import Trainer
from coatnet.training.evaluation import predict
from coatnet.training.meter import Meter
from coatnet.training.schedule import learning_rate

# Everything that has state or randomness of its own.
ALL_ON = {
    "model__variant": "paper",
    "train__optimizer": "muon",
    "train__ema": 0.9,
    "train__accumulation": 2,
    "train__clip_norm": 1.0,
    "train__warmup_epochs": 0.5,
    "train__epochs": 3,
    "train__image_size": [[0, 32], [1, 64]],
    "model__image_size": 64,
}


PLAIN = {
    "augment__policy": "none",
    "augment__crop_scale": [1.0, 1.0],
    "augment__crop_ratio": [1.0, 1.0],
    "augment__flip": 0.0,
    "augment__mixup__probability": 0.0,
    "augment__cutmix__probability": 0.0,
    "augment__erase__probability": 0.0,
}


@pytest.fixture(scope="module")
def unbroken(tiny, shards, world, tmp_path_factory):
    """The run with ALL_ON that nothing stopped."""
    return Trainer(tiny(**ALL_ON), shards, world, tmp_path_factory.mktemp("unbroken") / "progress").run()


def same(a: nn.Module, b: nn.Module) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def test_it_learns(tiny, train):
    trained = train(tiny(train__epochs=12, train__lr=3e-3, augment__policy="none", augment__crop_scale=[0.6, 1.0]))
    assert trained.history[-1]["eval_top1"] >= 50  # chance is 25
    assert trained.history[-1]["train_loss"] < trained.history[0]["train_loss"]
    assert [row["epoch"] for row in trained.history] == list(range(1, 13))


def test_a_row_of_the_history_is_of_its_epoch(tiny, shards, world, tmp_path, monkeypatch):
    """The point of the curve is of the averaged model, which is the one that is kept."""
    losses, hits, add = defaultdict(list), defaultdict(list), Meter.add

    def listen(self, loss, logits, targets, step):
        losses[step // 6].append(loss.item())
        hits[step // 6] += (logits.argmax(1) == targets.argmax(1)).tolist()
        add(self, loss, logits, targets, step)

    monkeypatch.setattr(Meter, "add", listen)
    params = tiny(train__ema=0.9)
    trainer = Trainer(params, shards, world, tmp_path / "progress")
    trained = trainer.run()
    for epoch, row in enumerate(trained.history):
        lr = learning_rate(params.train, 6 * epoch + 5, 6)
        expected = {"lr": lr, "train_loss": mean(losses[epoch]), "train_top1": 100 * mean(hits[epoch])}
        assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-5)
    images, labels = shards.load("test")
    logits = predict(trained.model, images, trainer.curve.transform, batch_size=16)
    top1 = 100 * (logits.argmax(1) == labels).double().mean().item()
    expected = {"eval_loss": F.cross_entropy(logits, labels).item(), "eval_top1": top1}
    assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-5)


def test_what_is_not_training_does_not_count_in_its_speed(tiny, train, shards, world, tmp_path, monkeypatch):
    away, now = [0.0], time.perf_counter
    monkeypatch.setattr(time, "perf_counter", lambda: now() + away[0])
    evaluate = engine.Curve.point

    def slow(seconds, call):
        away[0] += seconds
        return call

    monkeypatch.setattr(engine.Curve, "point", lambda *args: slow(1e6, evaluate)(*args))
    trainer = Trainer(tiny(train__epochs=3), shards, world, tmp_path / "progress")
    trained = trainer.run(on_history=lambda trainer: slow(1e6, None))  # a logger that waits for its network, say
    images = 3 * trainer.steps * trainer.batches.batch_size
    assert trained.images_per_second > images / 1e6
    assert trained.minutes > 6e6 / 60


def test_the_seed_decides(tiny, train, tmp_path):
    results = []
    for seed in (0, 0, 1):
        results.append(train(tiny(seed=seed, train__epochs=1)).model)
        (tmp_path / "progress").unlink()
    assert same(results[0], results[1])
    assert not same(results[0], results[2])


def test_the_seed_decides_weights_order_and_augmentation(tiny, shards, world, tmp_path):
    one, other = (Trainer(tiny(seed=seed), shards, world, tmp_path / "progress") for seed in (0, 1))
    assert not torch.equal(one.model.head.weight, other.model.head.weight)
    batch = next(one.epoch_batches(0))
    assert not torch.equal(batch.images, next(other.epoch_batches(0)).images)
    x, y = (trainer.augment(batch.images, batch.labels, epoch=0, step=0)[0] for trainer in (one, other))
    assert not torch.equal(x, y)


def test_each_step_part_and_process_is_random_in_its_own_way(tiny, shards, world, tmp_path, monkeypatch):
    dropped_paths, augmented, augment = set(), set(), engine.BatchAugment.__call__

    def listen(self, *args, epoch, step, rank, **kwargs):
        dropped_paths.add(torch.initial_seed())
        augmented.add((epoch, step, rank))
        return augment(self, *args, epoch=epoch, step=step, rank=rank, **kwargs)

    monkeypatch.setattr(engine.BatchAugment, "__call__", listen)
    trainer = Trainer(tiny(train__accumulation=2), shards, world, tmp_path / "progress")
    for rank, epoch in itertools.product(range(2), range(2)):
        trainer.world = World(rank, 1, world.device)  # alone, so that no gradient waits for the other's
        for batch in trainer.epoch_batches(epoch):
            trainer.train_step(batch)
    assert len(dropped_paths) == 2 * 2 * 6
    assert len(augmented) == 2 * 2 * 6 * 2


@pytest.mark.parametrize("at", [(0, 3), (1, 0), (1, 4), (2, 5)])
def test_a_run_that_died_ends_as_the_unbroken_one(tiny, train, kill, unbroken, tmp_path, capsys, at):
    kill(tiny(**ALL_ON), at)
    assert (tmp_path / "progress").exists() == (at[0] > 0)
    capsys.readouterr()
    again = train(tiny(**ALL_ON))
    assert (f"Going on after epoch {at[0]}\n" in capsys.readouterr().out) == (at[0] > 0)
    assert same(unbroken.model, again.model)
    assert unbroken.history == again.history


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_costs_no_step(tiny, train, stop, unbroken, capsys, number):
    handler = signal.getsignal(number)
    ended = stop(tiny(**ALL_ON), (1, 2), lambda: os.kill(os.getpid(), number), SystemExit)
    assert ended.code == 128 + number
    capsys.readouterr()
    again = train(tiny(**ALL_ON))
    assert "Going on after step 3 of epoch 2" in capsys.readouterr().out
    assert same(unbroken.model, again.model)
    assert unbroken.history == again.history
    assert signal.getsignal(number) == handler


def test_in_bf16_it_learns_much_the_same_and_goes_on_exactly(tiny, unbroken, unbroken_and_resumed):
    whole, again = unbroken_and_resumed(tiny(**ALL_ON, train__precision="bf16"), (1, 3))
    assert same(whole.model, again.model)
    assert whole.history == again.history
    assert {p.dtype for p in whole.model.parameters()} == {torch.float32}
    assert not same(whole.model, unbroken.model)
    assert whole.history[-1]["train_loss"] == pytest.approx(unbroken.history[-1]["train_loss"], rel=0.05)


def test_a_signal_in_a_later_pass_costs_no_step(tiny, train, stop, tmp_path, capsys):
    params = tiny(train__epochs=1, augment__passes=["plain", "erase", "mixup"])
    unbroken = train(params)
    (tmp_path / "progress").unlink()
    stop(params, (0, 7), lambda: os.kill(os.getpid(), signal.SIGTERM), SystemExit)
    again = train(params)
    assert "Going on after step 8 of epoch 1" in capsys.readouterr().out
    assert same(unbroken.model, again.model)
    assert unbroken.history == again.history


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"model__kernel": 5},
        {"train__lr": 1e-3},
        {"augment__flip": 0.1},
        {"data__holdout": 0.1},
        {"data__fraction": 0.5},
    ],
)
def test_progress_of_another_run_is_not_taken_up(tiny, train, tmp_path, capsys, change):
    train(tiny(train__epochs=1))
    fresh = train(tiny(train__epochs=1, **change))
    assert "of other parameters, code or data: starting afresh" in capsys.readouterr().out
    (tmp_path / "progress").unlink()
    assert same(fresh.model, train(tiny(train__epochs=1, **change)).model)


def test_progress_of_another_run_is_not_said_to_be_this_ones(tiny, train, tmp_path):
    train(tiny(train__epochs=1))
    with pytest.raises(UserError, match=r"not finite in epoch 1, step \d+, at .* \(nothing was saved before it\)"):
        train(tiny(train__epochs=1, train__lr=1e30))


def test_broken_progress_is_no_progress(tiny, train, tmp_path, capsys):
    params = tiny(train__epochs=1)
    expected = train(params)
    whole = (tmp_path / "progress").read_bytes()
    (tmp_path / "progress").write_bytes(whole[: len(whole) // 2])
    assert same(train(params).model, expected.model)
    assert "is unreadable: starting afresh" in capsys.readouterr().out


def test_evaluate_and_plot_parameters_do_not_touch_progress(tiny, train, capsys):
    train(tiny(train__epochs=1))
    train(tiny(train__epochs=1, evaluate__flip=True, plot__dpi=50))
    assert "Going on after epoch 1" in capsys.readouterr().out


@pytest.mark.parametrize(("infinite", "said"), [(8, 4), (11, 6)])
def test_a_loss_that_is_not_finite_stops_the_run(tiny, train, tmp_path, monkeypatch, infinite, said):
    """Also where the last step of an epoch spoils the weights, of which no loss tells any more."""
    params = tiny(train__epochs=3)
    rate = engine.learning_rate
    monkeypatch.setattr(
        engine, "learning_rate", lambda p, step, steps: float("inf") if step == infinite else rate(p, step, steps)
    )
    sentence = rf"not finite in epoch 2, step {said}, at learning rate .*progress before it is in"
    with pytest.raises(UserError, match=sentence):
        train(params)
    assert torch.load(tmp_path / "progress")["epoch"] == 1
    assert not (tmp_path / "progress.json").exists()  # the status: of a run that does not go on


@pytest.mark.parametrize(
    ("accumulation", "fits", "sentence"),
    [
        (1, 8, "does not hold 16 images a step, but 8 fit: add -S train.accumulation=2"),
        (2, 3, "does not hold 8 images a step, but 2 fit: add -S train.accumulation=8"),
        (1, 0, "does not hold 16 images a step, nor a single one: lower model.image_size"),
    ],
)
def test_too_little_memory_says_which_batch_fits(tiny, train, monkeypatch, accumulation, fits, sentence):
    augment = engine.BatchAugment.__call__

    def limited(self, images, *args, **kwargs):
        if len(images) > fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return augment(self, images, *args, **kwargs)

    monkeypatch.setattr(engine.BatchAugment, "__call__", limited)
    with pytest.raises(UserError, match=sentence):
        train(tiny(train__accumulation=accumulation))


@pytest.mark.parametrize(
    ("free", "sentence"),
    [
        (4e6, r"16 images a step need about .* GB of memory, but 0.0 GB are free: 8 fit: add -S train.accumulation=2"),
        (1e4, r"are free: lower model.image_size or the model's dims"),
    ],
)
def test_a_machine_with_too_little_memory_says_so_before_the_kernel_kills(tiny, train, monkeypatch, free, sentence):
    monkeypatch.setattr(memory, "free_memory", lambda: free)
    with pytest.raises(UserError, match=sentence):
        train(tiny())


def test_other_errors_are_not_taken_for_little_memory(tiny, train, monkeypatch):
    def broken(self, *args, **kwargs):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(engine.BatchAugment, "__call__", broken)
    with pytest.raises(RuntimeError, match="mat1"):
        train(tiny())


def test_where_compilation_fails_it_is_said_how_to_do_without(tiny, train, monkeypatch):
    def broken(graph, inputs):
        raise RuntimeError("no compiler")

    compiled = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model, **_: compiled(model, backend=broken))
    with pytest.raises(UserError, match=r"^torch.compile failed \(.*no compiler.*\): train.compile=false"):
        train(tiny(train__compile=True))


def test_parts_add_up_to_the_batch(tiny, train, tmp_path, monkeypatch):
    """With batch norm in eval mode and nothing random, accumulation changes nothing but rounding."""
    start = Trainer.start_epoch
    monkeypatch.setattr(Trainer, "start_epoch", lambda self, epoch: (start(self, epoch), self.model.eval()))
    whole = train(tiny(**PLAIN, train__epochs=1)).model
    (tmp_path / "progress").unlink()
    parts = train(tiny(**PLAIN, train__epochs=1, train__accumulation=4)).model
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_a_batch_that_does_not_part_is_refused(tiny, shards, tmp_path):
    three = World(0, 3, torch.device("cpu"))
    with pytest.raises(UserError, match=r"accumulation=2 parts in each of 3 processes: make it a multiple of 6"):
        Trainer(tiny(train__accumulation=2), shards, three, tmp_path / "progress")


def test_the_average_is_kept_in_place_of_the_weights(tiny, shards, world, tmp_path):
    trainer = Trainer(tiny(train__epochs=1, train__ema=0.9), shards, world, tmp_path / "progress")

    def weights(model):
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    initial = weights(trainer.model)
    averaged, last = weights(trainer.run().model), weights(trainer.model)
    assert 0 < (averaged - initial).norm() < (last - initial).norm()
    assert 0 < (averaged - last).norm() < (initial - last).norm()


def test_the_average_counts_the_steps_of_all_epochs(tiny, shards, world, tmp_path, monkeypatch):
    trainer = Trainer(tiny(train__ema=0.9), shards, world, tmp_path / "progress")
    counted = []
    monkeypatch.setattr(trainer.ema, "update", lambda model, step: counted.append(step))
    trainer.train_step(next(trainer.epoch_batches(1)))
    assert counted == [6]


@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_gradients_are_clipped(tiny, train, monkeypatch, clip_norm):
    norms, step = [], torch.optim.AdamW.step

    def listen(self):
        norms.append(nn.utils.get_total_norm([p.grad for group in self.param_groups for p in group["params"]]).item())
        step(self)

    monkeypatch.setattr(torch.optim.AdamW, "step", listen)
    train(tiny(train__epochs=1, train__clip_norm=clip_norm))
    assert len(norms) == 6
    assert all((norm <= 0.5 + 1e-6) == (clip_norm is not None) for norm in norms)


def test_sizes_grow_by_the_schedule(tiny, train, monkeypatch):
    sizes, augment = defaultdict(set), engine.BatchAugment.__call__

    def listen(self, *args, epoch, **kwargs):
        x_bchw, targets_bk = augment(self, *args, epoch=epoch, **kwargs)
        sizes[epoch].add(tuple(x_bchw.shape[2:]))
        return x_bchw, targets_bk

    monkeypatch.setattr(engine.BatchAugment, "__call__", listen)
    train(tiny(train__epochs=3, train__image_size=[[0, 32], [1, 64]], model__image_size=64))
    assert sizes == {0: {(32, 32)}, 1: {(64, 64)}, 2: {(64, 64)}}


@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_held_out_images_are_evaluated_and_not_trained_on(tiny, shards, world, tmp_path, fraction):
    trainer = Trainer(tiny(data__holdout=0.25, data__fraction=fraction), shards, world, tmp_path / "progress")
    assert len(trainer.batches.images) == 72 * fraction
    assert len(trainer.curve.images) == 24
    seen = {image.numpy().tobytes() for image in trainer.batches.images}
    assert not seen & {image.numpy().tobytes() for image in trainer.curve.images}


def test_passes_make_an_epoch_longer(tiny, train, monkeypatch):
    asked = []
    augment = engine.BatchAugment.__call__

    def listen(self, *args, only, **kwargs):
        asked.append(only)
        return augment(self, *args, only=only, **kwargs)

    monkeypatch.setattr(engine.BatchAugment, "__call__", listen)
    trained = train(tiny(train__epochs=1, augment__passes=["plain", "mixup", "cutmix", "erase"]))
    assert asked == [name for name in ("plain", "mixup", "cutmix", "erase") for _ in range(6)]
    assert len(trained.history) == 1


def test_each_pass_has_an_order_of_its_own(tiny, shards, world, tmp_path):
    trainer = Trainer(tiny(augment__passes=["plain", "erase"]), shards, world, tmp_path / "progress")
    orders = defaultdict(bytes)
    for batch in itertools.chain(*map(trainer.epoch_batches, range(2))):
        orders[batch.epoch, batch.only] += batch.images.numpy().tobytes()
    assert len(orders) == len(set(orders.values())) == 4


def test_the_curve_has_points_where_asked(tiny, train):
    history = train(tiny(train__epochs=3, train__evaluate_every=2)).history
    assert ["eval_top1" in row for row in history] == [False, True, True]
