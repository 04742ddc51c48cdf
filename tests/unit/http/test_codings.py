"""Content codings undone piece by piece: what comes out, and what one piece may cost."""

from __future__ import annotations

import gzip
import sys
import time
import zlib
from collections.abc import Callable

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zurl_py.http.brotli import may_take_long
from zurl_py.http.codings import OFFERED, BadCoding, BodyDecoder, choose_coding

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PLAIN = b"".join(b"line %d of a body that compresses\n" % number for number in range(5000))


def _raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "raw deflate": ("deflate", _raw_deflate),
    "br": ("br", brotli.compress),
    "zstd": ("zstd", zstd.compress),
}
every_coding = pytest.mark.parametrize("kind", PACKERS)
LIMIT = 65_536


def decoder(name: str) -> BodyDecoder:
    coding = choose_coding([name.encode()])
    assert coding is not None
    return BodyDecoder(coding)


def drain(body: BodyDecoder, limit: int = LIMIT) -> bytes:
    output = bytearray()
    while not body.needs_input:
        piece = body.read(limit)
        assert len(piece) <= limit
        output += piece
    return bytes(output)


def unpack(name: str, packed: bytes, step: int = 1 << 30, limit: int = LIMIT) -> bytes:
    body = decoder(name)
    output = bytearray()
    for at in range(0, len(packed), step):
        body.feed(packed[at : at + step])
        output += drain(body, limit)
    return bytes(output)


# -- what comes out ------------------------------------------------------------------------------


def test_all_four_are_offered() -> None:
    assert OFFERED == "gzip, deflate, br, zstd"


@every_coding
@pytest.mark.parametrize("step", [1, 7, 1000, 1 << 30])
def test_a_body_comes_out_however_it_is_cut(kind: str, step: int) -> None:
    name, pack = PACKERS[kind]
    assert unpack(name, pack(PLAIN), step) == PLAIN


@every_coding
@pytest.mark.parametrize("limit", [1, 100, 32_768])
def test_no_piece_is_larger_than_asked_for(kind: str, limit: int) -> None:
    name, pack = PACKERS[kind]
    plain = PLAIN[:20_000]
    assert unpack(name, pack(plain), limit=limit) == plain


@every_coding
def test_bytes_come_out_as_soon_as_they_can(kind: str) -> None:
    """An event stream must not wait for the end of its coding."""
    if kind == "zstd":
        packer = zstd.ZstdCompressor()
        packed = packer.compress(b"first event", mode=zstd.ZstdCompressor.FLUSH_BLOCK)
    elif kind == "br":
        made = brotli.Compressor()
        packed = made.process(b"first event") + made.flush()
    else:
        bits = {"gzip": 31, "x-gzip": 31, "deflate": 15, "raw deflate": -15}[kind]
        deflate = zlib.compressobj(wbits=bits)
        packed = deflate.compress(b"first event") + deflate.flush(zlib.Z_SYNC_FLUSH)
    body = decoder(PACKERS[kind][0])
    body.feed(packed)
    assert drain(body) == b"first event"


@every_coding
@pytest.mark.parametrize(
    "junk", [b"\0" * 20, b"\n", b"more", b"\x1f", b"\x1f\x8b\x09", b"\x28\xb5"]
)
@pytest.mark.parametrize("step", [1, 1 << 30])
def test_bytes_after_the_end_of_the_data_are_ignored(kind: str, junk: bytes, step: int) -> None:
    name, pack = PACKERS[kind]
    assert unpack(name, pack(b"hello") + junk, step) == b"hello"


@pytest.mark.parametrize("step", [1, 1 << 30])
def test_bytes_that_only_begin_like_a_gzip_member_are_ignored(step: int) -> None:
    packed = gzip.compress(b"hello") + b"\x1f\x8b\x08\xe0 no member"
    assert unpack("gzip", packed, step) == b"hello"


def test_a_damaged_second_stream_is_an_error() -> None:
    member = gzip.compress(b"hello")
    with pytest.raises(BadCoding):
        unpack("gzip", member + member[:-8] + b"checksum")


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
@pytest.mark.parametrize("step", [1, 3, 1 << 30])
def test_several_streams_are_one_body(kind: str, step: int) -> None:
    """RFC 1952 section 2.2, RFC 8878 section 3."""
    name, pack = PACKERS[kind]
    assert unpack(name, pack(b"one ") + pack(b"") + pack(b"two"), step) == b"one two"


def test_padding_between_gzip_members() -> None:
    packed = gzip.compress(b"one ") + bytes(1000) + gzip.compress(b"two") + bytes(511)
    assert unpack("gzip", packed) == unpack("gzip", packed, 1) == b"one two"


def test_frames_of_zstd_that_hold_nothing() -> None:
    skipped = b"\x5a\x2a\x4d\x18" + (3).to_bytes(4, "little") + b"abc"
    packed = skipped + zstd.compress(b"hello") + skipped
    assert unpack("zstd", packed) == unpack("zstd", packed, 1) == b"hello"


@every_coding
def test_a_body_of_no_bytes_is_empty(kind: str) -> None:
    assert unpack(PACKERS[kind][0], b"") == b""


