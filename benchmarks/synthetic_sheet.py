"""A contact sheet of drawn frames, for a person to judge what no figure can: is each what it is meant to be?

    python -m benchmarks.synthetic_sheet --out docs/results/synthetic_frames.jpg

One row per patient, two of the training ranges and two of the test ranges; one column per label, none first.
"""

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from models.synthetic.frames import LABELS, draw_frame
from models.synthetic.ranges import Domain

ROWS: tuple[tuple[Domain, int], ...] = (("train", 1), ("train", 2), ("test", 1), ("test", 2))
COLUMNS = (frozenset[str](), *(frozenset({label}) for label in LABELS))
SIDE_PX, CAPTION_PX = 184, 16
INK = (230, 230, 230)


def sheet() -> Image.Image:
    drawn = Image.new("RGB", (len(COLUMNS) * SIDE_PX, len(ROWS) * (SIDE_PX + CAPTION_PX)))
    pen, font = ImageDraw.Draw(drawn), ImageFont.load_default(size=11)
    for row, (domain, patient) in enumerate(ROWS):
        for column, labels in enumerate(COLUMNS):
            frame = draw_frame(column, domain=domain, labels=labels, patient=patient)
            left, top = column * SIDE_PX, row * (SIDE_PX + CAPTION_PX)
            drawn.paste(Image.fromarray(frame.rgb).resize((SIDE_PX, SIDE_PX)), (left, top))
            caption = f"{' + '.join(labels) or 'normal'}, {domain} ranges"
            pen.text((left + SIDE_PX / 2, top + SIDE_PX), caption, fill=INK, font=font, anchor="ma")
    return drawn


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    sheet().save(parser.parse_args().out, quality=88)


if __name__ == "__main__":
    main()
