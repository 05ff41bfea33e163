"""Folders of photos repainted by many workers: Ray Data hands out batches, each worker has an engine of its own.

`places` finds photos and knows where results lie, by fsspec; `manifest` remembers what was done and says what is
missing; `worker` repaints a batch; `rays` is the only one that knows Ray.
"""
