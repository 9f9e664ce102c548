"""Evaluates the checkpoint; leaves `reports/metrics.json`, `predictions.csv` and `classes.csv`."""

import torch
from tqdm import tqdm

from coatnet import Params, UserError
from coatnet.data import Shards
from coatnet.inference import Classifier
from coatnet.machine.files import write_csv, write_json
from coatnet.machine.memory import keep_freed_memory
from coatnet.reporting.metrics import accuracy, calibration, ece, macro_top1, per_class, predictions
from coatnet.training.checkpoint import load_checkpoint

from . import CHECKPOINT, REPORTS, SHARDS, run


def main(params: Params) -> None:
    shards, checkpoint = Shards(SHARDS), load_checkpoint(CHECKPOINT)
    if checkpoint.classes != shards.classes:
        raise UserError(f"{CHECKPOINT} was trained on other classes than those in {SHARDS}: run `dvc repro`")
    classifier = Classifier(checkpoint, params.evaluate.model_dump())
    if classifier.device.type == "cpu":
        keep_freed_memory()  # it costs little: few images are computed at a time

    def answers(split: str) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = shards.load(split, holdout=params.data.holdout, fraction=params.data.fraction)
        with tqdm(desc=f"evaluate {split}", total=len(images), unit=" images", disable=None) as bar:
            return classifier.logits(images, bar.update), labels

    # With data.holdout the test set stays unseen: the held-out images stand in for it.
    split = shards.evaluated(params.data.holdout)
    logits, labels = answers(split)
    found = accuracy(logits, labels)
    train_top1 = accuracy(*answers("train"))["top1"]
    gap = round(train_top1 - found["top1"], 2)
    table = predictions(logits, labels, classifier.names)
    found |= {"macro_top1": macro_top1(table), "ece": ece(calibration(table))}
    write_json(
        REPORTS / "metrics.json", {**found, "train_top1": train_top1, "gap": gap, "images": len(labels), "split": split}
    )
    for name, frame in (("predictions", table), ("classes", per_class(table))):
        write_csv(REPORTS / f"{name}.csv", frame)
    print(
        f"{split}: top-1 {found['top1']:.2f}% (95% interval {found['top1_low']:.2f} to {found['top1_high']:.2f}), "
        f"top-5 {found['top5']:.2f}%; clean training images: {train_top1:.2f}%, gap {gap:.2f} points"
    )


if __name__ == "__main__":
    run(main)
