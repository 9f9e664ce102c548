"""CoAtNet on Tiny ImageNet: parameters, data, models, augmentation, training, reporting.

An import goes down these floors, never up: params < machine < data < models < augment < training < reporting.
"""

from typing import TYPE_CHECKING, Any

from .errors import UserError
from .params import Params, load_params

if TYPE_CHECKING:
    from .models import create_model

__all__ = ["Params", "UserError", "create_model", "load_params"]


def __getattr__(name: str) -> Any:
    # Lazy, so that reading parameters does not wait seconds for torch.
    if name == "create_model":
        from .models import create_model

        return create_model
    raise AttributeError(f"module 'coatnet' has no attribute {name!r}")
