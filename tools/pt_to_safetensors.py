"""Weights that PyTorch pickled, to safetensors: python tools/pt_to_safetensors.py X.pt OUT.

Run it where PyTorch and safetensors are installed; nothing else here needs PyTorch. Only tensors
are unpickled (`weights_only`), so that a file can't run a program of its own.
"""

import sys

import torch
from safetensors.torch import save_file

source, destination = sys.argv[1:]
state = torch.load(source, map_location="cpu", weights_only=True)
state = state.get("state_dict", state)
# Clones: tensors that share memory can't be saved.
tensors = {k.removeprefix("module."): v.clone().contiguous() for k, v in state.items()}
save_file(tensors, destination, metadata={"format": "pt"})
print(f"wrote {destination}: {len(tensors)} tensors")
