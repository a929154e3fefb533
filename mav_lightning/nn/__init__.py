"""Networks: tensors in, tensors out. Torch only: nothing here knows about diffusion, data or training."""
