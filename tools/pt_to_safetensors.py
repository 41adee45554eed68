"""Weights that PyTorch pickled, to safetensors: python tools/pt_to_safetensors.py X.pt OUT.

Run it where PyTorch and safetensors are installed; nothing else here needs PyTorch. Only tensors
are unpickled (`weights_only`), so that a file can't run a program of its own.
"""

import sys

import torch
from safetensors.torch import save_file

# As in prolip/interop/tensor_names.py, which need not be where this runs.
WRAPPERS = (
    "_orig_mod",
    "module",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
    "_forward_module",
)


def unwrapped(name):
    """Returns the name without the parts of wrappers."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


source, destination = sys.argv[1:]
state = torch.load(source, map_location="cpu", weights_only=True)
state = state.get("state_dict", state)
tensors = {}
for name, value in state.items():
    if not isinstance(value, torch.Tensor):
        print(f"left out, as it is not a tensor: {name}")
    elif unwrapped(name) in tensors:
        sys.exit(f"two tensors would both be {unwrapped(name)}; nothing is written")
    else:
        # Cloned: tensors that share memory can't be saved.
        tensors[unwrapped(name)] = value.clone().contiguous()
save_file(tensors, destination, metadata={"format": "pt"})
print(f"wrote {destination}: {len(tensors)} tensors")
