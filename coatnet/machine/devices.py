"""Which device there is, and what it can do."""

import torch


def this_device(index: int = 0) -> torch.device:
    """This machine's accelerator (CUDA, ROCm, Apple's MPS, ...), the one of that index; its CPU where it has none."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return torch.device(accelerator.type, index) if accelerator else torch.device("cpu")


def device_name(device: torch.device) -> str:
    """The device as a report names it."""
    match device.type:
        case "cuda":
            return torch.cuda.get_device_name(device)
        case "cpu":
            return f"CPU, {torch.get_num_threads()} threads"
        case "mps":
            return "Apple GPU"
    return device.type


def widest_float(device: torch.device) -> torch.dtype:
    """The type for sums of many numbers: float64, which Apple's GPUs do not have."""
    return torch.float32 if device.type == "mps" else torch.float64
