"""From an encoder spec to an encoder, whose identity is checked."""

from __future__ import annotations

from pathlib import Path

from adapt.errors import CheckpointError
from adapt.features.base import Encoder, EncoderSpec
from adapt.features.lazy import LazyEncoder
from adapt.features.lexical import with_sketch
from adapt.features.packages import find_weights
from adapt.features.precomputed import PrecomputedEncoder
from adapt.files import bundled


def load_encoder(
    spec: EncoderSpec, *, base: Path | None = None, allow_download: bool = False, device: str = "cpu"
) -> Encoder:
    """A frozen encoder.

    One whose identity and width are pinned is loaded, and checked, when there is first something to encode.

    Args:
        spec: kind, name and, where it is pinned, identity and width.
        base: folder that a relative folder in ``spec.name`` starts from; None is the current one.
        allow_download: whether weights may be fetched from the Hub.
        device: where the encoder runs.

    Raises:
        CheckpointError: the weights are absent, damaged or not those of ``spec.id``; random weights are never used.
        MissingExtraError: a package with the weights is not installed.
    """

    def load() -> Encoder:
        encoder = _load(spec, base or Path(), allow_download, device)
        return _checked(spec, with_sketch(encoder, spec.sketch) if spec.sketch else encoder)

    return LazyEncoder(spec, load) if spec.id and spec.dim else load()


def _checked(spec: EncoderSpec, encoder: Encoder) -> Encoder:
    if spec.modality != encoder.modality:
        raise CheckpointError(
            f"expected an encoder for {spec.modality}, found that {spec.name} reads {encoder.modality}"
        )
    if spec.id and spec.id != encoder.id:
        raise CheckpointError(
            f"expected the {spec.modality} encoder {spec.id}, found {encoder.id} at {spec.name}",
            "The features would not fit the towers: install the weights that the checkpoint names.",
        )
    if spec.dim and spec.dim != encoder.dim:
        raise CheckpointError(f"expected {spec.modality} features of width {spec.dim}, found {encoder.dim}")
    return encoder


def _load(spec: EncoderSpec, base: Path, allow_download: bool, device: str) -> Encoder:
    """Each kind's own loader, imported only when it is needed."""
    if spec.precision != "float32" and spec.kind != "transformers":
        raise CheckpointError(
            f"expected precision float32 for an encoder of kind {spec.kind}, found {spec.precision}",
            "Only encoders of kind transformers compute in another precision.",
        )
    if spec.kind == "static":
        from adapt.features.static import load_static

        return load_static(_folder(spec.name, base), spec.max_length)
    if spec.kind == "transformers":
        from adapt.features.transformers import load_transformers

        folder = _weights_folder(spec.name, base, allow_download)
        encoder = load_transformers(folder, spec.max_length, device, spec.precision)
        if not spec.adapter:
            return encoder
        from adapt.features.adapted import adapted

        return adapted(encoder, base / spec.adapter)
    if spec.kind == "timm":
        from adapt.features.timm import LITE0_PACKAGE, load_lite0, load_timm

        options = (device, spec.view, spec.pooling)
        packaged = spec.name == f"package:{LITE0_PACKAGE}"
        return (
            load_lite0(*options) if packaged else load_timm(_weights_folder(spec.name, base, allow_download), *options)
        )
    if spec.kind == "open_clip":
        from adapt.features.open_clip import load_open_clip

        return load_open_clip(spec.name, spec.modality, base=base, allow_download=allow_download, device=device)
    return PrecomputedEncoder(spec.modality, spec.dim)


def _folder(name: str, base: Path) -> Path:
    if inside := _after(name, "bundled:"):
        return bundled("pretrained") / inside
    return base / Path(name).expanduser()


def _weights_folder(name: str, base: Path, allow_download: bool) -> Path:
    """The folder of a package or on disk, else a repository of the Hub: its cached copy, or fetched if allowed."""
    if package := _after(name, "package:"):
        return find_weights(package).parent
    folder = _folder(name, base)
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(
            snapshot_download(
                name, allow_patterns=["*.json", "*.txt", "*.safetensors"], local_files_only=not allow_download
            )
        )
    except (OSError, HFValidationError) as failure:
        raise CheckpointError(
            f"expected the encoder {name} in a folder or in the Hub's cache, found neither",
            "Allow fetching it with --allow-download." if not allow_download else str(failure).splitlines()[0],
        ) from failure


def _after(name: str, prefix: str) -> str:
    return name.removeprefix(prefix) if name.startswith(prefix) else ""
