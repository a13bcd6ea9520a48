"""Invoices: the rows, the sums, the layout and the PDF, read back with two readers."""

from __future__ import annotations

import io
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pikepdf
import pypdf
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pdfminer.fontmetrics import FONT_METRICS
from pdfminer.glyphlist import glyphname2unicode
from pdfminer.high_level import extract_pages
from pdfminer.layout import LAParams, LTChar, LTCurve, LTTextLine

import vast
from conftest import Program
from sandbox import Sandbox

Row = dict[str, Any]

JANUARY = 1640995200  # 2022-01-01 00:00 UTC
DAY = 86400
NOW = 1_900_000_000  # 2030-03-17 17:46:40 UTC
INVOICE = "Invoice 24362"
ASCII = bytes(range(32, 127)).decode()
ACCENTED = bytes(range(128, 256)).decode("cp1252", "ignore")
CP1252 = ASCII + ACCENTED.translate({0xA0: None, 0xAD: None})
# What the standard Helvetica has beyond that.
LATIN = (
    "ĀāĂăĄąĆćČčĎďĐđĒēĖėĘęĚěĞğĢģĪīĮįİıĶķĹĺĻļĽľŁłŃńŅņŇňŌōŐőŔŕŖŗŘřŚśŞşŤťŪūŮůŰűŲųŹźŻż"
    "ȘșȚțˇ˘˙˚˛˝Δμ⁄∂∑−√≠≤≥◊ﬁﬂ"
)
LOOKALIKES = {"Ţ": "Ț", "ţ": "ț", "∆": "Δ", "‐": "-", "‑": "-"}


def wire(text: str) -> Any:
    """What the client makes of a JSON text; its fractions remember their digits."""
    return vast.decode(bytearray(text.encode()), exact=True)


def charge(amount: object = "1.00", when: object = JANUARY, **more: object) -> Row:
    """A charge as the service lists it."""
    return {"type": "charge", "amount": amount, "timestamp": when, **more}


def payment(amount: object = "-1.00", when: object = JANUARY, **more: object) -> Row:
    """A payment as the service lists it."""
    return {"type": "payment", "amount": amount, "timestamp": when, **more}


def many(count: int, seed: int = 1) -> list[Row]:
    """Made-up rows over several months, one in five a payment."""
    pick = random.Random(seed)
    rows = []
    for index in range(count):
        when = JANUARY + index * 200 * DAY // count
        cents = pick.randrange(1, 90000)
        hours, rate = pick.randrange(1, 10**6), pick.randrange(1, 9999)
        if index % 5:
            row = charge(
                f"{cents / 1000:.3f}",
                when,
                description=f"Instance {index} GPU charge: hours * $/hr",
                quantity=f"{hours / 1000:.3f}",
                rate=wire(f"{rate / 10000:.4f}"),
            )
        else:
            row = payment(wire(f"-{cents / 100:.2f}"), when)
        rows.append(row)
    return rows


def statement(
    rows: Iterable[Row],
    start: int | None = None,
    end: int | None = None,
    only: str = "",
    current: object = None,
    now: int = NOW,
) -> vast.Statement:
    """A statement of the rows in a range, by default everything until `now`."""
    made = vast.Statement(start, end, now, only)
    made.fill(rows, current)
    return made


def lines_of(rows: Iterable[Row], *arguments: Any) -> list[vast.Line]:
    """What a table shows of the rows in a range."""
    return statement(rows, *arguments).shown


def invoice(
    rows: Iterable[Row],
    user: Row | None = None,
    **more: Any,
) -> vast.Invoice:
    """An invoice over all of the rows."""
    return vast.Invoice(statement(rows, **more), user or {})


def pdf_of(rows: Iterable[Row], user: Row | None = None, **more: Any) -> bytes:
    """The file of an invoice over all of the rows."""
    return invoice(rows, user, **more).as_file()


class Box(NamedTuple):
    """A filled box on a page, from its lower left corner."""

    colour: str
    x: float
    y: float
    width: float
    height: float


class Text(NamedTuple):
    """A line of text on a page; `y` is its base line."""

    x: float
    y: float
    text: str
    size: float
    bold: bool


class Page(NamedTuple):
    """What is drawn on a page."""

    boxes: list[Box]
    texts: list[Text]


BOX = re.compile(rb"([.\d ]+) rg (\S+) (\S+) (\S+) (\S+) re f")
TEXT = re.compile(
    rb"BT /F([01]) (\S+) Tf [.\d ]+ rg (\S+) (\S+) Td \((.*)\) Tj ET", re.DOTALL
)


def drawn(made: vast.Invoice) -> list[Page]:
    """The pages of an invoice, from their operators."""
    return [page_of(operators, encoded(made)) for operators in made.pages]


def encoded(pages: vast.Pages) -> str:
    """The characters of the codes from 128 on."""
    codes = {code: chr(char) for char, code in pages.codes.items() if code > 127}
    assert sorted(codes) == list(range(128, 128 + len(codes)))
    return "".join(codes[code] for code in sorted(codes))


def lacking(pages: vast.Pages) -> set[str]:
    """The characters that show as '?'."""
    return {chr(char) for char, code in pages.codes.items() if code == ord("?")}


def page_of(operators: list[bytes], encoded: str) -> Page:
    """A page; `encoded` are the characters of the codes from 128 on."""
    page = Page([], [])
    for operator in operators:
        box, text = BOX.fullmatch(operator), TEXT.fullmatch(operator)
        if box:
            x, y, width, height = map(float, box.groups()[1:])
            page.boxes.append(Box(box[1].decode(), x, y, width, height))
        else:
            assert text, operator
            codes = re.sub(rb"\\(.)", rb"\1", text[5]).decode("latin-1")
            known = dict(enumerate(encoded, 128))
            x, y, size = float(text[3]), float(text[4]), float(text[2])
            shown = codes.translate(known)
            page.texts.append(Text(x, y, shown, size, text[1] == b"1"))
    return page


