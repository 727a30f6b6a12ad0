"""Bodies: read as often as wanted, parsed by their type, within limits."""

import io

import pytest

from zuplo_origin.http.content import MAX_FIELDS, Content, at_path, nested, size_of
from zuplo_origin.http.errors import HttpException

BOUNDARY = "xyz"


class Unseekable:
    """The body of a server that reads from a socket."""

    def __init__(self, body):
        self._file = io.BytesIO(body)

    def read(self, size):
        return self._file.read(size)


_made = []


@pytest.fixture(autouse=True)
def _closed():
    yield
    while _made:
        _made.pop().close()


def content(body, kind="application/json", limit=1_048_576, source=io.BytesIO, length=None, **environ):
    length = len(body) if length is None else length
    return made({"CONTENT_TYPE": kind, "CONTENT_LENGTH": str(length), "wsgi.input": source(body), **environ}, limit)


def made(environ, limit):
    _made.append(Content(environ, limit))
    return _made[-1]


def status_of(read):
    with pytest.raises(HttpException) as raised:
        read()
    return raised.value.status


def part(name, value, filename=None, kind=None):
    disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename else "")
    lines = [f"--{BOUNDARY}", f"Content-Disposition: {disposition}"] + ([f"Content-Type: {kind}"] if kind else [])
    return "\r\n".join([*lines, "", ""]).encode() + value + b"\r\n"


def multipart(*parts, **more):
    body = b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
    return content(body, f"multipart/form-data; boundary={BOUNDARY}", **more)


@pytest.mark.parametrize("source", [io.BytesIO, Unseekable])
def test_a_body_is_read_as_often_as_wanted_in_any_order(source):
    read = content(b'{"a": [1]}', source=source)

    assert read.json() == {"a": [1]} and read.raw() == b'{"a": [1]}'
    assert read.fields() == {"a": [1]} and read.raw() == b'{"a": [1]}'


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "application/merge-patch+json", "APPLICATION/JSON"]
)
def test_json_is_recognised_by_its_type(kind):
    assert content(b"[1, 2]", kind).json() == [1, 2]
    assert content(b"[1, 2]", kind).fields() == {}


@pytest.mark.parametrize("body", [b"{", b'{"a": 1, "a": 2}', b"[NaN]", b"\xff", b"", b"[" * 101 + b"]" * 101])
def test_json_that_is_not_strict_is_400(body):
    assert status_of(content(body).json) == 400


def test_an_empty_body_has_no_fields():
    assert content(b"", "").fields() == {} and content(b"").fields() == {}


@pytest.mark.parametrize("kind", ["", "text/csv", "application/xml", "application/jsonp"])
def test_another_type_has_bytes_but_no_fields(kind):
    assert content(b"a,b", kind).raw() == b"a,b"
    assert status_of(content(b"a,b", kind).fields) == 415
    assert status_of(content(b"a,b", kind).json) == 415


def test_a_content_coding_is_415():
    assert status_of(content(b"{}", HTTP_CONTENT_ENCODING="gzip").fields) == 415
    assert content(b"{}", HTTP_CONTENT_ENCODING="identity").fields() == {}


@pytest.mark.parametrize("source", [io.BytesIO, Unseekable])
def test_a_body_above_the_limit_is_413_whether_its_length_is_stated_or_not(source):
    chunked = {"CONTENT_TYPE": "text/plain", "wsgi.input": source(b"12345"), "wsgi.input_terminated": True}

    assert status_of(content(b"12345", limit=4, source=source).raw) == 413
    assert status_of(made(chunked, 4).raw) == 413
    assert content(b"12345", limit=5, source=source).raw() == b"12345"


@pytest.mark.parametrize("length", [4, 6, "x", "-1", "1e3"])
def test_a_stated_length_that_is_wrong_is_400(length):
    if length == 4:
        assert status_of(content(b"12345", length=length).raw) == 400
    else:
        assert status_of(content(b"12345", length=length, source=Unseekable).raw) == 400


