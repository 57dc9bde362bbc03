"""Probability volumes to label maps: the reason the package exists. Torch only, CPU and CUDA."""
