"""Images that do not fit in memory, exactly: a network strip by strip, its feature maps on disk in between. No
torch.

`rows` says what operations read, `plan` what is computed in which pass, `stage` makes a small graph of a pass over a
strip, which any engine runs, and `run` goes through the image.
"""