@cache
def metrics(bold: bool) -> dict[str, int]:
    """How wide the characters are, from pdfminer; those that it lacks from others."""
    widths = FONT_METRICS["Helvetica-Bold" if bold else "Helvetica"][1]
    found: dict[str, int] = {char: int(width) for char, width in widths.items()}
    same = {"€": "0", "Ț": "Ţ", "ț": "ţ", "Δ": "∆", "μ": "µ", "‐": "-", "‑": "-"}
    return found | {char: found[other] for char, other in same.items()}


def texts_of(pdf: bytes) -> list[str]:
    """The text of each page, as pypdf reads it."""
    return [page.extract_text() for page in pypdf.PdfReader(io.BytesIO(pdf)).pages]


class Mark(NamedTuple):
    """Something drawn: a line of text, a character, or a box without text."""

    text: str
    left: float
    low: float
    right: float
    high: float


def marks(pdf: bytes) -> list[Mark]:
    """All that is drawn, as pdfminer reads it."""
    found = []
    params = LAParams(boxes_flow=None, char_margin=1.0)
    todo: list[object] = list(extract_pages(io.BytesIO(pdf), laparams=params))
    while todo:
        item = todo.pop(0)
        if isinstance(item, (LTTextLine, LTChar)):
            found.append(Mark(item.get_text().strip(), *item.bbox))
        elif isinstance(item, LTCurve):
            found.append(Mark("", *item.bbox))
        elif isinstance(item, Iterable):
            todo += item
    return found


def words_of(pdf: bytes) -> list[str]:
    """The texts of a PDF one by one, as pikepdf reads them."""
    with pikepdf.open(io.BytesIO(pdf)) as opened:
        return [
            str(step.operands[0])
            for page in opened.pages
            for step in pikepdf.parse_content_stream(page, "Tj")
        ]


# --- rows ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "least", "shown"),
    [
        ("1.5", 2, "1.50"),
        ("7", 2, "7.00"),
        ('"10.000"', 2, "10.000"),
        ("10.000", 2, "10.000"),
        ('" -3.25 "', 2, "-3.25"),
        ("0.12345", 2, "0.1235"),
        ("0.1234500000000000000000000001", 2, "0.1235"),
        ("-0.00005", 2, "-0.0001"),
        ("0.00004999999999999999999999", 2, "0.0000"),
        ("1E+3", 0, "1,000"),
        ('"96"', 0, "96"),
        ("999999999999.9999", 2, "999,999,999,999.9999"),
        ("1e-9", 2, "0.0000"),
        ('"1E-999999"', 2, "0.0000"),
        ("0E+400", 2, "0.00"),
        ("-0.0", 2, "0.00"),
        ("-1e-9", 2, "0.0000"),
    ],
)
def test_amounts(sent: str, least: int, shown: str) -> None:
    assert vast.format_amount(vast.parse_amount(wire(sent), least)) == shown


@pytest.mark.parametrize(
    "sent",
    ["null", "true", "false", '""', '"abc"', '"nan"', '"sNaN"', '"Infinity"', '"-inf"']
    + ["[1]", "{}", "1E+400", '"1E+999999999999"', '"1E+99999999999999999999"']
    + ["1000000000000", '"-9999999999999"'],
)
def test_what_is_no_number(sent: str) -> None:
    assert_no_number(wire(sent))


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(10**400, id="10^400"),
        pytest.param(-(10**400), id="-10^400"),
        pytest.param(10**4000, id="10^4000"),
        pytest.param("1" * 4001, id="text of 4,001 digits"),
        pytest.param("1" * 9999, id="text of 9,999 digits"),
        pytest.param(float("inf"), id="infinite"),
        pytest.param(float("nan"), id="nan"),
    ],
)
def test_what_is_beyond_all_numbers(value: object) -> None:
    assert_no_number(value)


def assert_no_number(value: object) -> None:
    """Hold that a row shows such a value as '-', whatever it is sent for."""
    line = vast.Line(charge(value, when=value, quantity=value, rate=value))
    assert (line.amount, line.quantity, line.rate, line.when) == (None,) * 4
    assert (vast.format_amount(line.amount), line.is_zero) == ("-", False)
    assert vast.parse_amount(value) is None


def test_unreadable_amounts_are_shown_and_not_summed() -> None:
    rows = [charge("abc", description="odd"), charge("2.50")]
    lines = lines_of(rows)
    assert len(lines) == 2
    assert vast.total(lines) == Decimal("2.50")
    (text,) = texts_of(pdf_of(rows))
    assert "odd 2022-01-01 -\n" in text
    assert "Rows without a readable amount, in no sum: 1." in text


def test_a_charge_of_the_older_call() -> None:
    row = wire(
        """{"id": 9, "type": "charge", "timestamp": 1640995200.75, "amount": "1.000",
        "description": "GPU: hours * $/hr", "quantity": 10.000, "rate": 0.1000}"""
    )
    line = vast.Line(row)
    assert line.row is row
    assert (line.id, line.kind, line.section) == (9, "charge", "charges")
    assert (line.item, line.detail) == ("GPU: hours * $/hr", "")
    assert (line.since, line.when, line.date) == (JANUARY, JANUARY, "2022-01-01")
    figures = line.quantity, line.rate, line.amount
    assert list(map(str, figures)) == ["10.000", "0.1000", "1.000"]


def test_an_invoice_of_the_newer_call() -> None:
    row = wire(
        """{"start": 1640995200, "end": 1641081600, "type": "credit", "items": [],
        "description": "Manual Billing", "amount": -25.0,
        "metadata": {"invoice_id": 1000001}}"""
    )
    line = vast.Line(row)
    assert (line.id, line.kind, line.section) == (1000001, "credit", "credits")
    assert (line.item, line.detail, str(line.amount)) == (
        "Manual Billing",
        "",
        "-25.00",
    )
    assert (line.since, line.when) == (JANUARY, JANUARY + DAY)
    assert line.date == "2022-01-02"


