"""The notebook, from top to bottom, as its cells stand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

TOUR = Path(__file__).resolve().parents[1] / "examples/tour.ipynb"


@pytest.mark.slow
def test_the_tour_runs(capsys: pytest.CaptureFixture[str]) -> None:
    notebook = json.loads(TOUR.read_text())
    shown: list[Image.Image] = []
    names = {"display": lambda *pictures: shown.extend(pictures)}
    threads = torch.get_num_threads()
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"], "clear the outputs: they are large, and soon wrong"
            exec(compile("".join(cell["source"]), str(TOUR), "exec"), names)
    torch.set_num_threads(threads)
    assert [type(picture).__mro__[-2] for picture in shown] == [Image.Image] * 9
    assert shown[1].size == shown[0].size
    assert shown[6].size == (480, 240)
    assert shown[8].size == (256, 256)
    assert "wood.onnx" in capsys.readouterr().out
