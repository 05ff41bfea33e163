"""Styles by name: how `--style` and similar arguments are interpreted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from glob import has_magic
from pathlib import Path

from texturenets.cli.common import warn
from texturenets.errors import UserError
from texturenets.hub.names import is_name


@dataclass(frozen=True)
class ChosenStyle:
    """The model file of a style; for a model with several styles also which, as ((name, weight), ...). `painting`: an
    image that is first added to that model by `minutes` of training (`paintings.learned`). `given`: the name by which
    it was chosen.
    """

    model: Path
    styles: tuple[tuple[str, float], ...] = ()
    painting: Path | None = None
    minutes: float = 0.0
    given: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """The name of the style in names of results."""
        if self.painting is not None:
            return self.painting.stem
        return "+".join(name for name, _ in self.styles) or self.model.stem

    @property
    def mix(self) -> dict[str, float] | None:
        """The mixture, as `Style.stylize` takes it."""
        return dict(self.styles) or None


def within_model() -> str:
    """The end of messages about combining styles, which is possible only within one model."""
    from texturenets import loading

    several = next(iter(loading.shipped_galleries()), None)
    learned = "`texturenets train gallery` learns"
    if several is None:
        return f"within a model of several, which {learned} (none is shipped)"
    return f"within a model of several, as the shipped {several}, or one that {learned}"


def find_styles(
    names: Sequence[str] | None,
    photos: Sequence[str],
    into: str | None = None,
    minutes: float | None = None,
) -> list[ChosenStyle]:
    """Styles, each once: shipped names, files, "MODEL:STYLE=WEIGHT,...", paintings, `all` for all shipped ones;
    without names, the first shipped one. `photos`: the photos to stylize, for messages about paintings. `into`: the
    model to which paintings are added, by `minutes` of training. Raises UserError for names of no style, a model of
    several styles that does not say which, and `into` or `minutes` without a painting.
    """
    from texturenets import loading

    found: dict[ChosenStyle, None] = {}
    for name in names or [loading.default_style()]:
        if name == "all":
            loading.default_style()  # says so if there is none
            for shipped in loading.shipped_styles().values():
                file, mix = loading.split_name(shipped)
                found[ChosenStyle(loading.find_style(file), tuple((mix or {}).items()))] = None
            continue
        file, mix = loading.split_name(name)
        if _is_painting(str(file)):
            if name != str(file):
                raise UserError(
                    f"-s {name}: {file} is an image, which holds no styles: leave out what follows it"
                )
            found[_painting(str(file), photos, into, minutes)] = None
            continue
        _check_one(str(file))
        path = _found(file, mix)
        if mix:
            loading.check_styles(path, mix)
        elif len(_each(path)) > 1:
            raise UserError(
                f"-s {name}: this model holds several styles; say which, for example -s "
                f"{name}:{_each(path)[0].name}: "
                f"{', '.join(style.name for style in _each(path))}"
            )
        found[ChosenStyle(path, tuple((mix or {}).items()), given=name)] = None
    if not any(style.painting for style in found):
        for flag, value in (("--into", into), ("--minutes", minutes)):
            if value is not None:
                raise UserError(
                    f"{flag} {value} is for learning a painting: name one, for example -s painting.jpg"
                )
    return list(found)


def _painting(file: str, photos: Sequence[str], into: str | None, minutes: float | None) -> ChosenStyle:
    """The style of the painting `file`; it is learned on first use."""
    from texturenets.cli import paintings

    base = paintings.base_for(file, into, photos)
    duration = paintings.MINUTES if minutes is None else paintings.check_minutes(minutes)
    return ChosenStyle(base, ((paintings.STYLE, 1.0),), Path(file), duration)


def _found(file: str | Path, mix: Mapping[str, float] | None) -> Path:
    """The model file of a style. Raises UserError; if the model would need several styles, the message says how one
    is trained."""
    from texturenets import loading

    try:
        return loading.find_style(file)
    except UserError as error:
        here = Path(str(file))
        there = [path for path in (here, Path(f"{here}.safetensors"), Path(f"{here}.run")) if path.exists()]
        if mix is None or is_name(str(file)) or here.suffix or there:  # the error names it
            raise
        text = str(error)
        raise UserError(
            f"{text}{'' if text.endswith('?') else ';'} MODEL:STYLE is for a style {within_model()}"
        ) from None


def _each(path: Path) -> list[ChosenStyle]:
    """The styles of a model file."""
    from texturenets.modelfiles import conditions, modelfile

    names = conditions.styles_of(modelfile.read_header(path).rows)
    return [ChosenStyle(path, ((name, 1.0),)) for name in names] or [ChosenStyle(path)]


def _check_one(name: str) -> None:
    """Print a note if a name is ambiguous. Raises UserError for several styles in one name, and for `photo`."""
    from texturenets.modelfiles.conditions import PHOTO

    styles = name.split(",")
    if PHOTO in styles and not Path(name).is_file():
        others = [one for one in styles if one != PHOTO]
        style = others[0] if len(others) == 1 else "STYLE"
        raise UserError(
            f"-s {name}: {PHOTO} is the unchanged photo, not a style: give one style with --mask, --keep or "
            "--strength to "
            f"keep some of the photo, for example -s {style} --mask FILE; with several it is possible "
            f"{within_model()}, for example -s MODEL:STYLE,{PHOTO}"
        )
    if len(styles) > 1 and not Path(name).is_file():
        raise UserError(
            f"-s {name}: styles go into one image only {within_model()}; then use -s MODEL:{name}. For one "
            f"image in each style: {' '.join(f'-s {one}' for one in styles)}"
        )
    note_shipped(name, "-s ")


def note_shipped(name: str, flag: str = "") -> None:
    """Print a note that the shipped model is used, if a file has the same name. `flag`: the option before the
    name."""
    from texturenets.modelfiles import modelfile

    if name in modelfile.shipped() and Path(f"{name}.safetensors").is_file():
        warn(f"note: {name} is the shipped model; for the file here say {flag}{name}.safetensors")


def check_no_style(photos: Sequence[str], styles: Sequence[str] | None) -> None:
    """Raise UserError for a model file among the photos, a photo that is not there but called like a style, and an
    option after --, if it is a photo."""
    from texturenets.modelfiles import modelfile

    for name in photos:
        if name.startswith("-") and not (Path(name).exists() or has_magic(name)):
            raise UserError(
                f"{name}: after -- every word is a photo, and none is called so: options go before --, for example "
                f"stylize -s STYLE -- {photos[0]}"
            )
    for name in photos:
        flags = " ".join(f"-s {one}" for one in (*(styles or ()), name))
        if is_name(name):
            raise UserError(f"{name} is a style, not a photo: use {flags}")
        if name in modelfile.shipped() and not Path(name).exists():
            raise UserError(f"{name} is a style, and no photo is called so: use {flags}")
        if modelfile.is_model(name):
            raise UserError(f"{name} is a model file, not a photo: to stylize with it use {flags}")


def check_no_model(pictures: Sequence[Path], photo: Path | None = None) -> None:
    """Raise UserError if a trained model is named in place of an image to learn.

    `photo`: the photo to stylize, for the message.
    """
    from texturenets.modelfiles import modelfile

    for path in pictures:
        name = str(path)
        shipped = name in modelfile.shipped() and not path.exists()
        if not shipped and not modelfile.is_model(path):
            continue
        kind = modelfile.read_header(modelfile.find(name)).kind
        use = f"stylize {photo or 'PHOTO'} -s {name}" if kind == "style" else f"sample {name}"
        raise UserError(
            f"{name} is a trained {kind}, which `texturenets {use}` uses as it is; here belongs an image to learn "
            "from, for example painting.jpg"
        )


def _is_painting(name: str) -> bool:
    """Whether a style is an image that has to be learned first. Raises UserError if it does not exist, and for
    another program's network."""
    from texturenets import image

    if is_name(name):
        return False  # it is not a file yet
    check_published(name)
    if not Path(name).exists() and Path(name).suffix.lower() in image.suffixes():
        glued = f"-s{name}"  # a file name that begins so is parsed as -s and its value
        hint = f"; for the photo {glued} say ./{glued}" if Path(glued).is_file() else ""
        raise UserError(f"--style {name}: no such file{hint}")
    return is_image(name)


def check_no_exemplar(name: str) -> None:
    """Raise UserError if an image, or another program's network, is named as a texture."""
    check_published(name)
    if is_image(name):
        raise UserError(
            f"{name} is an image, not a trained texture yet: `texturenets train texture {name}` trains one; "
            f"`texturenets optimize --style {name}` draws one sample without"
        )


def check_published(name: str) -> None:
    """Raise UserError for another program's network, which can be converted."""
    from texturenets.modelfiles import modelfile

    if Path(name).suffix.lower() in modelfile.PUBLISHED and Path(name).is_file():
        raise UserError(
            f"{name} is another program's network: `texturenets convert {name}` makes a model of it"
        )


def is_image(name: str) -> bool:
    """Whether `name` is an image file and not a model. Raises UserError for a file with an image suffix that cannot
    be read as an image."""
    from texturenets import image
    from texturenets.modelfiles import modelfile

    path = Path(name)
    if not path.suffix or not path.is_file() or modelfile.is_model(path):
        return False
    if image.read_header(path) is not None:
        return True
    if image.has_image_suffix(path):
        image.read(path)  # an EXR file can be; else it says what is wrong
        return True
    return False