def test_a_row_of_the_charges_call() -> None:
    row = wire(
        """{"start": 1640995200, "end": null, "type": "instance", "amount": 38.421,
        "source": "instance-12345678", "description": "Instance 12345678 Charges",
        "metadata": null, "items": [
            {"type": "gpu", "description": "96.000 hours at $0.389/hour"},
            "junk",
            {"type": "disk", "description": "1 GB"}, {"type": "bw"}, {}]}"""
    )
    line = vast.Line(row)
    assert (line.id, line.section, line.date) == (None, "charges", "2022-01-01")
    assert (line.item, str(line.amount)) == ("Instance 12345678 Charges", "38.421")
    assert line.detail == "gpu 96.000 hours at $0.389/hour; disk 1 GB; bw"


@pytest.mark.parametrize(
    ("row", "item"),
    [
        (payment(), "Auto-Billing"),
        (payment(is_credit=False, last4="4242"), "Auto-Billing (card ...4242)"),
        (payment(is_credit=True, last4=None), "Add Credit"),
        (payment(is_credit=True, last4=1234), "Add Credit (card ...1234)"),
        (
            payment(is_credit="no", last4="4" * 12 + "0001"),
            "Auto-Billing (card ...0001)",
        ),
        (payment(description="Wire", last4="4242"), "Wire"),
        (payment(description=" \t ", is_credit=True), "Add Credit"),
        (payment(source="stripe"), "Auto-Billing"),
        (charge(), "Charge"),
        (charge(source="instance-5"), "instance-5"),
        (charge(source="instance-5", description="GPU"), "GPU"),
        (charge(description=["GPU"]), "Charge"),
        (charge(description={"a": "b"}, source="instance-5"), "instance-5"),
    ],
)
def test_what_a_row_is_called(row: Row, item: str) -> None:
    assert vast.Line(row).item == item


@pytest.mark.parametrize(
    ("kind", "amount", "shown"),
    [
        ("charge", "-2.00", "-2.00"),
        ("payment", "12.5", "-12.50"),
        ("payment", "-12.5", "-12.50"),
        ("Credit", "25", "-25.00"),
        ("refund", "-5", "5.00"),
        ("payout", "5", "5.00"),
        ("transfer", "5", "5.00"),
        ("transfer", "-5", "-5.00"),
        ("reserved", "-5", "-5.00"),
    ],
)
def test_signs(kind: str, amount: str, shown: str) -> None:
    line = vast.Line({"type": kind, "amount": amount})
    assert line.section == ("charges" if kind == "charge" else "credits")
    assert vast.format_amount(line.amount) == shown


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"id": 3, "metadata": {"invoice_id": 7}}, 3),
        ({"id": None, "metadata": {"invoice_id": 7}}, 7),
        ({"metadata": [7]}, None),
        ({}, None),
    ],
    ids=str,
)
def test_ids(row: Row, found: object) -> None:
    assert vast.Line(row).id == found


def test_rows_by_time_with_undated_ones_at_the_end() -> None:
    sent = ["null", "30", '"20.75"', "10.5", "-1", "300000000000", '"soon"']
    rows = [charge(when=wire(when), id=index) for index, when in enumerate(sent)]
    assert [line.id for line in lines_of(rows)] == [3, 2, 1, 0, 4, 5, 6]


@pytest.mark.parametrize(
    ("start", "end"), [(0, None), (None, 100), (0, 100)], ids=["start", "end", "both"]
)
def test_undated_rows_are_in_no_range(start: int | None, end: int | None) -> None:
    sent = ["null", "30", '"soon"', "1E+400"]
    rows = [charge(when=wire(when), id=index) for index, when in enumerate(sent)]
    made = statement(rows, start, end)
    assert [line.id for line in made.lines] == [1]
    assert made.undated == 3


def test_undated_rows_of_the_other_section_do_not_count() -> None:
    rows = [charge(when=None), payment(when=None)]
    assert statement(rows, 0, only="charges").undated == 1


@pytest.mark.parametrize(
    ("span", "within"),
    [
        ({"timestamp": 9}, False),
        ({"timestamp": 10}, True),
        ({"timestamp": "15.5"}, True),
        ({"timestamp": 20}, True),
        ({"timestamp": wire("20.9")}, True),
        ({"timestamp": 21}, False),
        ({"timestamp": None}, False),
        ({"start": 1, "end": 9}, False),
        ({"start": 5, "end": 12}, True),
        ({"start": 5, "end": 25}, True),
        ({"start": 12, "end": 25}, True),
        ({"start": 21, "end": 25}, False),
    ],
    ids=str,
)
def test_the_range_from_10_to_20_has_both_its_ends(span: Row, within: bool) -> None:
    assert bool(lines_of([{"amount": 1, **span}], 10, 20)) is within


@pytest.mark.parametrize(
    ("start", "end", "msg"),
    [
        (NOW + 1, None, "the start date is in the future"),
        (NOW + 1, NOW + 2, "the start date is in the future"),
        (20, 19, "the end date is before the start date"),
        (0, -1, "the end date is before the start date"),
    ],
)
def test_ranges_that_hold_nothing(start: int | None, end: int | None, msg: str) -> None:
    with pytest.raises(vast.UsageError, match=msg):
        statement([], start, end)


@pytest.mark.parametrize(
    ("end", "reaches"), [(None, True), (NOW, True), (NOW + 9, True), (NOW - 1, False)]
)
def test_which_ranges_reach_today(end: int | None, reaches: bool) -> None:
    assert statement([], 0, end).reaches_today is reaches


