"""Inpainting and seamless tiling: a part of an image is synthesized from the rest, by iterative optimization of only
the pixels that may change; the losses are those of textures."""
