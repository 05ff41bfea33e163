"""Exact results for images that do not fit in memory: the network is computed strip by strip, its feature maps are
kept on disk. No torch.

`rows`: the input rows needed by each operation. `plan`: what each pass computes. `strip_graph`: a small graph for one
strip of a pass, which any engine runs. `run`: the passes over the image.
"""