@pytest.mark.parametrize(
    ("only", "amounts"), [("", [1, -2, 3]), ("charges", [1, 3]), ("credits", [-2])]
)
def test_one_side_only(only: str, amounts: list[int]) -> None:
    made = statement([charge("1"), payment("2"), charge("3")], only=only)
    assert [line.amount for line in made.lines] == amounts
    assert [line.amount for line in made.shown] == amounts


def test_amounts_of_exactly_zero_are_not_shown() -> None:
    zero = ["0", "0.00", "-0", "-0.0", "0E+9", '"0.000"', '" 0 "']
    made = statement([charge(wire(amount)) for amount in zero])
    assert (len(made.lines), made.shown) == (len(zero), [])


@pytest.mark.parametrize("sent", ["0.0001", "0.00001", "1e-9", '"1E-300"', "-1e-9"])
def test_amounts_next_to_zero_are_shown(sent: str) -> None:
    (line,) = lines_of([charge(wire(sent))])
    assert str(line.amount) in ("0.0001", "0.0000")


def test_sums_are_exact() -> None:
    rows = [charge(wire("0.1")), charge(wire("0.2")), charge(wire("0.00005"))]
    rows.append(payment(wire("0.3")))
    assert str(vast.total(lines_of(rows))) == "0.0001"
    assert str(vast.total([])) == "0.00"


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ('{"charges": 1, "total": 1.92}', "1.92"),
        ('{"charges": "3"}', "3.00"),
        ("0.5", "0.50"),
        ("null", "-"),
        ("{}", "-"),
        ("[]", "-"),
    ],
)
def test_charges_not_billed_yet(sent: str, shown: str) -> None:
    made = statement([], current=wire(sent))
    assert vast.format_amount(made.not_billed()) == shown


@pytest.mark.parametrize(
    ("exact", "shown"),
    [
        ("1.5", ("1.50", "")),
        ("1.5000", ("1.50", "")),
        ("1234.5678", ("1,234.57", ", rounded")),
        ("-0.005", ("-0.01", ", rounded")),
        ("0.0001", ("0.00", ", rounded")),
        ("-0.0049", ("0.00", ", rounded")),
        ("0", ("0.00", "")),
        ("99999999999999.9950", ("100,000,000,000,000.00", ", rounded")),
    ],
)
def test_cents(exact: str, shown: tuple[str, str]) -> None:
    assert vast.format_cents(Decimal(exact)) == shown


def test_the_number_is_that_of_the_month_in_local_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert invoice([], end=JANUARY).number == 2022 * 12
    monkeypatch.setenv("TZ", "America/Los_Angeles")
    time.tzset()
    assert invoice([], end=JANUARY).number == 2022 * 12 - 1


@pytest.mark.parametrize(
    ("start", "end", "only", "name"),
    [
        (None, None, "", "invoice_24264.pdf"),
        (JANUARY, None, "charges", "invoice_24264_2022-01-01_charges.pdf"),
        (None, JANUARY, "credits", "invoice_24264_2022-01-01_credits.pdf"),
        (JANUARY, JANUARY + DAY, "", "invoice_24264_2022-01-01_2022-01-02.pdf"),
    ],
)
def test_file_names(start: int | None, end: int | None, only: str, name: str) -> None:
    assert vast.invoice_file(24264, start, end, only) == name


# --- text ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (94102, "94102"),
        (wire("1.50"), "1.50"),
        ("  a \t b\r\nc  ", "a b c"),
        ("a\x00\x1b[31mb\x7f\x9bc", r"a\x00\x1b[31mb\x7f\x9bc"),
        (
            "\u202eevil \u200bzero\ufeff soft\xad",
            r"\u202eevil \u200bzero\ufeff soft\xad",
        ),
        ("one\u2028two\u2029three\x85four\xa0five", "one two three four five"),
        ("lone \ud800 \udfff", r"lone \ud800 \udfff"),
        ("Lo\u0301dz\u0301", "Lódź"),
        ("x" * 601, "x" * 600 + "…"),
        (["a"], ""),
        ({"a": 1}, ""),
    ],
    ids=ascii,
)
def test_one_line(value: object, text: str) -> None:
    assert vast.one_line(value) == text


def in_use(text: str) -> vast.Pages:
    """Pages whose texts have these characters, at most 128 beyond ASCII."""
    return vast.Pages(text)


def test_all_that_helvetica_has() -> None:
    from borb.pdf.font.adobe_glyph_list import AdobeGlyphList

    names = {*AdobeGlyphList.ADOBE_CHARACTER_TO_CHARACTER_NAME, *vast.GLYPHS}
    chars = sorted(char for char in names if len(char) == 1 and char > "~")
    known: set[str] = set()
    for start in range(0, len(chars), 100):
        pages = in_use("".join(chars[start : start + 100]))
        known |= set(encoded(pages))
        assert lacking(pages).isdisjoint(encoded(pages))
    assert known == {*CP1252, *LATIN, *LOOKALIKES} - set(ASCII)


def test_glyphs_have_the_names_of_adobe() -> None:
    for text in (ACCENTED.translate({0xA0: None, 0xAD: None}), LATIN):
        with pikepdf.open(io.BytesIO(pdf_of([charge(description=text)]))) as opened:
            fonts = opened.pages[0].resources["/Font"]
            encodings = [fonts[name]["/Encoding"] for name in ("/F0", "/F1")]
            first, *glyphs = map(str, encodings[0]["/Differences"].as_list())
        assert encodings[0] == encodings[1]
        assert first == "128"
        read = "".join(glyphname2unicode[glyph[1:]] for glyph in glyphs)
        assert read.translate(str.maketrans("ŢţΔ", "Țț∆")) == "".join(
            sorted(text)
        ).translate(str.maketrans("Δμ", "∆µ"))


