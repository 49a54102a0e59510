"""Bodies: lengths, chunks, compression, forms, errors."""

import gzip
import io
import zlib
from email.message import Message

import lz4.frame
import pytest
import zstandard

from quantbot_pipeline.servers.clickhouse_bodies import (
    ClickHouseError,
    MalformedRequestError,
    RequestBody,
    choose_compressor,
    parse_multipart,
)


def _body(raw: bytes, **headers: str) -> RequestBody:
    message = Message()
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    return RequestBody(io.BytesIO(raw), message)


def _read(raw: bytes, **headers: str) -> bytes:
    return b"".join(_body(raw, **headers).pieces())


def test_a_body_of_known_length_ends_there() -> None:
    assert _read(b"abcdef", Content_Length="4") == b"abcd"


def test_chunks_are_joined_and_trailers_skipped() -> None:
    raw = b"3\r\nabc\r\nA;x=1\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n"

    assert _read(raw, Transfer_Encoding="chunked") == b"abc0123456789"


@pytest.mark.parametrize(
    ("raw", "headers"),
    [
        (b"abc", {"Content_Length": "4"}),
        (b"", {"Content_Length": "-1"}),
        (b"", {"Content_Length": "0x10"}),
        (b"", {"Content_Length": "9" * 30}),
        (b"zz\r\nabc\r\n0\r\n\r\n", {"Transfer_Encoding": "chunked"}),
        (b"2\r\nabc\r\n0\r\n\r\n", {"Transfer_Encoding": "chunked"}),
        (b"5\r\nabc", {"Transfer_Encoding": "chunked"}),
        (b"3\r\nabc\r\n", {"Transfer_Encoding": "chunked"}),
        (b"a" * 10_000, {"Transfer_Encoding": "chunked"}),
        (b"0\r\n\r\n", {"Transfer_Encoding": "chunked", "Content_Length": "5"}),
        (b"", {"Transfer_Encoding": "gzip"}),
    ],
)
def test_a_body_of_doubtful_length_is_refused(raw: bytes, headers: dict[str, str]) -> None:
    with pytest.raises(MalformedRequestError):
        _read(raw, **headers)


_COMPRESS = {
    "lz4": lz4.frame.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
}


@pytest.mark.parametrize("encoding", _COMPRESS)
def test_several_frames_after_each_other_are_one_body(encoding: str) -> None:
    raw = _COMPRESS[encoding](b"first " * 1000) + _COMPRESS[encoding](b"second " * 1000)

    plain = _read(raw, Content_Length=str(len(raw)), Content_Encoding=encoding)

    assert plain == b"first " * 1000 + b"second " * 1000


@pytest.mark.parametrize("encoding", _COMPRESS)
@pytest.mark.parametrize("damage", [lambda raw: raw[:-3], lambda raw: b"\x00garbage" + raw])
def test_a_damaged_or_cut_off_compressed_body_is_an_error(encoding: str, damage: object) -> None:
    assert callable(damage)
    raw = damage(_COMPRESS[encoding](bytes(range(256)) * 100))

    with pytest.raises(ClickHouseError, match="Code: 271") as caught:
        _read(raw, Content_Length=str(len(raw)), Content_Encoding=encoding)

    assert caught.value.code == 271


def test_an_unknown_encoding_is_named() -> None:
    with pytest.raises(ClickHouseError, match="'rot13' is none of lz4, zstd, gzip, deflate"):
        _read(b"x", Content_Length="1", Content_Encoding="rot13")


@pytest.mark.parametrize(
    ("accept", "decompress"),
    [
        ("gzip, lz4", lz4.frame.decompress),
        ("zstd;q=0.5", lambda sent: zstandard.ZstdDecompressor().decompressobj().decompress(sent)),
        ("gzip", gzip.decompress),
        ("deflate", zlib.decompress),
    ],
)
def test_an_answer_is_compressed_as_the_client_can_read_it(accept: str, decompress: object) -> None:
    assert callable(decompress)
    chosen = choose_compressor(accept)
    assert chosen is not None
    compressor = chosen[1]

    sent = b"".join([compressor.compress(b"abc" * 1000), compressor.compress(b"d"), compressor.finish()])

    assert decompress(sent) == b"abc" * 1000 + b"d"


def test_an_answer_stays_plain_when_the_client_names_no_known_encoding() -> None:
    assert choose_compressor("br, identity") is None
    assert choose_compressor(None) is None


def test_a_form_keeps_the_bytes_of_its_parts() -> None:
    content = b"\r\n--boundar\r\n\x00\xff\n"
    body = (
        b'--boundary\r\nContent-Disposition: form-data; name="query"\r\n\r\nselect \xcf\x80\r\n'
        b'--boundary\r\nContent-Disposition: form-data; name="t"; filename="t.tsv"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n" + content + b"\r\n--boundary--\r\n"
    )

    form = parse_multipart("multipart/form-data; boundary=boundary", body)

    assert form.fields == {"query": "select π"}
    assert form.files == {"t": content}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"--x--"),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1'),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--"),
    ],
)
def test_a_form_that_is_none_is_refused(content_type: str, body: bytes) -> None:
    with pytest.raises(ClickHouseError, match="Code: 117"):
        parse_multipart(content_type, body)


@pytest.mark.parametrize(("code", "status"), [(516, 403), (194, 401), (62, 400), (60, 404), (48, 501), (395, 500)])
def test_errors_have_the_status_that_clickhouse_sends(code: int, status: int) -> None:
    assert ClickHouseError(code, "x").http_status == status


def test_the_engines_message_keeps_its_code() -> None:
    error = ClickHouseError.from_engine(RuntimeError("While: Code: 60. DB::Exception: no. (UNKNOWN_TABLE)"))

    assert error.code == 60
    assert error.text == "Code: 60. DB::Exception: no. (UNKNOWN_TABLE)"
    assert ClickHouseError.from_engine(RuntimeError("boom")).code == 1002
