"""Networks: tensors in, tensors out. Torch only; nothing here knows of diffusion, data or training."""