@pytest.mark.parametrize("bold", [False, True], ids=["regular", "bold"])
def test_widths_are_those_of_another_source(bold: bool) -> None:
    for text in (ACCENTED.translate({0xA0: None, 0xAD: None}), LATIN):
        pages = in_use(text)
        chars = [*map(chr, range(128)), *encoded(pages)]
        ours = dict(zip(chars, pages.widths[bold]))
        assert {char: ours[char] for char in ASCII + text} == {
            char: metrics(bold)[char] for char in ASCII + text
        }


def test_characters_of_every_plane() -> None:
    codes = [*range(0x10000), *range(0x10000, 0x110000, 97)]
    shown: set[str] = set()
    for start in range(0, len(codes), 100):
        text = vast.one_line("".join(map(chr, codes[start : start + 100])))
        pages = in_use(text)
        missing = lacking(pages)
        kept = "".join(char for char in text if char not in missing)
        coded, _ = pages.measure(kept, vast.BODY)
        known = dict(enumerate(encoded(pages), 128))
        assert coded.decode("latin-1").translate(known) == kept
        shown |= set(kept)
    assert shown == {*CP1252, *LATIN, *LOOKALIKES}


def test_the_codes_run_out_after_128() -> None:
    text = "".join(sorted({*ACCENTED, *LATIN} - {"\xa0", "\xad"}))
    pages = in_use(text)
    assert encoded(pages) == text[:128]
    assert lacking(pages) == set(text[128:])
    assert pages.measure(text[127:129], vast.BODY)[0] == b"\xff?"


def test_control_characters_never_reach_the_file() -> None:
    controls = "".join(map(chr, [*range(32), *range(127, 160), 0x202E, 0x2066, 0xFEFF]))
    odd = f"a{controls}b"
    row = charge(description=odd, items=[{"type": odd, "description": odd}], type=odd)
    rows = [row, payment(last4=odd), charge(source=odd)]
    keys = ("line1", "line2", "city", "zip", "country")
    user = {f"billaddress_{key}": odd for key in keys} | {"fullname": odd}
    made = invoice(rows, user)
    assert r"\x1b" in "".join(text.text for text in drawn(made)[0].texts)
    for page in made.pages:
        assert not re.search(rb"[\x00-\x1f\x7f]", b"".join(page))


def test_what_cannot_be_shown_is_named() -> None:
    user = {"fullname": "Ελένη", "billaddress_city": "Łódź"}
    rows = [
        charge(description="Łódź Čeština Ő € Ţara"),
        charge(description="Москва"),
        charge(description="日本 (x)", items=[{"type": "gpu", "description": "Ω"}]),
        charge(description="Москва"),
    ]
    assert invoice(rows, user).lacking == "".join(sorted({*"ΕλένηМосква日本Ω"}))
    (text,) = texts_of(pdf_of(rows, user))
    for part in ("\n?????\nŁódź\n", "\n?????? 2022", "\n?? (x) 2022", "\ngpu ?\n"):
        assert part in text


@pytest.mark.parametrize(
    "read",
    [
        pytest.param(texts_of, id="pypdf"),
        pytest.param(lambda pdf: [mark.text for mark in marks(pdf)], id="pdfminer"),
    ],
)
def test_latin_letters_read_back(read: Callable[[bytes], list[str]]) -> None:
    # Readers take these letters for others that look the same, or for two.
    letters = "".join(char for char in LATIN if char not in "ȚțΔμﬁﬂ")
    words = ["Łódź", "€", "Čeština", "Ő", "Škoda®", "a(b)c\\d)(", "½"]
    user = {"fullname": "Zażółć gęślą jaźń"}
    # A file has codes for 128 of them.
    for part in (CP1252[1:158], CP1252[158:], letters[:60], letters[60:]):
        rows = [charge(description=" ".join(words)), charge(description=part)]
        text = "\n".join(read(pdf_of(rows, user)))
        assert [x for x in [*words, *part] if x not in text] == []
        assert "Zażółć gęślą jaźń" in text


# --- the pages -----------------------------------------------------------------------


def test_what_the_first_page_says() -> None:
    user = {
        "fullname": "Jane Example",
        "billaddress_line1": "1 Some Street",
        "billaddress_line2": None,
        "billaddress_city": "Łódź",
        "billaddress_zip": 90001,
        "billaddress_country": "PL",
    }
    rows = [charge(wire("12.5"), description="GPU", rate="0.1250"), payment("2")]
    (text,) = texts_of(pdf_of(rows, user, current=wire('{"total": 1.92}')))
    for part in (
        INVOICE,
        "Page 1 of 1",
        "From\nVast.ai Inc.\n100 Van Ness Ave.\nSan Francisco CA 94102\n",
        "Date\n2030-03-17\n",
        "Terms\nAlready charged,\nno payment due\n",
        "Bill to\nJane Example\n1 Some Street\nŁódź 90001\nPL\n",
        "the beginning",
        "to 2030-03-17 17:46:40 UTC",
        "Item Date Quantity Rate Amount\nGPU 2022-01-01 0.1250 12.50\n",
        "Total charges 12.50\n",
        "Auto-Billing 2022-01-01 -2.00\n",
        "Total payments -2.00\n",
        "2022-01 12.50 -2.00\nTotal 12.50 -2.00\n",
        "Grand total (USD) 10.50\n",
        "All amounts are in US dollars. Already charged, no payment due.",
        "Charges not billed yet: 1.92.",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("amounts", "total", "label"),
    [
        (["1.25", "2"], "3.25", "(USD)"),
        (["1.2345", "1"], "2.23", "(USD, rounded)"),
        (["0.0049"], "0.00", "(USD, rounded)"),
        (["0.0050"], "0.01", "(USD, rounded)"),
    ],
)
def test_totals_are_in_cents(amounts: list[str], total: str, label: str) -> None:
    made = invoice([charge(amount) for amount in amounts])
    (page,) = drawn(made)
    texts = [text.text for text in page.texts]
    exact = vast.format_amount(vast.total(made.lines))
    assert texts[texts.index(f"Total {label}") :].count(exact) >= 2
    assert texts[texts.index(f"Grand total {label}") + 1] == total
    assert [x.text for x in page.texts if x.size == 17] == [total]
    assert texts[texts.index("Total charges") + 1] == exact


