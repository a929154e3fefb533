"""Diffusion: schedule → denoiser → sampler, with guidance as a wrapper. Torch only; knows no network by name."""
