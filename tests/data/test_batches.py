import pytest
import torch

from coatnet import UserError
from coatnet.data import Batches

N = 50


def batches(device="cpu", **options):
    numbers = torch.arange(N, device=device)
    images = numbers.to(torch.uint8)[:, None, None, None].expand(N, 3, 4, 4).contiguous()
    return Batches(images, numbers * 10, **({"batch_size": 8, "seed": 0} | options))


def order(of, epoch=0):
    return torch.cat([labels for _, _, labels in of.epoch(epoch)]).tolist()


def test_an_epoch_shows_each_image_at_most_once_with_its_label():
    of = batches()
    seen = []
    for step, images, labels in of.epoch(3):
        assert step == len(seen)
        assert images.dtype == torch.uint8
        assert images.shape == (8, 3, 4, 4)
        assert torch.equal(images[:, 0, 0, 0].long() * 10, labels)
        seen.append(labels)
    assert len(of) == len(seen) == N // 8
    assert len(set(torch.cat(seen).tolist())) == 8 * len(of)


def test_the_order_follows_from_seed_and_epoch_alone():
    of = batches()
    expected = order(of, 7)
    for epoch in range(3):
        order(of, epoch)
    torch.manual_seed(5)
    assert order(of, 7) == order(batches(), 7) == expected
    assert len({tuple(order(batches(seed=seed), epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_processes_share_the_batch_of_one():
    whole = [labels for _, _, labels in batches().epoch(1)]
    parts = [[labels for _, _, labels in batches(rank=rank, world=4).epoch(1)] for rank in range(4)]
    for step, labels in enumerate(whole):
        assert torch.equal(torch.cat([part[step] for part in parts]), labels)


def test_a_batch_larger_than_the_data_is_refused():
    batches(batch_size=N)
    with pytest.raises(UserError, match=r"train.batch_size=51 exceeds the 50 training images"):
        batches(batch_size=N + 1)


def test_a_batch_that_processes_cannot_share_is_refused():
    with pytest.raises(UserError, match=r"train.batch_size=8 is not divisible by the 3 processes"):
        batches(world=3)


@pytest.mark.gpu
def test_a_gpu_sees_the_same_batches_and_never_waits():
    epoch = batches("cuda").epoch(2)
    seen = [next(epoch)[2]]  # the permutation is moved here
    torch.cuda.set_sync_debug_mode("error")
    try:
        seen += [labels for _, _, labels in epoch]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.cat(seen).tolist() == order(batches(), 2)