@pytest.mark.parametrize(
    ("end", "stands"), [(None, True), (NOW + DAY, True), (NOW - DAY, False)]
)
def test_charges_not_billed_yet_are_those_of_today(
    end: int | None, stands: bool
) -> None:
    (text,) = texts_of(pdf_of([charge()], current=1.92, end=end))
    assert ("Charges not billed yet: 1.92." in text) is stands


@pytest.mark.parametrize(
    ("user", "lines"),
    [
        ({}, []),
        ({"username": "jane"}, ["jane"]),
        ({"billaddress_zip": "90001"}, ["90001"]),
        ({"fullname": "Jane", "billaddress_country": "PL"}, ["Jane", "PL"]),
    ],
    ids=str,
)
def test_an_address_has_no_gaps(user: Row, lines: list[str]) -> None:
    assert vast.bill_to(user) == lines


def test_numbers_of_the_panel_stand_under_their_headings() -> None:
    (page,) = drawn(invoice([charge("3"), payment("1")]))
    edge: dict[str, float] = {}
    for mark in page.texts:
        edge.setdefault(mark.text, round(mark.x + width_of(mark), 1))
    for heading, number in (("Charges", "3.00"), ("Payments", "-1.00")):
        assert edge[heading] == edge[number]
    assert edge["Total (USD)"] == edge["2.00"]


@pytest.mark.parametrize(
    ("only", "note"),
    [
        ("", "No charges or payments in this range."),
        ("charges", "No charges in this range."),
        ("credits", "No payments in this range."),
    ],
)
def test_an_empty_range(only: str, note: str) -> None:
    (text,) = texts_of(pdf_of([], only=only))
    assert note in text
    assert "Grand total (USD) 0.00" in text
    assert "Item" not in text
    assert "month" not in text


@pytest.mark.parametrize(
    ("only", "there", "gone"),
    [("charges", "Charges", "Payments"), ("credits", "Payments", "Charges")],
)
def test_one_section_when_filtered(only: str, there: str, gone: str) -> None:
    text = "\n".join(texts_of(pdf_of(many(20), only=only)))
    assert f"\n{there}\nItem" in text
    assert f"\nTotal {there.lower()} " in text
    assert f"\nMonth {there}\n" in text
    assert gone not in text


@pytest.mark.parametrize("count", [1, 18, 300])
def test_all_rows_and_exact_sums_are_there(count: int) -> None:
    rows = many(count)
    pages = texts_of(pdf_of(rows))
    text = "\n".join(pages)
    sums = {"charge": Decimal("0.00"), "payment": Decimal("0.00")}
    for row in rows:
        sums[row["type"]] += Decimal(str(row["amount"]))
        if "description" in row:
            assert f"\n{row['description']} 2022-" in text
    assert text.count("\nAuto-Billing 2022-") == (count + 4) // 5
    assert (f"\nTotal charges {sums['charge']:,}\n" in text) is (count > 1)
    assert f"\nTotal payments {sums['payment']:,}\n" in text
    cents = (sums["charge"] + sums["payment"]).quantize(Decimal("0.01"), ROUND_HALF_UP)
    assert re.search(rf"\nGrand total \(USD(, rounded)?\) {cents:,}\n", text)
    for number, page in enumerate(pages, 1):
        assert f"Page {number} of {len(pages)}" in page


