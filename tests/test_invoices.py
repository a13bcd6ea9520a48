"""Invoices: the rows, the sums, the layout and the PDF, read back with two readers."""

from __future__ import annotations

import io
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pikepdf
import pypdf
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pdfminer.fontmetrics import FONT_METRICS
from pdfminer.high_level import extract_pages
from pdfminer.layout import LAParams, LTChar, LTCurve, LTTextLine

import vast
from conftest import Program
from sandbox import Sandbox

Row = dict[str, Any]

JANUARY = 1640995200  # 2022-01-01 00:00 UTC
DAY = 86400
EVER = 0, 10**11
CREATED = datetime(2022, 2, 1, 12, 30, tzinfo=timezone(timedelta(hours=-7)))
ACCENTED = bytes(range(128, 256)).decode("cp1252", "ignore")
CP1252 = bytes(range(32, 127)).decode() + ACCENTED.translate({0xA0: None, 0xAD: None})


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


def invoice(
    rows: Iterable[Row],
    user: Row | None = None,
    only: str = "",
    current: object = None,
    period: str = "January",
) -> vast.Invoice:
    """An invoice over all of the rows."""
    lines = vast.lines_of(rows, *EVER, only)
    return vast.Invoice(24264, user or {}, period, "2022-02-01", lines, current, only)


def pdf_of(rows: Iterable[Row], user: Row | None = None, **more: Any) -> bytes:
    """The file of an invoice over all of the rows."""
    pdf, _ = vast.invoice_pdf(invoice(rows, user, **more), CREATED, id)
    return pdf


@cache
def widths() -> tuple[dict[str, int], dict[str, int]]:
    """How wide the characters of the two fonts are."""
    regular, bold = map(vast.font_widths, vast.HELVETICA)
    return regular, bold


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
    ],
)
def test_figures(sent: str, least: int, shown: str) -> None:
    assert vast.money(vast.figure(wire(sent), least)) == shown


@pytest.mark.parametrize(
    "sent",
    ["null", "true", "false", '""', '"abc"', '"nan"', '"sNaN"', '"Infinity"', '"-inf"']
    + ["[1]", "{}", "1E+400", '"1E+999999999999"', '"1E+99999999999999999999"']
    + ["1000000000000", '"-9999999999999"'],
)
def test_what_is_no_figure(sent: str) -> None:
    value = wire(sent)
    line = vast.Line(charge(value, when=value, quantity=value, rate=value))
    assert (line.amount, line.quantity, line.rate, line.when) == (None,) * 4
    assert vast.money(line.amount) == "-"


