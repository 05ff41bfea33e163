"""Stylize folders of photos with many workers: Ray Data hands out batches, each worker has its own engine.

`storage` lists photos and result files, by fsspec; `manifest` records which results are done and which are missing;
`worker` stylizes a batch; `ray_backend` is the only module that imports Ray.
"""