def test_the_bills_of_the_sandbox(run: Program, box: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "all.pdf"
    run.clock.time = time.time()
    ran = run("generate", "pdf-invoices", "-o", str(path))
    assert (ran.status, ran.out) == (0, f"{path}\n")
    sums = dict.fromkeys(("charge", "payment"), Decimal(0))
    for row in box.market.invoices:
        sums[row["type"]] += abs(Decimal(str(row["amount"])))
    text = "\n".join(texts_of(path.read_bytes()))
    assert f"\nTotal charges {sums['charge']:,}\n" in text
    assert f"\nTotal payments -{sums['payment']:,}\n" in text
    cents = f"{sums['charge'] - sums['payment']:,.2f}"
    assert f"\nGrand total (USD, rounded) {cents}\n" in text


def test_headings_stand_on_every_page() -> None:
    pages = texts_of(pdf_of(many(300)))
    assert len(pages) > 6
    for page in pages[:-1]:
        assert "Item Date Quantity Rate Amount" in page
    assert "Charges (continued)" in pages[1]
    assert [page.count(INVOICE) for page in pages] == [1] * len(pages)
    assert "Summary by month\nMonth Charges Payments" in pages[-1]


def test_a_summary_of_many_months_goes_on() -> None:
    rows = [charge("1", JANUARY + index * 31 * DAY) for index in range(60)]
    rows.append(charge("2", None))
    *others, last = texts_of(pdf_of(rows))
    assert "\nCharge - 2.00\nTotal charges 62.00\n" in "".join(others)
    assert "Summary by month (continued)\nMonth Charges Payments" in last
    assert "No date 2.00 0.00\nTotal 62.00 0.00" in last


def test_bars_are_as_long_as_the_charges() -> None:
    months = {"10": 0, "5": 40, "-1": 70}
    rows = [charge(amount, JANUARY + day * DAY) for amount, day in months.items()]
    (page,) = drawn(invoice([*rows, payment("9")]))
    bars = [box for box in page.boxes if box.x == vast.BAR_LEFT]
    assert [bar.width for bar in bars] == [vast.BAR_ROOM, vast.BAR_ROOM / 2]
    lines = {text.text: text.y for text in page.texts}
    for bar, month in zip(bars, ("2022-01", "2022-02")):
        assert bar.y < lines[month] < bar.y + bar.height


def test_every_other_row_is_striped() -> None:
    (page,) = drawn(invoice([charge()] * 5))
    rows = [text.y for text in page.texts if text.text == "Charge"]
    pale = [box for box in page.boxes[2:] if box.colour == vast.PALE.decode()]
    stripes = [(box.y, box.y + box.height) for box in pale]
    inside = [any(low < y < high for low, high in stripes) for y in rows]
    assert inside == [False, True, False, True, False]


def test_numbers_align_at_the_right() -> None:
    rows = [charge("1234.5678", quantity="11111.1", rate="0.777"), charge("1.11")]
    rows.append(charge("88888888.88", quantity="3", rate="2"))
    edges = {mark.text: round(mark.right, 1) for mark in marks(pdf_of(rows))}
    for edge, texts in (
        (428, ["Quantity", "11,111.1", "3"]),
        (484, ["Rate", "0.777", "2.00"]),
        (547, ["Amount", "1,234.5678", "1.11", "88,888,888.88"]),
    ):
        assert {text: edges[text] for text in texts} == dict.fromkeys(texts, edge)


def test_huge_numbers_stay_in_their_columns() -> None:
    amount = "999999999999.9999"
    found = marks(pdf_of([charge(amount, quantity=amount, rate=amount)] * 2))
    lefts = {round(mark.left) for mark in found if mark.text == "999,999,999,999.9999"}
    assert lefts == {x + room for _, x, room in vast.ITEM_COLUMNS if room < 0}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("A text that is longer than its column " * 4, id="words"),
        pytest.param("W" * 200, id="wide"),
        pytest.param("i" * 300, id="narrow"),
        pytest.param("Ł" * 150, id="beyond cp1252"),
    ],
)
def test_long_items_are_wrapped_and_whole(text: str) -> None:
    pdf = pdf_of([charge(description=text)])
    pieces = [mark for mark in marks(pdf) if len(mark.text) > 2 and mark.text in text]
    assert len(pieces) > 1
    assert all(mark.left > 47 and mark.right < 305 for mark in pieces)
    assert not [word for word in words_of(pdf) if word.startswith(" ")]
    whole = "".join(mark.text for mark in pieces)
    assert whole.replace(" ", "") == text.replace(" ", "")


def test_the_longest_row_fits_on_a_page() -> None:
    item = {"type": "gpu", "description": "@" * 9999}
    made = invoice([charge(description="@@@@ " * 400, items=[item])] * 3)
    pages = drawn(made)
    assert len(pages) == 3
    for page in pages:
        assert_inside(page)
        texts = [text.text for text in page.texts if "@" in text.text]
        assert sum(text.count("@") for text in texts) > 1000
        assert sum(text.endswith("…") for text in texts) == 2


def test_long_addresses_end_with_dots() -> None:
    user = {"fullname": "name " * 90, "billaddress_line1": "W" * 500}
    (page,) = drawn(invoice([], user))
    for start in ("name", "W"):
        lines = [x for x in page.texts if x.text.startswith(start)]
        assert [line.text.endswith("…") for line in lines][-1]
        assert len("".join(line.text for line in lines)) <= 101
    assert_tidy(page)


def test_the_longest_address_leaves_room_on_the_page() -> None:
    keys = ("line1", "line2", "city", "zip", "country")
    user = {f"billaddress_{key}": "W" * 500 for key in keys} | {"fullname": "W" * 500}
    (page,) = drawn(invoice([], user))
    assert_inside(page)
    assert [text.text for text in page.texts if text.size == 17] == ["0.00"]


LAYOUTS: dict[str, Callable[[int], list[Row]]] = {
    "payments below charges": lambda n: [charge()] * n + [payment()] * 2,
    "rows of four lines": lambda n: [charge()] * n + [charge(description=LONG)] * 20,
    "many months": lambda n: [charge(when=m * 31 * DAY) for m in range(20 + n)],
}
LONG = "word " * 40


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pages_end_well(layout: str) -> None:
    for count in range(10, 35):
        for page in drawn(invoice(LAYOUTS[layout](count))):
            assert_tidy(page)


def assert_tidy(page: Page) -> None:
    """Hold that a page ends above its foot, and where a person would end it."""
    assert [text.y for text in page.texts if text.y < 50] == [32, 32]
    assert sum(box.y < 50 for box in page.boxes) == 1
    body = [text for text in page.texts if 50 < text.y <= vast.TOP]
    assert sum(text.text.startswith("word") for text in body) % 4 == 0
    body.sort(key=lambda text: -text.y)
    sums = [text.text.startswith("Total") for text in body]
    plain = [text.size in (vast.BODY[0], vast.STRONG[0]) for text in body]
    assert plain[-1]
    assert all(above for above, total in zip([False, *plain], sums) if total)


# --- the file ------------------------------------------------------------------------


def test_what_the_file_says_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "NST3:30")
    time.tzset()
    with pikepdf.open(io.BytesIO(pdf_of([]))) as opened:
        facts = {name: str(fact) for name, fact in opened.docinfo.items()}
        edges = [int(edge) for edge in opened.pages[0].mediabox]
    assert facts == {
        "/Title": INVOICE,
        "/Author": "Vast.ai Inc.",
        "/Subject": "Charges and Payments",
        "/CreationDate": "D:20300317141640-03'30'",
        "/ModDate": "D:20300317141640-03'30'",
        "/Producer": "borb",
    }
    assert edges == [0, 0, 595, 842]


