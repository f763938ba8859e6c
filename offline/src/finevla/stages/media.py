"""What reports that are one HTML file share: style, embedded media, and H.264 video."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO

import numpy as np
from PIL import Image

from finevla.errors import SetupError

ENCODER = "libx264"

STYLE = """
:root{--ink:#1b2027;--dim:#5c6670;--paper:#fff;--card:#f5f6f8;--line:#dde1e6;--good:#14773a;--bad:#b3261e;--mark:#ffe08a}
@media(prefers-color-scheme:dark){:root{--ink:#e8ebef;--dim:#9aa4af;--paper:#14181d;--card:#1d232a;
--line:#323a44;--good:#6fd58d;--bad:#ff8a7a;--mark:#7a5d00}}
*{box-sizing:border-box}body{margin:0 auto;max-width:1060px;padding:24px 16px 60px;background:var(--paper);
color:var(--ink);font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.7rem;margin:0 0 4px}h2{font-size:1.2rem;margin:36px 0 10px}p{max-width:75ch}
.dim{color:var(--dim)}.good{color:var(--good);font-weight:600}.bad{color:var(--bad);font-weight:600}
video{width:100%;max-width:720px;border-radius:8px;background:#000;display:block}
.figures{display:flex;flex-wrap:wrap;gap:12px;margin:18px 0}.figure{background:var(--card);border-radius:10px;
padding:10px 18px;min-width:120px}.figure b{display:block;font-size:1.6rem;line-height:1.2}
.pair{border:1px solid var(--line);border-radius:10px;margin:0 0 18px;padding:12px}
.sides{display:grid;grid-template-columns:repeat(auto-fit,minmax(300px,1fr));gap:16px}
.strip{display:grid;grid-template-columns:1fr 1fr;gap:4px}
.strip img{width:100%;border-radius:4px;display:block}
mark{background:var(--mark);color:inherit;padding:0 3px;border-radius:3px}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.92rem}
th,td{text-align:left;padding:6px 10px;border-bottom:1px solid var(--line);vertical-align:top}
th{color:var(--dim);font-weight:600}td.n{text-align:right;font-variant-numeric:tabular-nums}
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 16px;font-size:.92rem}dt{color:var(--dim)}
dd{margin:0;overflow-wrap:anywhere}
"""
"""Style of the page, for light and dark; no font and nothing else comes from outside."""


def data_uri(kind: str, payload: bytes) -> str:
    """Bytes as a `data:` address of the given media type."""
    return f"data:{kind};base64,{base64.b64encode(payload).decode()}"


def require_encoder() -> None:
    """Makes sure that videos can be written here.

    Raises:
        SetupError: PyAV or its H.264 encoder is missing.
    """
    try:
        import av

        av.codec.Codec(ENCODER, "w")
    except (ImportError, ValueError) as err:
        raise SetupError(
            "videos cannot be written here",
            where="PyAV",
            expected=f"the encoder {ENCODER}",
            found=repr(err),
            remedy="install the wheel of av from requirements/learn.txt, or ask for no videos",
        ) from err


def encode_mp4(target: str | BinaryIO, pictures: Iterator[Image.Image], fps: int) -> int:
    """Writes pictures of one even size as H.264 in an MP4 that browsers play.

    Args:
        target: A path, or a file that is open for writing and can be wound back.
        pictures: RGB.
        fps: Pictures per second.

    Returns:
        The number of pictures; with none, nothing is written.
    """
    import av

    first = next(pictures, None)
    if first is None:
        return 0
    count = 0
    # Moving the index to the front reads the file again, for which it needs a name.
    muxing = {"movflags": "faststart"} if isinstance(target, str) else {}
    with av.open(target, "w", format="mp4", options=muxing) as container:
        options = {"crf": "24", "preset": "veryfast"}
        stream = container.add_stream(ENCODER, rate=Fraction(fps), options=options)
        stream.width, stream.height = first.size
        stream.pix_fmt = "yuv420p"
        picture: Image.Image | None = first
        while picture is not None:
            frame = av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")
            container.mux(stream.encode(frame))
            count += 1
            picture = next(pictures, None)
        container.mux(stream.encode(None))
    return count
