"""What `ModelParams` says of each stage, written out."""

from ..params import ModelParams


def stage_strides(params: ModelParams) -> tuple[int, ...]:
    """The stride of each stage's downsampling."""
    return (params.strides,) * len(params.layout) if isinstance(params.strides, int) else params.strides
