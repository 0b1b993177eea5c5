"""What megatron-core needs to run over gloo on a machine without CUDA, in the tests' processes and nowhere else.

One thing: sequence parallelism, and fewer key/value heads than ranks, keep the buffers of their collectives on
``torch.cuda.current_device()``. Nothing else of the backbone asks for CUDA.
"""

import torch


def apply() -> None:
    """Makes the current device the processor."""
    torch.cuda.current_device = lambda: torch.device("cpu")
