from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adapt.data import check_dataset, load_dataset
from adapt.data.images import HugeImageError, check_image, open_image
from adapt.errors import DataError
from tests.data.conftest import MakeData, kinds, problem

RED = (255, 0, 0)


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def bomb(side: int) -> bytes:
    """A small PNG file that claims ``side`` x ``side`` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    )


def test_every_kind_of_picture_becomes_rgb(tmp_path: Path) -> None:
    animated = [Image.new("RGB", (4, 4), RED), Image.new("RGB", (4, 4), "blue")]
    turned = Image.Exif()
    turned[0x0112] = 6
    deep = Image.fromarray(np.full((4, 4), 65535, dtype=np.uint16))
    see_through = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    grey_alpha = Image.new("LA", (4, 4), (0, 0))
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([0, 0, 0] * 256)
    cases = {
        "plain.png": (encoded(animated[0]), RED),
        "animated.gif": (encoded(animated[0], "GIF", save_all=True, append_images=animated[1:]), RED),
        "cmyk.jpg": (encoded(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "JPEG"), RED),
        "clear.png": (encoded(see_through), (255, 255, 255)),
        "grey.png": (encoded(grey_alpha), (255, 255, 255)),
        "palette.png": (encoded(palette, transparency=0), (255, 255, 255)),
        "deep.png": (encoded(deep), (255, 255, 255)),
        "bits.png": (encoded(Image.new("1", (4, 4), 1)), (255, 255, 255)),
    }
    for name, (content, colour) in cases.items():
        (tmp_path / name).write_bytes(content)
        image = open_image(tmp_path / name)
        assert (image.mode, image.size) == ("RGB", (4, 4)), name
        assert np.abs(np.asarray(image).astype(int) - colour).max() <= 2, name
        check_image(tmp_path / name)
    (tmp_path / "wide.jpg").write_bytes(encoded(Image.new("RGB", (8, 4)), "JPEG", exif=turned))
    assert open_image(tmp_path / "wide.jpg").size == (4, 8)


def test_broken_pictures_and_bombs_are_refused(tmp_path: Path) -> None:
    whole = encoded(Image.effect_noise((64, 64), 50), "JPEG")
    cases = {
        "cut.jpg": whole[: len(whole) // 2],
        "text.png": b"not a picture",
        "empty.png": b"",
        "script.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n",
        "cut.png": encoded(Image.effect_noise((64, 64), 50))[:200],
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        for action in (open_image, check_image):
            with pytest.raises(DataError, match=name):
                action(tmp_path / name)
    for side in (9_000, 12_000, 60_000):
        (tmp_path / "bomb.png").write_bytes(bomb(side))
        for action in (open_image, check_image):
            with pytest.raises(HugeImageError, match="at most 64,000,000 pixels"):
                action(tmp_path / "bomb.png")
    with pytest.raises(DataError, match="No such file"):
        open_image(tmp_path / "absent.png")


def test_images_of_a_data_set(make_data: MakeData, tmp_path: Path) -> None:
    picture = encoded(Image.new("RGB", (4, 4)))
    (tmp_path / "secret.png").write_bytes(picture)
    values = {
        "good": "images/a.png",
        "bare": "a.png",
        "windows": "images\\a.png",
        "several": "images/a.png | images/b.png|images/a.png",
        "missing": "images/none.png",
        "up": "../secret.png",
        "sly": "images/../../secret.png",
        "absolute": str(tmp_path / "secret.png"),
        "link": "images/link.png",
        "folder-link": "out/secret.png",
        "url": "https://example.org/a.png",
        "folder": "images",
        "broken": "images/broken.png",
        "huge": "images/huge.png",
        "long": "x" * 5000,
        "none": "",
    }
    rows = "".join(f"{name},{name},{value}\n" for name, value in values.items())
    folder = make_data(
        {
            "items.csv": "item_id,title,image\n" + rows,
            "images/a.png": picture,
            "images/b.png": picture,
            "images/broken.png": picture[:40],
            "images/huge.png": bomb(20_000),
        }
    )
    (folder / "images/link.png").symlink_to(tmp_path / "secret.png")
    (folder / "out").symlink_to(tmp_path)
    catalog = load_dataset(folder).catalog
    found = {
        item: [path.name for path in files] for item, files in zip(catalog.ids, catalog.images, strict=True) if files
    }
    assert found == {
        "good": ["a.png"],
        "bare": ["a.png"],
        "windows": ["a.png"],
        "several": ["a.png", "b.png"],
        "broken": ["broken.png"],
        "huge": ["huge.png"],
    }
    assert all(path.is_absolute() for files in catalog.images for path in files)
    report = check_dataset(folder, check_images=True)
    assert {entry.kind: [example.line for example in entry.examples] for entry in report.problems} == {
        "image-missing": [6, 13, 16],
        "image-outside": [7, 8, 9, 10, 11],
        "image-url": [12],
        "image-broken": [14],
        "image-huge": [15],
    }
    assert report.with_image == 4
    assert report.usable


def test_links_inside_the_data_set_are_fine(make_data: MakeData) -> None:
    folder = make_data(
        {"items.csv": "item_id,image\na,images/link.png\n", "store/a.png": encoded(Image.new("L", (2, 2)))}
    )
    (folder / "images").mkdir()
    (folder / "images/link.png").symlink_to("../store/a.png")
    assert load_dataset(folder).report.with_image == 1


def test_pictures_named_after_the_id_are_used_when_there_is_no_image_column(make_data: MakeData) -> None:
    picture = encoded(Image.new("RGB", (4, 4)))
    folder = make_data(
        {"items.csv": "item_id,title\n007,A\n8,\n", "images/007.PNG": picture, "images/other.png": picture}
    )
    report = check_dataset(folder)
    assert (report.with_image, report.with_both, report.with_neither) == (1, 1, 1)
    assert problem(report, "images-by-name").severity == "note"


def test_items_without_text_and_image_are_counted_with_the_first_five(make_data: MakeData) -> None:
    folder = make_data({"items.csv": "item_id,title\na,A\n" + "".join(f"{number},\n" for number in range(8))})
    neither = problem(check_dataset(folder), "no-modality")
    assert (neither.count, [example.line for example in neither.examples]) == (8, [3, 4, 5, 6, 7])


def test_a_catalog_without_any_content_is_not_usable(make_data: MakeData) -> None:
    report = check_dataset(make_data({"items.csv": "item_id,price\na,1\nb,2\n"}))
    assert kinds(report) == {"no-content"}
    assert not report.usable
