"""Training, and going on after an interruption with the very same bits."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from nnmed.data import DataLoader
from nnmed.errors import AnomalyError, ModelError, UsageError
from nnmed.optim.lr_scheduler import ReduceLROnPlateau
from nnmed.training import load_checkpoint
from nnmed.training.trainer import BEST, HISTORY, LAST


class Interrupt(Exception):
    pass


def weights(trainer):
    return {name: t.numpy().copy() for name, t in trainer.model.state_dict().items()}


def assert_equal_weights(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def strip_times(rows):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def test_the_loss_falls_and_the_history_tells(make_run):
    trainer, loader = make_run(epochs=8)
    rows = trainer.fit(loader)
    assert len(rows) == 8
    assert rows[-1]["train_loss"] < 0.9 * rows[0]["train_loss"]
    with (trainer.folder / HISTORY).open(newline="") as file:
        written = list(csv.DictReader(file))
    assert [float(row["train_loss"]) for row in written] == [row["train_loss"] for row in rows]


def test_the_same_seed_gives_the_same_bits(make_run):
    first, loader = make_run("first")
    first.fit(loader)
    second, loader = make_run("second")
    second.fit(loader)
    assert_equal_weights(weights(first), weights(second))
    third, loader = make_run("third", seed=1)
    third.fit(loader)
    assert not np.array_equal(weights(first)["fc.weight"], weights(third)["fc.weight"])


@pytest.mark.parametrize("epoch", [0, 1, 3])
@pytest.mark.parametrize("where", ["batch", "validate", "best", "last", "history"])
@pytest.mark.parametrize("plateau", [False, True])
def test_a_resumed_run_ends_with_the_same_bits(make_run, monkeypatch, epoch, where, plateau):
    options = {"monitor": "score", "mode": "max", "validate": lambda model: {"score": 0.5}}
    if plateau:
        options["make_schedule"] = lambda optimizer: ReduceLROnPlateau(optimizer, patience=0)
    whole, loader = make_run("whole", **options)
    whole.fit(loader)

    broken, loader = make_run("broken", **options)
    interrupt(monkeypatch, broken, loader, epoch, where)
    with pytest.raises(Interrupt):
        broken.fit(loader)
    monkeypatch.undo()

    resumed, loader = make_run("broken", **options)
    rows = resumed.fit(loader, resume=True)
    assert_equal_weights(weights(whole), weights(resumed))
    assert strip_times(rows) == strip_times(whole.rows)
    with (resumed.folder / HISTORY).open(newline="") as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == [1, 2, 3, 4]
    assert resumed.load_best() == whole.load_best()
    assert_equal_weights(weights(whole), weights(resumed))


def interrupt(monkeypatch, trainer, loader, epoch, where):
    """Make the trainer fail in the given epoch at the given point."""
    from nnmed.training import trainer as module

    def fail(*arguments, **options):
        if loader.epoch == epoch:
            raise Interrupt

    def fail_before(function, wanted=lambda *arguments: True):
        def wrapped(*arguments, **options):
            if wanted(*arguments):
                fail()
            return function(*arguments, **options)

        return wrapped

    save = module.checkpoint.save_checkpoint
    if where == "batch":
        monkeypatch.setattr(trainer, "loss", fail_before(trainer.loss))
    elif where == "validate":
        monkeypatch.setattr(trainer, "validate", fail_before(trainer.validate))
    elif where == "best" and epoch == 0:  # only the first epoch is the best one here
        named = fail_before(save, lambda path, *rest: path.name == BEST)
        monkeypatch.setattr(module.checkpoint, "save_checkpoint", named)
    elif where in ("best", "last"):
        named = fail_before(save, lambda path, *rest: path.name == LAST)
        monkeypatch.setattr(module.checkpoint, "save_checkpoint", named)
    else:
        monkeypatch.setattr(module, "write_history", fail_before(module.write_history))


def test_resume_starts_afresh_where_there_is_no_checkpoint(make_run):
    trainer, loader = make_run()
    assert len(trainer.fit(loader, resume=True)) == 4


def test_resume_of_a_finished_run_changes_nothing(make_run):
    trainer, loader = make_run()
    trainer.fit(loader)
    before = weights(trainer)
    again, loader = make_run()
    again.fit(loader, resume=True)
    assert_equal_weights(before, weights(again))


def test_resume_refuses_changed_settings_by_name(make_run):
    trainer, loader = make_run(settings={"lr": 0.1, "size": 64, "seed": 0})
    trainer.fit(loader)
    again, loader = make_run(settings={"lr": 0.2, "size": 64, "seed": 0})
    with pytest.raises(UsageError, match=r"lr was 0.1 and is 0.2") as error:
        again.fit(loader, resume=True)
    assert "size" not in str(error.value)


@pytest.mark.parametrize("damage", ["truncate", "garbage", "weights only"])
def test_resume_from_a_damaged_checkpoint_is_a_model_error(make_run, damage):
    trainer, loader = make_run()
    trainer.fit(loader)
    path = trainer.folder / LAST
    if damage == "truncate":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "garbage":
        path.write_bytes(b"\xff" * 1000)
    else:
        from nnmed.nn import save_weights

        save_weights(trainer.model, path)
    again, loader = make_run()
    with pytest.raises(ModelError, match=LAST):
        again.fit(loader, resume=True)


def test_the_best_epoch_is_the_one_monitored(make_run):
    scores = iter([0.2, 0.9, float("nan"), 0.5])
    trainer, loader = make_run(
        validate=lambda model: {"auc": next(scores)}, monitor="auc", mode="max"
    )
    kept = {}
    trainer.report = lambda row: kept.update({row["epoch"]: weights(trainer)})
    trainer.fit(loader)
    assert trainer.load_best() == 2
    assert_equal_weights(weights(trainer), kept[2])
    assert load_checkpoint(trainer.folder / BEST).state["row"]["auc"] == 0.9


def test_a_window_passes_over_a_lucky_epoch(make_run):
    scores = iter([0.5, 0.1, 0.5, 0.3, 0.2, 0.3])
    trainer, loader = make_run(
        validate=lambda model: {"loss": next(scores)}, monitor="loss", epochs=6, window=3
    )
    trainer.fit(loader)
    assert trainer.best_epoch == 6  # means 0.5, 0.3, 0.367, 0.3, 0.333, 0.267


NAN = float("nan")


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ([0.1, 0.6, 0.6, 0.4, 0.4, 0.4], 6),  # the first is lucky, and no window by itself
        ([NAN, 0.5, 0.4, 0.3, 0.6, 0.7], 4),
        ([0.5, 0.5, 0.4, NAN, 0.1, 0.6], 5),
        ([0.5, 0.4, NAN, NAN, NAN, NAN], 2),
    ],
)
def test_windows_with_a_lucky_start_or_without_a_number(make_run, scores, best):
    numbers = iter(scores)
    trainer, loader = make_run(
        validate=lambda model: {"loss": next(numbers)}, monitor="loss", epochs=6, window=3
    )
    trainer.fit(loader)
    assert trainer.load_best() == best


@pytest.mark.parametrize("window", [0, 1.5, "2"])
def test_a_window_of_no_epoch_is_refused(make_run, window):
    with pytest.raises(UsageError, match="window"):
        make_run(window=window)


def test_a_best_file_holds_exactly_the_weights(make_run):
    trainer, loader = make_run()
    trainer.fit(loader)
    best = load_checkpoint(trainer.folder / BEST)
    assert set(best.model) == set(trainer.model.state_dict())
    assert best.optimizer is None


def test_early_stopping(make_run):
    trainer, loader = make_run(
        epochs=10, validate=lambda model: {"auc": 0.5}, monitor="auc", mode="max", patience=2
    )
    assert len(trainer.fit(loader)) == 3


def test_gradient_clipping_limits_the_step(make_run):
    clipped, loader = make_run(epochs=1, max_norm=1e-12)
    before = weights(clipped)["fc.weight"]
    clipped.optimizer.param_groups[0]["weight_decay"] = 0
    clipped.optimizer.param_groups[0]["eps"] = 1.0
    clipped.fit(loader)
    np.testing.assert_allclose(weights(clipped)["fc.weight"], before, atol=1e-6)


def test_a_loss_that_is_not_finite_stops_the_run(make_run):
    trainer, loader = make_run()
    trainer.loss = lambda output, batch: output.sum() * float("nan")
    with pytest.raises(AnomalyError, match=r"loss is nan in epoch 1, batch 1"):
        trainer.fit(loader)


def test_wrong_arguments_are_named(make_run):
    with pytest.raises(UsageError, match="epochs"):
        make_run(epochs=0, make_schedule=lambda optimizer: None)
    with pytest.raises(UsageError, match="mode"):
        make_run(mode="best")
    trainer, loader = make_run(monitor="auc")
    with pytest.raises(UsageError, match="auc"):
        trainer.fit(loader)


def test_a_loader_without_batches_is_refused(make_run):
    trainer, _ = make_run()
    with pytest.raises(UsageError, match="no batch"):
        trainer.fit(DataLoader([], 8))


def test_a_flow_sees_every_step_and_changes_nothing(make_run):
    from nnmed.explain import GradientFlow

    plain, loader = make_run("plain")
    plain.fit(loader)
    watched, loader = make_run("watched")
    watched.flow = GradientFlow(watched.model, every=2)
    watched.fit(loader)
    steps = {row["step"] for row in watched.flow.rows}
    assert steps == set(range(0, 4 * len(loader), 2))
    assert_equal_weights(weights(plain), weights(watched))


def test_a_flow_and_a_required_graph_are_refused(make_run):
    with pytest.raises(UsageError, match="sees nothing inside of a graph"):
        make_run(cuda_graph=True, flow=object())
