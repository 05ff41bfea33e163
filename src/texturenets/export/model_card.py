"""A model's page on the Hub: README.md, from the header of its file."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Final

from texturenets.errors import duration
from texturenets.modelfiles.conditions import styles_of
from texturenets.modelfiles.modelfile import Header

THUMBNAIL: Final = "thumbnail.jpg"

LICENCES: Final = """
apache-2.0 mit afl-3.0 artistic-2.0 bsl-1.0 bsd-2-clause bsd-3-clause bsd-3-clause-clear
cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0
cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0
cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1
agpl-3.0 gpl-2.0 gpl-3.0 lgpl-2.1 lgpl-3.0 isc lppl-1.3c ms-pl mpl-2.0 osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib
"""
"""SPDX identifiers, in lower case, that the Hub uses unchanged (its documentation, "Licenses")."""

_FAMILIES: Final = {
    "odbl-1.0": "odbl",
    "odc-by-1.0": "odc-by",
    "pddl-1.0": "pddl",
    "gfdl-1.3": "gfdl",
    "c-uda-1.0": "c-uda",
}
"""SPDX identifiers for which the Hub has another name."""


def card(header: Header, file: str, repo: str, revision: str | None = None) -> str:
    """The text of README.md for the model `file` in the repository `repo`, "USER/REPO", on the branch `revision`."""
    return (
        "\n".join([*_metadata(header), *_title(header), *_use(header, file, repo, revision), *_rest(header)])
        + "\n"
    )


def licence(header: Header) -> dict[str, str]:
    """The licence in the Hub's metadata: `license`, and `license_name` for one that the Hub does not list."""
    asked = re.sub(r"-(only|or-later)$", "", header.licence.strip().lower())
    known = _FAMILIES.get(asked, asked)
    if known in LICENCES.split() or asked in _FAMILIES:
        return {"license": known}
    slug = re.sub(r"[^a-z0-9.]+", "-", header.licence.lower()).strip("-.")[:60]
    return {"license": "other", **({"license_name": slug} if slug else {})}


def _metadata(header: Header) -> Iterator[str]:
    """The metadata as YAML; JSON is valid YAML."""
    is_style = header.kind == "style"
    tags = ["texturenets", *(["style-transfer", "neural-style"] if is_style else ["texture-synthesis"])]
    yield "---"
    for key, value in licence(header).items():
        yield f"{key}: {json.dumps(value)}"
    yield "library_name: texturenets"
    yield f"pipeline_tag: {'image-to-image' if is_style else 'unconditional-image-generation'}"
    yield "tags:"
    yield from (f"- {tag}" for tag in tags)
    yield "---"


def _title(header: Header) -> Iterator[str]:
    yield from ("", f"# {_plain(header.name)}", "")
    if header.thumbnail:
        yield from (f"![What it draws]({THUMBNAIL})", "")
    styles = styles_of(header.rows)
    if header.kind == "texture":
        yield "A texture for texturenets: it draws samples of any size, each different, from noise."
    elif header.kind == "material":
        yield f"A material for texturenets: maps in register, of any size, from noise: {_inline(header.maps)}."
    elif len(styles) > 1:
        yield f"{len(styles)} styles for texturenets in one network, which can be mixed: {_inline(styles)}."
    else:
        yield "A style for texturenets: it stylizes photos and videos of any size, in one pass."
    if header.base:
        yield f"It is one style more for the model {_plain(header.base['name'])}, whose file has to lie beside it."


def _use(header: Header, file: str, repo: str, revision: str | None) -> Iterator[str]:
    name = f"hf://{repo}/{file}" + (f"@{revision}" if revision else "")
    styles = styles_of(header.rows)
    one = shlex.quote(name + (f":{styles[0]}" if len(styles) > 1 else ""))
    use = f"stylize photo.jpg -s {one}" if header.kind == "style" else f"sample {one} --size 1024"
    yield from ("", "## Use it", "", "    pip install 'texturenets[hub]'", f"    texturenets {use}", "")
    yield from ("In Python:", "", "```python", "import texturenets as tn", "")
    if header.kind == "texture":
        yield f"texture = tn.load({json.dumps(name)})"
        yield "picture = texture.sample((1024, 1024), seed=7)"
    elif header.kind == "material":
        yield f"material = tn.load({json.dumps(name)})"
        yield "maps = material.sample(1024, seed=7)"
    else:
        mix = f", mix={{{json.dumps(styles[0])}: 1.0}}" if len(styles) > 1 else ""
        yield f"style = tn.load({json.dumps(name)})"
        yield f"picture = style(photo{mix})  # an image of PIL, an array or a tensor; the same kind comes back"
    yield "```"


def _rest(header: Header) -> Iterator[str]:
    """How the model was trained, and the terms."""
    rows = {key: value for key, value in _training_rows(header).items() if value}
    if rows:
        yield from ("", "## How it was made", "", "| | |", "|---|---|")
        yield from (f"| {key} | {value} |" for key, value in rows.items())
    yield from ("", "## Terms", "", f"Licence of the model: {_plain(header.licence) or 'not stated'}.")
    if header.terms:
        yield from ("", _plain(header.terms))


def _training_rows(header: Header) -> dict[str, str]:
    """The training options in the header, worded for the card; "" for missing values."""
    training = header.training
    run = training.get("run", {})
    layers = {key: run.get(f"{key}_layers") for key in ("style", "content")}
    weights = {k.removesuffix("_weight"): v for k, v in run.items() if k.endswith("_weight") and v}
    names = [
        str(layer).partition(":")[0] for one in layers.values() if isinstance(one, list) for layer in one
    ]
    seconds = training.get("seconds")
    where = f" ({_plain(training['device'])})" if training.get("device") else ""
    return {
        "painting" if header.kind == "style" else "picture": _inline(training.get("styles")),
        "network": _plain(header.generator["name"]),
        "steps": _inline(training.get("step")),
        "time": f"{duration(seconds)}{where}" if isinstance(seconds, int | float) else "",
        "descriptor networks": _inline(list(dict.fromkeys(names))),
        "layers of the style": _inline(layers["style"]),
        "layers of the content": _inline(layers["content"]),
        "weights": _inline([f"{key} {value}" for key, value in weights.items()]),
        "sides of photo and painting": _inline([run[k] for k in ("image_size", "style_size") if run.get(k)]),
        "started from": _inline(training.get("into") or training.get("init")),
        "source": _plain(header.source),
        "texturenets": _plain(header.version),
    }


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{_plain(key)} {_inline(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_inline, value))
    return "" if value is None else _plain(value)


def _plain(value: object) -> str:
    """Text from a header as plain text: in one line, escaped for Markdown and HTML."""
    return re.sub(r"([\\`*_\[\]<>|#!~&$])", r"\\\1", " ".join(str(value).split()))