def test_unreadable_amounts_are_shown_and_not_summed() -> None:
    rows = [charge("abc", description="odd"), charge("2.50")]
    lines = vast.lines_of(rows, *EVER)
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
    assert (line.id, line.kind, line.is_charge) == (9, "charge", True)
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
    assert (line.id, line.kind, line.is_charge) == (1000001, "credit", False)
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
            {"type": "disk", "description": "1 GB"}]}"""
    )
    line = vast.Line(row)
    assert (line.id, line.is_charge, line.date) == (None, True, "2022-01-01")
    assert (line.item, str(line.amount)) == ("Instance 12345678 Charges", "38.421")
    assert line.detail == "gpu 96.000 hours at $0.389/hour; disk 1 GB"


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
        (payment(description=" \x07\u202e ", is_credit=True), "Add Credit"),
        (payment(source="stripe"), "Auto-Billing"),
        (charge(), "Charge"),
        (charge(source="instance-5"), "instance-5"),
        (charge(source="instance-5", description="GPU"), "GPU"),
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
    assert line.is_charge is (kind == "charge")
    assert vast.money(line.amount) == shown


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
    assert [line.id for line in vast.lines_of(rows, 0, 100)] == [3, 2, 1, 0, 4, 5, 6]


@pytest.mark.parametrize(
    ("span", "within"),
    [
        ({"timestamp": 9}, False),
        ({"timestamp": 10}, True),
        ({"timestamp": "15.5"}, True),
        ({"timestamp": 20}, True),
        ({"timestamp": wire("20.9")}, True),
        ({"timestamp": 21}, False),
        ({"timestamp": None}, True),
        ({"start": 1, "end": 9}, False),
        ({"start": 5, "end": 12}, True),
        ({"start": 5, "end": 25}, True),
        ({"start": 12, "end": 25}, True),
        ({"start": 21, "end": 25}, False),
    ],
    ids=str,
)
def test_the_range_from_10_to_20_has_both_its_ends(span: Row, within: bool) -> None:
    assert bool(vast.lines_of([{"amount": 1, **span}], 10, 20)) is within


@pytest.mark.parametrize(
    ("only", "amounts"), [("", [1, -2, 3]), ("charges", [1, 3]), ("credits", [-2])]
)
def test_one_side_only(only: str, amounts: list[int]) -> None:
    lines = vast.lines_of([charge("1"), payment("2"), charge("3")], *EVER, only)
    assert [line.amount for line in lines] == amounts


def test_amounts_of_zero_are_left_out() -> None:
    sent = ["0", "0.00", "-0", "-0.0", "0E+9", '"0.000"', "0.00001", "0.0001"]
    lines = vast.lines_of([charge(wire(amount)) for amount in sent], *EVER)
    assert [str(line.amount) for line in lines] == ["0.0001"]


def test_sums_are_exact() -> None:
    rows = [charge(wire("0.1")), charge(wire("0.2")), charge(wire("0.00005"))]
    rows.append(payment(wire("0.3")))
    assert str(vast.total(vast.lines_of(rows, *EVER))) == "0.0001"
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
def test_current_charges(sent: str, shown: str) -> None:
    assert vast.money(vast.current_charges(wire(sent))) == shown


def test_the_number_is_that_of_the_month_in_local_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert vast.invoice_number(JANUARY) == 2022 * 12
    monkeypatch.setenv("TZ", "America/Los_Angeles")
    time.tzset()
    assert vast.invoice_number(JANUARY) == 2022 * 12 - 1
    assert vast.local_date(JANUARY) == "2021-12-31"


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
        ("a\x00\x1b[31mb\x7f\x9bc", "a[31mbc"),
        ("\u202eevil\u202c \u200bzero\ufeff soft\xad", "evil zero soft"),
        ("one\u2028two\u2029three\x85four\xa0five", "one two three four five"),
        ("lone \ud800 \udfff", "lone"),
        ("Lo\u0301dz\u0301", "Lódź"),
        ("x" * 2001, "x" * 2000 + "…"),
    ],
    ids=ascii,
)
def test_printable(value: object, text: str) -> None:
    assert vast.printable(value) == text


def test_latin_is_all_that_helvetica_has_beyond_cp1252() -> None:
    from borb.pdf import Standard14Fonts
    from borb.pdf.font.adobe_glyph_list import AdobeGlyphList

    for name in vast.HELVETICA:
        font = Standard14Fonts.get(name)
        known = filter(font.get_width, AdobeGlyphList.ADOBE_CHARACTER_TO_CHARACTER_NAME)
        assert set(known) - set(CP1252) == set(vast.LATIN)
    assert len(vast.LATIN) < 128


@pytest.mark.parametrize("font", vast.HELVETICA)
def test_widths_are_those_of_another_source(font: str) -> None:
    metrics = FONT_METRICS[font][1]
    ours = vast.font_widths(font)
    same = {char: width for char, width in ours.items() if char in metrics}
    assert same == {char: int(metrics[char]) for char in same}
    assert set(CP1252 + vast.LATIN) - set(same) == set("€ȚțΔμ")
    assert ours["€"] == ours["0"]


def decoded(font: str, codes: str) -> str:
    """The text that codes stand for in a font of the file."""
    if font == "L":
        return "".join(vast.LATIN[ord(code) - 128] for code in codes)
    return codes.encode("latin-1").decode("cp1252")


def test_characters_of_every_plane() -> None:
    codes = [*range(0x10000), *range(0x10000, 0x110000, 97)]
    chunks = (codes[start : start + 1000] for start in range(0, len(codes), 1000))
    texts = (vast.printable("".join(map(chr, chunk))) for chunk in chunks)
    shown = "".join(map(vast.showable, texts))
    assert set(shown) == set(CP1252 + vast.LATIN)
    assert "".join(decoded(*run) for run in vast.encoded(shown)) == shown


def test_what_cannot_be_shown_is_named() -> None:
    user = {"fullname": "Ελένη", "billaddress_city": "Łódź"}
    rows = [
        charge(description="Łódź Čeština Ő € Ţara"),
        charge(description="Москва"),
        charge(description="日本 (x)", items=[{"type": "gpu", "description": "Ω"}]),
        charge(description="Москва"),
    ]
    assert invoice(rows, user).unshowable() == ["Ελένη", "Москва", "日本 (x)", "gpu Ω"]
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
    letters = "".join(char for char in vast.LATIN if char not in "ȚțΔμﬁﬂ")
    words = ["Łódź", "€", "Čeština", "Ő", "Škoda®", "a(b)c\\d)(", "½"]
    rows = [charge(description=" ".join(words)), charge(description=CP1252[1:])]
    rows += [charge(description=part) for part in (letters[:60], letters[60:])]
    text = "\n".join(read(pdf_of(rows, {"fullname": "Zażółć gęślą jaźń"})))
    assert [x for x in [*words, *letters, *CP1252] if x not in text] == []
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
        "Invoice 24264",
        "Page 1 of 1",
        "Vast.ai Inc.\n100 Van Ness Ave.\nSan Francisco CA 94102",
        "Date\n2022-02-01",
        "Charged, do not pay",
        "Bill to\nJane Example\n1 Some Street\nŁódź 90001\nPL\n",
        "January",
        "Item Date Quantity Rate Amount\nGPU 2022-01-01 0.1250 12.50\n",
        "Total charges 12.50\n",
        "Auto-Billing 2022-01-01 -2.00\n",
        "Total payments -2.00\n",
        "2022-01 12.50 -2.00\nTotal 12.50 -2.00\n",
        "Grand total (USD) 10.50\n",
        "Charges not billed yet: 1.92.",
    ):
        assert part in text


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
    assert f"\nGrand total (USD) {sum(sums.values()):,}\n" in text
    for number, page in enumerate(pages, 1):
        assert f"Page {number} of {len(pages)}" in page


def test_the_bills_of_the_sandbox(run: Program, box: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "all.pdf"
    ran = run("generate", "pdf-invoices", "-e", "2100", "-o", str(path))
    assert (ran.status, ran.out) == (0, f"{path}\n")
    sums = dict.fromkeys(("charge", "payment"), Decimal(0))
    for row in box.market.invoices:
        sums[row["type"]] += abs(Decimal(str(row["amount"])))
    text = "\n".join(texts_of(path.read_bytes()))
    assert f"\nTotal charges {sums['charge']:,}\n" in text
    assert f"\nTotal payments -{sums['payment']:,}\n" in text
    assert f"\nGrand total (USD) {sums['charge'] - sums['payment']:,}\n" in text


def test_headings_stand_on_every_page() -> None:
    pages = texts_of(pdf_of(many(300)))
    assert len(pages) > 6
    for page in pages[:-1]:
        assert "Item Date Quantity Rate Amount" in page
    assert "Charges (continued)" in pages[1]
    assert [page.count("Invoice 24264") for page in pages] == [1] * len(pages)
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
    ((boxes, _),) = vast.draw(invoice([*rows, payment("9")]), widths(), id)
    bars = [box[2] for box in boxes if box[0] == vast.BAR_LEFT]
    assert bars == [vast.BAR_ROOM, vast.BAR_ROOM / 2]


def test_every_other_row_is_striped() -> None:
    ((boxes, texts),) = vast.draw(invoice([charge()] * 5), widths(), id)
    rows = [y for _, y, text, *_ in texts if text == "Charge"]
    stripes = [
        (y, y + height) for _, y, _, height, colour in boxes[2:] if colour == vast.PALE
    ]
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
    drawn = marks(pdf_of([charge(amount, quantity=amount, rate=amount)] * 2))
    lefts = {round(mark.left) for mark in drawn if mark.text == "999,999,999,999.9999"}
    assert lefts == {edge - room for _, edge, room, right in vast.ITEM_COLUMNS if right}


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


def test_a_row_longer_than_a_page_goes_on() -> None:
    pages = texts_of(pdf_of([charge(description="WWWW " * 400)] * 3))
    assert sum(page.count("WWWW") for page in pages) == 1200
    assert all("Item Date" in page for page in pages[:-1])
    assert "WWWW" in pages[0]


def test_long_addresses_end_with_dots() -> None:
    user = {"fullname": "name " * 90, "billaddress_line1": "W" * 500}
    made = invoice([], user, period="range " * 90)
    ((_, texts),) = vast.draw(made, widths(), id)
    counts = [sum(start in text[2] for text in texts) for start in ("name", "WW")]
    assert counts == [3, 3]
    assert sum(text[2].endswith("…") for text in texts) == 3


LAYOUTS: dict[str, Callable[[int], list[Row]]] = {
    "payments below charges": lambda n: [charge()] * n + [payment()] * 2,
    "rows of four lines": lambda n: [charge()] * n + [charge(description=LONG)] * 20,
    "many months": lambda n: [charge(when=m * 31 * DAY) for m in range(20 + n)],
}
LONG = "word " * 40


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pages_end_well(layout: str) -> None:
    for count in range(10, 35):
        for page in vast.draw(invoice(LAYOUTS[layout](count)), widths(), id):
            assert_tidy(page)


def assert_tidy(page: vast.Page) -> None:
    """Holds that a page ends above its foot, and where a person would end it."""
    boxes, texts = page
    assert [text[1] for text in texts if text[1] < 50] == [32, 32]
    assert sum(box[1] < 50 for box in boxes) == 1
    body = [text for text in texts if 50 < text[1] <= vast.TOP]
    assert sum(text[2].startswith("word") for text in body) % 4 == 0
    body.sort(key=lambda text: -text[1])
    sums = [text[2].startswith("Total") for text in body]
    plain = [text[3] in (vast.BODY, 9) for text in body]
    assert plain[-1]
    assert all(above for above, total in zip([False, *plain], sums) if total)


# --- the file ------------------------------------------------------------------------


def test_what_the_file_says_of_itself() -> None:
    with pikepdf.open(io.BytesIO(pdf_of([], period="(Łódź) to \\"))) as opened:
        facts = {name: str(fact) for name, fact in opened.docinfo.items()}
        edges = [int(edge) for edge in opened.pages[0].mediabox]
    assert facts == {
        "/Title": "Invoice 24264",
        "/Author": "Vast.ai Inc.",
        "/Subject": "Charges and Payments, (Łódź) to \\",
        "/CreationDate": "D:20220201193000+00'00'",
        "/ModDate": "D:20220201193000+00'00'",
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


def test_progress_is_told() -> None:
    heard: list[int] = []
    _, count = vast.invoice_pdf(invoice(many(200)), CREATED, heard.append)
    assert heard == list(range(1, count + 1))
    assert count > 4


def test_without_borb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "borb.pdf", None)
    with pytest.raises(vast.UsageError, match=r"pip install 'borb>=3\.0\.9,<4'"):
        pdf_of([])


WATCHED = """
import datetime, signal, sys

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
lines = vast.lines_of([{"amount": 1}], 0, 1)
made = vast.Invoice(1, {}, "", "", lines)
vast.invoice_pdf(made, datetime.datetime.now(), id)
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
    invoice, ROWS, USER, st.sampled_from(["", "charges", "credits"]), NUMBER, WILD
)


