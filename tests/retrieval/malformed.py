"""Images and texts as the web has them: name -> (content, what is to become of it).

What becomes of it is a picture or text that embeds the same, or the reason of the failure.
"""

import io
import struct
import zlib

import numpy as np
from PIL import Image
from small_model import encoded, picture, png

NOT_IMAGE = "not a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF image"
NO_HEIC = "HEIC image, which is not read; convert it to JPEG or PNG"
DAMAGED, EMPTY, LARGE = "damaged image", "empty image", "image has too many pixels"
RGB = picture(3, 40, 30)
GREY = RGB.convert("L")


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width, height, depth=8, colour=2):
    """A PNG that ends after its header and a little data."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def jpeg_of(width, height):
    """A JPEG whose header says another size."""
    content = bytearray(encoded(RGB, "JPEG"))
    place = content.index(b"\xff\xc0") + 5
    content[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(content)


def opened(content):
    """First frame, as Pillow has it in RGB."""
    image = Image.open(io.BytesIO(content))
    image.load()
    return image.convert("RGB")


def frames(form, **options):
    return encoded(RGB, form, save_all=True, append_images=[picture(7, 40, 30)] * 3, **options)


def turned(orientation, form="JPEG"):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(RGB, form, exif=exif)


def with_exif(data):
    return encoded(RGB, "JPEG", exif=b"Exif\0\0" + data)


def images():
    """Name of a file to its content and fate."""
    jpeg, webp, gif = (encoded(RGB, form) for form in ("JPEG", "WEBP", "GIF"))
    grey16 = np.asarray(GREY).astype(np.uint16) << 8 | 0xAB
    half = Image.merge("RGBA", [*RGB.split(), Image.new("L", RGB.size, 0)])
    white = Image.new("RGB", RGB.size, "white")
    palette = RGB.quantize(16)
    clear_grey = Image.merge("LA", [GREY, Image.new("L", RGB.size, 0)])
    found = {
        "zero.jpg": (b"", EMPTY),
        "one byte.jpg": (b"\xff", NOT_IMAGE),
        "text.png": (b"<html>404 not found</html>", NOT_IMAGE),
        "nul.gif": (bytes(1000), NOT_IMAGE),
        "noise.webp": (np.random.default_rng(0).bytes(1000), NOT_IMAGE),
        "svg.png": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", NOT_IMAGE),
        "pdf.jpg": (b"%PDF-1.4\n" + bytes(500), NOT_IMAGE),
        "eps.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", NOT_IMAGE),
        "heic.jpg": (b"\0\0\0\x18ftypheic" + bytes(500), NO_HEIC),
        "pickle.png": (b"\x80\x04\x95\x0f\0\0\0\0\0\0\0\x8c\x05posix\x94.", NOT_IMAGE),
        "gzip.png": (b"\x1f\x8b\x08\0" + bytes(500), NOT_IMAGE),
        "signature.png": (b"\x89PNG\r\n\x1a\n", NOT_IMAGE),
        "riff.webp": (b"RIFF\x10\0\0\0WEBPVP8 " + bytes(8), DAMAGED),
        "avi.webp": (b"RIFF\x10\0\0\0AVI " + bytes(100), NOT_IMAGE),
        "gif header.gif": (b"GIF89a", NOT_IMAGE),
        "bomb.png": (png_header(60_000, 60_000), LARGE),
        "just too large.png": (png_header(10_001, 5_000), LARGE),
        "widest.png": (png_header(2**31 - 1, 2**31 - 1), LARGE),
        "bomb.jpg": (jpeg_of(60_000, 60_000), LARGE),
        "no width.png": (png_header(0, 10), None),
        "no size.jpg": (jpeg_of(0, 0), None),
        "odd depth.png": (png_header(10, 10, depth=3), None),
        "odd colour.png": (png_header(10, 10, colour=7), None),
        "header only.png": (png_header(100, 100), None),
        "taller than its data.jpg": (jpeg_of(40, 300), None),
        "text before.jpg": (b"x" + jpeg, NOT_IMAGE),
        "text after.jpg": (jpeg + b"<html>" * 100, opened(jpeg)),
        "wrong name.png": (jpeg, opened(jpeg)),
        "wrong name.gif": (webp, opened(webp)),
        "bitmap.jpg": (encoded(RGB, "BMP"), RGB),
        "tiff.jpg": (encoded(RGB, "TIFF"), RGB),
        "targa.jpg": (encoded(RGB, "TGA"), NOT_IMAGE),
        "grey.jpg": (encoded(GREY, "JPEG"), opened(encoded(GREY, "JPEG"))),
        "cmyk.jpg": (encoded(RGB.convert("CMYK"), "JPEG"), None),
        "progressive.jpg": (
            encoded(RGB, "JPEG", progressive=True),
            opened(encoded(RGB, "JPEG", progressive=True)),
        ),
        "grey16.png": (encoded(Image.fromarray(grey16)), GREY.convert("RGB")),
        "bits.png": (encoded(RGB.convert("1")), RGB.convert("1").convert("RGB")),
        "palette.png": (encoded(palette), palette.convert("RGB")),
        "grey and alpha.png": (
            encoded(clear_grey),
            white,
        ),
        "clear.png": (encoded(half), white),
        "clear.webp": (encoded(half, "WEBP", lossless=True), white),
        "clear palette.png": (encoded(Image.new("P", RGB.size, 0), transparency=0), white),
        "animated.gif": (frames("GIF"), opened(frames("GIF"))),
        "animated.webp": (frames("WEBP", lossless=True), RGB),
        "animated.png": (frames("PNG"), RGB),
        "one pixel.png": (encoded(picture(1, 1, 1)), picture(1, 1, 1)),
        "thin.png": (encoded(picture(1, 500, 1)), picture(1, 500, 1)),
        "thinner.png": (encoded(picture(1, 1, 500)), picture(1, 1, 500)),
        "turned 1.jpg": (turned(1), opened(jpeg)),
        "turned 3.jpg": (turned(3), opened(jpeg).transpose(Image.Transpose.ROTATE_180)),
        "turned 6.jpg": (turned(6), opened(jpeg).transpose(Image.Transpose.ROTATE_270)),
        "turned 8.png": (turned(8, "PNG"), RGB.transpose(Image.Transpose.ROTATE_90)),
        "turned 99.jpg": (turned(99), opened(jpeg)),
        "bad exif.jpg": (with_exif(b"MM\0*\0\0\0\x08\xff\xff" + bytes(40)), None),
        "cut exif.jpg": (with_exif(b"II*"), None),
        "bad profile.png": (encoded(RGB, icc_profile=b"no profile"), RGB),
        "long text.png": (
            png(3)[:33] + chunk(b"tEXt", b"key\0" + b"x" * 10**6) + png(3)[33:],
            picture(3),
        ),
        "text bomb.png": (
            png(3)[:33] + chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(10**8))) + png(3)[33:],
            picture(3),
        ),
        "bad checksum.png": (png(3)[:50] + b"\0\0" + png(3)[52:], None),
    }
    for name, content in (("jpg", jpeg), ("png", png(3)), ("webp", webp), ("gif", gif)):
        for share in (0.1, 0.5, 0.9):
            cut = content[: int(len(content) * share)]
            found[f"cut at {share}.{name}"] = (cut, None)
    return found


def texts():
    """Lines of a text file to their fate."""
    same = [
        b"nul \0 in it",
        "emoji 🏳️‍🌈 and ünïcode".encode(),
        "العربية and עברית".encode(),
        "z̷̯̈́a̶l̴g̸o".encode() * 50,
        b"\x1b[31mescape\x1b[0m \x07\x08 bell",
        b"<b>&lt;html&gt;</b> &amp;amp; &#0; &#xD800; &#99999999;",
        b"a" * 100_000,
        b"word " * 20_000,
        "🐈".encode() * 25_000,
        b"[MASK] [PAD] [UNK] </s>",
        b"'; DROP TABLE items; --",
        b"%s %n {0} {x}",
        b"\xe2\x80\x8bzero width\xef\xbb\xbf",
        b"\xef\xbf\xbd",
        "\u202eright to left\u202c".encode(),
        b"0",
    ]
    fates = {line: line.decode() for line in same}
    fates |= dict.fromkeys([b"", b"   ", b"\t \xc2\xa0 \xe3\x80\x80", b"\r"], "empty text")
    not_utf8 = [
        b"caf\xe9",
        b"\xff\xfea\0b\0",
        b"\xed\xa0\x80 surrogate",
        b"\xc0\xaf",
        b"cut \xf0\x9f",
    ]
    return fates | dict.fromkeys(not_utf8, "text is not UTF-8")
