"""Draw the pictures of the documentation in ``docs/pictures``: the answer in a terminal, a sheet of maps, the page.

    python tools/pictures.py [--run FOLDER]

``--run`` takes a finished ``xaibench eval`` in place of a new one, which takes a minute. Faces are the demo's own,
which are drawn from a seed. The picture of the page needs chromium, and is left as it is where there is none.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
COLUMNS, LINES = 80, 60
MAPS = {
    "gradcam": "gradcam", "integrated-gradients:steps=16": "integrated-gradients", "rise:masks=400": "rise",
    "occlusion": "occlusion", "center-prior": "center-prior: a control", "edges": "edges: a control",
}  # fmt: skip
SIDE, GAP, LABEL = 176, 12, 22  # of a tile of the sheet, in pixels
LARGEST = 200_000  # bytes of a picture
CHROMIUM = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars",
)  # fmt: skip


def main() -> int:
    """Draw every picture; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="a finished run of the demo")
    run = parser.parse_args().run
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if run is None:
            xaibench("eval", "-q", "-o", "quick", folder=folder)
        elif run.is_dir():
            shutil.copytree(run, folder / "quick")
        answer = xaibench("report", "quick", "-o", "page.html", folder=folder)
        draw_terminal(answer, PICTURES / "terminal.svg")
        draw_maps(folder, PICTURES / "maps.png")
        draw_page(folder / "page.html", PICTURES / "page.png")
    return report_sizes()


def xaibench(*arguments: str, folder: Path) -> str:
    """What a command prints on a terminal of 80 columns, colours included."""
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
    environment |= {"COLUMNS": str(COLUMNS), "FORCE_COLOR": "1", "TERM": "xterm-256color", "XAIBENCH_CONFIG": ""}
    command = (sys.executable, "-m", "xaibench", *arguments)
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def draw_terminal(answer: str, path: Path) -> None:
    """The beginning of the answer as SVG, whose text can be selected and which loads nothing."""
    from rich.console import Console
    from rich.text import Text

    lines = [line for line in answer.splitlines() if not line.startswith("report: ")]
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi("\n".join(lines[:LINES])), soft_wrap=True)
    svg = console.export_svg(title="xaibench eval", unique_id="xaibench")
    path.write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL), encoding="utf-8")


def draw_maps(folder: Path, path: Path) -> None:
    """A fake of the demo, what was changed in it, and the maps of explainers and controls over it."""
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    from xaibench import open_dataset

    dataset = open_dataset("demo").instance
    sample = next(s for s in dataset.samples() if s.method == "swap")
    native = dataset.read(sample)
    face = Image.fromarray(np.asarray(native.pixels))
    face.save(folder / "face.png")
    chosen = (word for name in MAPS for word in ("-e", name))
    xaibench("explain", "face.png", *chosen, "-o", "maps", folder=folder)
    mask = Image.fromarray((np.asarray(native.mask) > 0.5).astype(np.uint8) * 255)
    tiles = [("a drawn fake", face), ("what was changed", mask)]
    tiles += [(label, Image.open(_overlay(folder / "maps", name))) for name, label in MAPS.items()]
    across = len(tiles) // 2
    sheet = Image.new("RGB", (across * (SIDE + GAP) + GAP, 2 * (SIDE + LABEL + GAP) + GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for index, (name, picture) in enumerate(tiles):
        left = GAP + index % across * (SIDE + GAP)
        top = GAP + index // across * (SIDE + LABEL + GAP)
        draw.text((left, top), name, fill="black", font=font)
        sheet.paste(picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS), (left, top + LABEL))
    _save(sheet, path)


def _overlay(folder: Path, name: str) -> Path:
    """The overlay of an explainer among the files of ``xaibench explain``."""
    stem = name.partition(":")[0]
    return next(p for p in sorted(folder.rglob("*.png")) if stem in p.name)


def draw_page(page: Path, path: Path) -> None:
    """The top of the page as a browser shows it."""
    from PIL import Image

    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        print("no chromium: the picture of the page stays as it is", file=sys.stderr)
        return
    shot = page.with_suffix(".png")
    profile = f"--user-data-dir={page.parent / 'profile'}"
    subprocess.run(
        (browser, *CHROMIUM, profile, "--window-size=1100,900", f"--screenshot={shot}", page.as_uri()),
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120,
    )  # fmt: skip
    _save(Image.open(shot).convert("RGB"), path)


def _save(picture: object, path: Path) -> None:
    """A PNG of 256 colours, which is a quarter of the size."""
    picture.quantize(256, dither=0).save(path, optimize=True)  # type: ignore[attr-defined]


def report_sizes() -> int:
    """Print the size of every picture; 1 where one is too large."""
    sizes = {path: path.stat().st_size for path in sorted(PICTURES.iterdir())}
    for path, size in sizes.items():
        print(f"{path.name}: {size / 1000:.0f} kB{' is too large' if size > LARGEST else ''}")
    return int(any(size > LARGEST for size in sizes.values()))


if __name__ == "__main__":
    sys.exit(main())
