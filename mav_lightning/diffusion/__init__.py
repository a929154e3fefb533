"""Diffusion: noise levels, denoisers, samplers and guidance. Torch only; knows no network but its contract."""
