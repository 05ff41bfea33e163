"""A part of a picture made anew from the rest of it: holes filled, edges that meet. By iterative optimization of the
free pixels alone; the losses are those of textures."""
