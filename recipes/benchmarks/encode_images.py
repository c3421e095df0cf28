"""Image files a second, as a ratio: EfficientNet-Lite0 here beside a plain loop of Pillow, torchvision and timm.

    python recipes/benchmarks/encode_images.py [--images 256] [--rounds 3]

The plain loop is what one writes first: open a file, `torchvision.transforms` (resize the shorter side to 256, bicubic,
crop the middle 224, normalise), batches of 32 through timm's model with the same weights. Here, files go through the
decoding of the feature store, a worker for each core but one, and through the encoder. Files are JPEG and PNG of the
sizes that shops have. The features must agree: the crop is chosen before resizing here and after it there, so pixels
differ by rounding, and the mean cosine of the features must be above 0.999. On the very same pixels they must agree to
1e-3 of their size. Sides take turns; a ratio is the median over rounds. About a minute and a half on 2 cores.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import ratio_of, report, take_turns
from PIL import Image

from adapt.features.base import EncoderSpec
from adapt.features.decode import decode_batches
from adapt.features.load import load_encoder
from adapt.features.packages import find_weights
from adapt.features.timm import LITE0_PACKAGE, TimmEncoder

LITE0 = EncoderSpec(kind="timm", modality="image", name=f"package:{LITE0_PACKAGE}")
SIZES = ((500, 500), (1000, 1000), (640, 960), (1200, 800))
BATCH = 32
COSINE, EXACT = 0.999, 1e-3


def draw_pictures(folder: Path, count: int) -> list[Path]:
    """Files of smooth shapes with some noise on them, which compress about as photographs of products do."""
    random = np.random.default_rng(0)
    files = []
    for number in range(count):
        width, height = SIZES[number % len(SIZES)]
        coarse = Image.fromarray(random.integers(0, 256, (12, 12, 3), np.uint8)).resize((width, height))
        noise = random.integers(-8, 9, (height, width, 1))
        picture = Image.fromarray(np.clip(np.asarray(coarse, np.int16) + noise, 0, 255).astype(np.uint8))
        files.append(folder / f"{number}.{'png' if number % 8 == 7 else 'jpg'}")
        picture.save(files[-1], **({} if files[-1].suffix == ".png" else {"quality": 88}))
    return files


def plain_model() -> Any:
    """timm's model as it comes, with the weights of the package; both list their tensors in the same order."""
    import timm

    stored = torch.load(find_weights(LITE0_PACKAGE), map_location="cpu", weights_only=True)
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    names = model.state_dict()
    model.load_state_dict(dict(zip(names, stored.values(), strict=True)))
    model.reset_classifier(0)
    return model.eval()


def plain_loop(model: Any) -> Callable[[Sequence[Path]], np.ndarray]:
    """The loop that torchvision's documentation shows."""
    from torchvision import transforms
    from torchvision.transforms import InterpolationMode

    prepare = transforms.Compose(
        [
            transforms.Resize(256, interpolation=InterpolationMode.BICUBIC),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ]
    )

    def encode(files: Sequence[Path]) -> np.ndarray:
        found = []
        with torch.inference_mode():
            for start in range(0, len(files), BATCH):
                batch = [prepare(Image.open(file).convert("RGB")) for file in files[start : start + BATCH]]
                found.append(model(torch.stack(batch)).numpy())
        return np.concatenate(found)

    return encode


def encode(encoder: TimmEncoder, files: Sequence[Path]) -> np.ndarray:
    """As the feature store does it."""
    batches = [files[start : start + encoder.chunk] for start in range(0, len(files), encoder.chunk)]
    return np.concatenate([encoder.encode_pixels(np.stack(b)) for b in decode_batches(batches, encoder.preprocess)])


def agreement(encoder: TimmEncoder, model: Any, files: Sequence[Path]) -> dict[str, float]:
    """Mean cosine over files, and the largest difference on the same pixels as a share of the largest feature."""
    ours, theirs = encode(encoder, files), plain_loop(model)(files)
    cosine = (ours * theirs).sum(1) / (np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1))
    pixels = np.random.default_rng(0).integers(0, 256, (8, 224, 224, 3), np.uint8)
    with torch.inference_mode():
        same = model(torch.from_numpy(encoder.preprocess.scale(pixels)).contiguous()).numpy()
    exact = float(np.abs(encoder.encode_pixels(pixels) - same).max() / np.abs(same).max())
    if cosine.mean() < COSINE or exact > EXACT:
        raise SystemExit(f"expected the same features, found a mean cosine of {cosine.mean():.4f} and {exact:.2g}")
    return {"mean_cosine": round(float(cosine.mean()), 5), "difference_on_same_pixels": exact}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    encoder = load_encoder(LITE0)
    assert isinstance(encoder, TimmEncoder)
    model = plain_model()
    with tempfile.TemporaryDirectory() as name:
        files = draw_pictures(Path(name), arguments.images)
        facts = agreement(encoder, model, files[:BATCH])
        loop = plain_loop(model)
        runs = {"adapt": lambda: encode(encoder, files), "plain loop": lambda: loop(files)}
        seconds = take_turns(runs, arguments.rounds)
    ratio = ratio_of(
        "images/s of EfficientNet-Lite0 to a torchvision loop", seconds["plain loop"], seconds["adapt"], at_least=1.3
    )
    rows = [
        {"encoder": side, "images": len(files), "images_per_s": round(len(files) / float(np.median(values)), 1)}
        for side, values in seconds.items()
    ]
    report("encode_images", [ratio], rows, **facts)


if __name__ == "__main__":
    main()