@every_coding
def test_a_body_that_is_cut_short_gives_what_there_is(kind: str) -> None:
    name, pack = PACKERS[kind]
    packed = pack(PLAIN)
    for end in (3, len(packed) // 2, len(packed) - 1):
        assert PLAIN.startswith(unpack(name, packed[:end]))
    assert kind == "zstd" or unpack(name, packed[: len(packed) // 2])  # zstd has larger blocks


@every_coding
def test_a_body_that_is_something_else(kind: str) -> None:
    with pytest.raises(BadCoding):
        unpack(PACKERS[kind][0], b"<html>this is plain</html>" * 10)


@pytest.mark.parametrize("kind", ["gzip", "zstd", "deflate"])
def test_a_damaged_body_is_an_error(kind: str) -> None:
    name, pack = PACKERS[kind]
    packed = bytearray(pack(PLAIN))
    packed[len(packed) // 2] ^= 0xFF
    with pytest.raises(BadCoding):
        unpack(name, bytes(packed))


def test_a_window_of_zstd_that_is_too_large() -> None:
    """RFC 9659: 8 MB; a frame may ask for 2 GB."""
    options: dict[int, int] = {
        zstd.CompressionParameter.window_log: 27,
        zstd.CompressionParameter.content_size_flag: 0,
    }
    packer = zstd.ZstdCompressor(options=options)
    packed = packer.compress(b"x" * 100) + packer.flush()
    with pytest.raises(BadCoding):
        unpack("zstd", packed)


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_the_number_of_empty_streams_is_limited(kind: str) -> None:
    name, pack = PACKERS[kind]
    assert unpack(name, pack(b"") * 1000 + pack(b"hello")) == b"hello"
    with pytest.raises(BadCoding, match="more than 1000 empty"):
        unpack(name, pack(b"") * 1001)


@given(st.binary(max_size=300), st.sampled_from(["gzip", "deflate", "br", "zstd"]))
def test_any_input_is_decoded_in_bounded_time(data: bytes, name: str) -> None:
    try:
        unpack(name, data, 7)
    except BadCoding:
        pass


@given(
    st.lists(st.binary(max_size=100), min_size=1, max_size=5),
    st.sampled_from(["gzip", "zstd"]),
    st.integers(1, 50),
    st.integers(1, 50),
)
def test_any_number_of_streams_in_any_pieces(
    parts: list[bytes], name: str, step: int, limit: int
) -> None:
    packed = b"".join(map(PACKERS[name][1], parts))
    assert unpack(name, packed, step, limit) == b"".join(parts)


# -- which coding --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        [],
        [b""],
        [b"identity"],
        [b"none"],
        [b"IDENTITY , none"],
        [b"UTF-8"],
        [b"binary"],
        [b"compress"],
        [b"gzip, utf-8"],
        [b"utf-8, gzip"],
        [b"foo", b"gzip"],
        [b"gzip; q=1"],
    ],
)
def test_bodies_that_are_not_decoded(values: list[bytes]) -> None:
    assert choose_coding(values) is None


@pytest.mark.parametrize(
    "values", [[b"gzip"], [b" GZip "], [b"identity", b"gzip"], [b"gzip,identity"], [b"gzip, ,"]]
)
def test_one_coding_is_decoded(values: list[bytes]) -> None:
    coding = choose_coding(values)
    assert coding is not None
    assert coding.name == "gzip"


@pytest.mark.parametrize(
    "values", [[b"gzip, gzip"], [b"gzip", b"br"], [b"zstd,deflate"], [b"gzip, identity, x-gzip"]]
)
def test_several_codings_are_refused(values: list[bytes]) -> None:
    with pytest.raises(BadCoding, match="codings"):
        choose_coding(values)


# -- what a piece may cost -----------------------------------------------------------------------

_MB = 1_000_000
BOMBS: dict[str, tuple[str, bytes]] = {
    "gzip": ("gzip", gzip.compress(bytes(50 * _MB))),
    "deflate": ("deflate", zlib.compress(bytes(50 * _MB))),
    "br": ("br", brotli.compress(bytes(50 * _MB), quality=5)),
    "zstd": ("zstd", zstd.compress(bytes(50 * _MB))),
    # What stands for nothing: members, frames and blocks without content.
    "gzip members": ("gzip", gzip.compress(b"x") * 20_000),
    "zstd frames": ("zstd", zstd.compress(b"x") * 20_000),
    "empty members": ("gzip", gzip.compress(b"") * 900),
    "empty frames": ("zstd", zstd.compress(b"") * 900),
    "deflate blocks": ("deflate", b"\0\0\0\xff\xff" * 100_000 + b"\3\0"),
    "zeros": ("gzip", gzip.compress(b"") + bytes(_MB)),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_no_piece_takes_long(kind: str) -> None:
    """A turn of the loop may take 20 ms in all; a piece of a body is a small part of that."""
    name, packed = BOMBS[kind]
    body = decoder(name)
    body.feed(packed)
    slow = produced = 0
    while not body.needs_input and produced < 10 * _MB:
        started = time.thread_time()
        produced += len(body.read(LIMIT))
        slow += time.thread_time() - started > 0.01
    assert slow <= 2  # a machine may be busy now and then
    assert body.produced == produced


@pytest.mark.parametrize("window", [10, 16, 17, 18, 19, 22, 24])
@pytest.mark.parametrize("size", [100_000, 1 << 18, (1 << 18) + 1, 5_000_000])
def test_brotli_takes_long_where_window_and_body_are_large(window: int, size: int) -> None:
    coded = brotli.compress(bytes(size), quality=5, lgwin=window)
    assert may_take_long(coded) == (window > 18 and size > 1 << 18)


def test_a_stream_whose_first_bytes_are_missing_may_take_long() -> None:
    coded = brotli.compress(bytes(100_000), quality=5, lgwin=22)
    assert [may_take_long(coded[:size]) for size in range(6)] == [True] * 4 + [False] * 2