def assert_inside(page: vast.Page) -> None:
    """Holds that all of a page stands between its margins, boxes at least on it."""
    boxes, texts = page
    for x, y, text, size, bold, _ in texts:
        width = sum(widths()[bold][char] for char in text) * size / 1000
        assert x > 40
        assert x + width < 555.01
        assert 30 < y < 812
    for x, y, width, height, _ in boxes:
        assert 0 <= x <= x + width <= vast.WIDTH
        assert 0 <= y <= y + height <= vast.HEIGHT


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ANY_INVOICE)
def test_any_rows_make_a_good_file(made: vast.Invoice) -> None:
    pdf, count = vast.invoice_pdf(made, CREATED, id)
    with pikepdf.open(io.BytesIO(pdf)) as opened:
        assert opened.check_pdf_syntax() == []
        assert len(opened.pages) == count
    amounts = [line.amount for line in made.lines if line.amount is not None]
    assert f"{sum(amounts, Decimal('0.00')):,f}" in words_of(pdf)
    for page in vast.draw(made, widths(), id):
        assert_inside(page)


def test_no_reader_finds_anything_outside_the_page() -> None:
    user = {"fullname": "W" * 3000, "billaddress_line1": "Łódź " * 99}
    amount = wire("999999999999.9999")
    rows = [charge(amount, quantity=amount, rate=amount, description="Ŵ" * 9999)]
    rows += [payment(amount, description="\U0001f600 \u202e \U000e0041 ﷽" * 80)] * 3
    for mark in marks(pdf_of(rows, user, period="#" * 999)):
        assert 0 <= mark.left <= mark.right <= vast.WIDTH
        assert 0 <= mark.low <= mark.high <= vast.HEIGHT