def test_a_form_has_strings_lists_and_objects():
    form = content(b"a=1&b=2&b=3&c%5B%5D=4&d%5Bx%5D=5&e=%C3%A9&f=", "application/x-www-form-urlencoded")

    assert form.fields() == {"a": "1", "b": ["2", "3"], "c": ["4"], "d": {"x": "5"}, "e": "é", "f": ""}


@pytest.mark.parametrize("body", [b"a=%ff", b"&".join(b"a=1" for _ in range(MAX_FIELDS + 1)), b"a=1&a[b]=2"])
def test_a_form_that_cannot_be_read_is_400(body):
    assert status_of(content(body, "application/x-www-form-urlencoded").fields) == 400


def test_an_upload_is_a_file_beside_the_fields():
    fields = multipart(part("title", b"x"), part("file", b"a,b\n", "../a b.csv", "text/csv")).fields()
    (upload,) = fields["file"]

    assert fields["title"] == "x"
    assert (upload.filename, upload.content_type, upload.size) == ("../a b.csv", "text/csv", 4)
    assert upload.stream().read() == upload.content == upload.get_content() == b"a,b\n"
    assert upload.extension() == ".csv" and "/" not in upload.hash_path_name()


@pytest.mark.parametrize("source", [io.BytesIO, Unseekable])
def test_a_large_upload_is_spooled_to_the_folder_and_closed_at_the_end(tmp_path, source):
    read = multipart(part("file", b"x" * 2_000_000, "big"), limit=4_000_000, source=source)
    read._folder = str(tmp_path)
    (upload,) = read.fields()["file"]

    assert upload.size == 2_000_000 and upload._file._rolled and not list(tmp_path.iterdir())
    read.close()
    assert upload._file.closed


def test_bytes_and_files_of_one_body_can_both_be_read():
    read = multipart(part("file", b"x", "a"))

    assert BOUNDARY.encode() in read.raw()
    assert read.fields()["file"][0].content == b"x"


def test_a_multipart_body_without_a_boundary_or_an_end_is_400():
    assert status_of(content(b"x", "multipart/form-data").fields) == 400
    assert status_of(content(part("a", b"1"), f"multipart/form-data; boundary={BOUNDARY}").fields) == 400


def test_too_many_or_too_large_fields_are_413():
    assert status_of(multipart(*(part("a", b"") for _ in range(MAX_FIELDS + 1))).fields) == 413
    assert status_of(multipart(part("a", b"x" * 1_100_000), limit=4_000_000).fields) == 413


def test_a_disk_that_is_full_is_503(monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.SpooledTemporaryFile", full)
    assert status_of(multipart(part("file", b"x", "a")).fields) == 503


@pytest.mark.parametrize(("text", "size"), [("4096", 4096), ("64KB", 65536), ("20MB", 20_971_520)])
def test_a_size_is_bytes_kilobytes_or_megabytes(text, size):
    assert size_of(text) == size


@pytest.mark.parametrize("text", ["", "20 MB", "1GB", "-1", "1.5MB", "x"])
def test_another_spelling_of_a_size_is_an_error(text):
    with pytest.raises(ValueError, match="write 4096, 64KB or 20MB"):
        size_of(text)


def test_deep_nesting_is_400():
    assert status_of(lambda: nested({"a" + "[b]" * 11: ["1"]})) == 400


@pytest.mark.parametrize(
    ("path", "found"),
    [("a.b", 1), ("list.0.id", 1), ("list.*.id", [1, 2]), ("list.*", [{"id": 1}, {"id": 2}]), ("a.c", None)]
    + [("list.2.id", None), ("a.*.x", [None]), ("a.b.*", None), ("list.-1", None), ("list.²", None)],
)
def test_a_path_reaches_into_objects_and_lists(path, found):
    assert at_path({"a": {"b": 1}, "list": [{"id": 1}, {"id": 2}]}, path) == found