def test_the_same_rows_make_the_same_file() -> None:
    assert pdf_of(many(50)) == pdf_of(many(50))
    rows, others = (pypdf.PdfReader(io.BytesIO(pdf_of(many(50, n)))) for n in (1, 2))
    assert rows.trailer["/ID"] != others.trailer["/ID"]


def test_two_objects_for_each_page() -> None:
    few, more = (pikepdf.open(io.BytesIO(pdf_of(many(n)))) for n in (50, 500))
    pages = len(more.pages) - len(few.pages)
    assert pages > 5
    assert len(more.objects) - len(few.objects) == 2 * pages


def test_without_borb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "borb.pdf", None)
    with pytest.raises(vast.UsageError, match=r"pip install 'borb>=3\.0\.9,<4'"):
        vast.load_borb()


WATCHED = """
import signal, sys

def hook(event, args):
    if event in ("socket.getaddrinfo", "socket.connect"):
        print("reaches for the network")
        raise OSError("not in a test")

def handlers():
    return [signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)]

sys.addaudithook(hook)
before = handlers()
import vast
assert not {"borb", "decimal"} & set(sys.modules)
if "let borb" in sys.argv:
    from borb.pdf import UsageStatistics
    UsageStatistics.opt_out = lambda: None
statement = vast.Statement(0, 1, 1)
statement.fill([{"amount": 1, "timestamp": 1}])
vast.load_borb()
assert vast.Invoice(statement, {}).as_file().startswith(b"%PDF-")
print("signals as they were" if handlers() == before else "takes signals")
"""


@pytest.mark.parametrize(
    ("how", "said"),
    [
        pytest.param("", "signals as they were\n", id="as it is"),
        # So this test would notice.
        pytest.param(
            "let borb", "takes signals\nreaches for the network\n", id="let borb"
        ),
    ],
)
def test_borb_neither_takes_signals_nor_reports(how: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, how],
        cwd=Path(vast.__file__).parent,
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr, done.returncode) == (said, "", 0)


# --- whatever rows may hold ----------------------------------------------------------

WILD = st.text(st.characters(exclude_categories=()), max_size=60)
JUNK = st.none() | st.booleans() | WILD | st.lists(st.integers(), max_size=2)
# Any number that JSON can write, from 1E-9999 to 1E+9999, and then some of usual size.
DIGITS = st.from_regex(
    r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,9})?([Ee][-+]?[0-9]{1,4})?", fullmatch=True
) | st.from_regex(r"-?[1-9][0-9]{0,5}\.[0-9]{1,4}", fullmatch=True)
NUMBER = DIGITS.map(wire) | DIGITS | JUNK
ROWS = st.lists(
    st.fixed_dictionaries(
        {"amount": NUMBER},
        optional={
            "type": st.sampled_from([*vast.PAYMENTS, "charge", "instance"]) | JUNK,
            "timestamp": st.integers(0, 2**33) | NUMBER,
            "start": NUMBER,
            "end": NUMBER,
            "quantity": NUMBER,
            "rate": NUMBER,
            "description": WILD | JUNK,
            "last4": JUNK,
            "is_credit": JUNK,
            "source": JUNK,
            "id": JUNK,
            "metadata": JUNK | st.dictionaries(st.just("invoice_id"), JUNK),
            "items": JUNK | st.lists(st.dictionaries(st.just("description"), JUNK)),
        },
    ),
    max_size=9,
)
USER = st.dictionaries(
    st.sampled_from(["fullname", "username"])
    | st.sampled_from(["line1", "city", "zip"]).map("billaddress_".__add__),
    JUNK,
)
ANY_INVOICE = st.builds(
    invoice,
    ROWS,
    USER,
    only=st.sampled_from(["", "charges", "credits"]),
    current=NUMBER,
    now=st.sampled_from([NOW, vast.LAST_SECOND - 1]),
)


def width_of(text: Text) -> float:
    """How wide a line of text is."""
    widths = metrics(text.bold)
    return sum(widths[char] for char in text.text) * text.size / 1000


def assert_inside(page: Page) -> None:
    """Hold that all of a page stands between its margins, boxes at least on it."""
    for text in page.texts:
        assert text.x > 40
        assert text.x + width_of(text) < 556
        assert 30 < text.y < 812
    for _, x, y, width, height in page.boxes:
        assert 0 <= x <= x + width <= vast.WIDTH
        assert 0 <= y <= y + height <= vast.HEIGHT


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ANY_INVOICE)
def test_any_rows_make_a_good_file(made: vast.Invoice) -> None:
    with pikepdf.open(io.BytesIO(made.as_file())) as opened:
        assert opened.check_pdf_syntax() == []
        assert len(opened.pages) == len(made.pages)
    pages = drawn(made)
    amounts = [line.amount for line in made.lines if line.amount is not None]
    exact = sum(amounts, Decimal(0))
    texts = [text.text for page in pages for text in page.texts]
    labels = [x for x in texts if x.startswith("Grand total (USD")]
    (total,) = [texts[texts.index(label) + 1] for label in labels]
    assert abs(Decimal(total.replace(",", "")) - exact) <= Decimal("0.005")
    assert (Decimal(total.replace(",", "")) == exact) is ("rounded" not in labels[0])
    assert texts.count(total) >= 2
    for page in pages:
        assert_inside(page)


def test_no_reader_finds_anything_outside_the_page() -> None:
    user = {"fullname": "W" * 3000, "billaddress_line1": "Łódź " * 99}
    amount = wire("999999999999.9999")
    rows = [charge(amount, quantity=amount, rate=amount, description="Ŵ" * 9999)]
    rows += [payment(amount, description="\U0001f600 \u202e \U000e0041 ﷽" * 80)] * 3
    for mark in marks(pdf_of(rows, user)):
        assert 0 <= mark.left <= mark.right <= vast.WIDTH
        assert 0 <= mark.low <= mark.high <= vast.HEIGHT
