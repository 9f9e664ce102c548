"""CoAtNet on Tiny ImageNet: parameters, data, models, augmentation, training, inference, reporting.

An import goes down these floors, never up: params < machine < data < models < augment < training < inference <
reporting.
"""

from typing import TYPE_CHECKING, Any

from .errors import UserError
from .params import Params, load_params

if TYPE_CHECKING:
    from .inference import load
    from .models import create_model

__all__ = ["Params", "UserError", "create_model", "load", "load_params"]


def __getattr__(name: str) -> Any:
    # Lazy, so that reading parameters does not wait seconds for torch.
    if name == "create_model":
        from .models import create_model

        return create_model
    if name == "load":
        from .inference import load

        return load
    raise AttributeError(f"module 'coatnet' has no attribute {name!r}")
