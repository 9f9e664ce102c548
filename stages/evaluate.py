"""Evaluates the checkpoint; leaves `reports/metrics.json`, `predictions.csv` and `classes.csv`."""

import torch
from tqdm import tqdm

from coatnet import Params, UserError
from coatnet.data import Shards
from coatnet.data.transform import EvalTransform
from coatnet.machine.devices import this_device
from coatnet.machine.files import write_csv, write_json
from coatnet.machine.memory import keep_freed_memory
from coatnet.models import check_image_sizes
from coatnet.reporting.metrics import accuracy, calibration, class_names, ece, macro_top1, per_class, predictions
from coatnet.training.checkpoint import load_checkpoint
from coatnet.training.evaluation import predict

from . import CHECKPOINT, REPORTS, SHARDS, run


def main(params: Params) -> None:
    shards, checkpoint = Shards(SHARDS), load_checkpoint(CHECKPOINT)
    if checkpoint.classes != shards.classes:
        raise UserError(f"{CHECKPOINT} was trained on other classes than those in {SHARDS}: run `dvc repro`")
    # Always float32, so that the figures are the same on every device.
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    device = this_device()
    image_size = params.evaluate.image_size or checkpoint.model_params.image_size
    check_image_sizes(checkpoint.model, checkpoint.model_params, [image_size])
    model = checkpoint.model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload] # not in its types
    if device.type == "cpu":
        keep_freed_memory()  # it costs little: `predict` takes few images at a time
    transform = EvalTransform(
        image_size=image_size,
        crop=params.evaluate.crop,
        mean=checkpoint.mean,
        std=checkpoint.std,
    )

    def answers(split: str) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = shards.load(split, holdout=params.data.holdout)
        with tqdm(desc=f"evaluate {split}", total=len(images), unit=" images", disable=None) as bar:
            try:
                logits = predict(
                    model,
                    images.to(device),
                    transform,
                    batch_size=params.evaluate.batch_size,
                    flip=params.evaluate.flip,
                    progress=bar.update,
                )
            except torch.OutOfMemoryError as error:
                raise UserError(
                    f"the memory does not hold {params.evaluate.batch_size} images: lower evaluate.batch_size"
                ) from error
        return logits.cpu(), labels

    # With data.holdout the test set stays unseen: the held-out images stand in for it.
    split = "holdout" if params.data.holdout else "test"
    logits, labels = answers(split)
    found = accuracy(logits, labels)
    train_top1 = accuracy(*answers("train"))["top1"]
    gap = round(train_top1 - found["top1"], 2)
    table = predictions(logits, labels, class_names(shards.classes))
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
