"""What a workbook says of itself."""

from pathlib import Path

import pytest

from tests.contacts.reading.corpus import NAMESPACE, RELATIONS, SHEET, raw_xlsx, sheet
from tests.contacts.reading.world import written
from voice_agent.contacts.reading.archive import Archive
from voice_agent.contacts.reading.model import FileRefused, Sheet
from voice_agent.contacts.reading.workbook import MAX_SHEETS, Workbook, read_workbook


def read(folder: Path, **parts: str) -> Workbook:
    named = {f"xl/{name}.xml": content for name, content in parts.items()}
    with Archive(written(folder, raw_xlsx({SHEET: sheet("")} | named))) as archive:
        return read_workbook(archive)


def sheets(*attributes: str, properties: str = "") -> str:
    listed = "".join(f"<sheet {each}/>" for each in attributes)
    return f'<workbook {NAMESPACE} xmlns:r="{RELATIONS}">{properties}<sheets>{listed}</sheets></workbook>'


def test_sheets_and_whether_they_are_hidden(tmp_path: Path) -> None:
    workbook = read(
        tmp_path,
        workbook=sheets(
            'name="A" r:id="rId1"', 'name="B" state="veryHidden" r:id="rId1"', 'name="C" r:id="rId9"', 'name="D"'
        ),
    )

    assert [part.sheet for part in workbook.parts] == [Sheet(name="A"), Sheet(name="B", is_hidden=True)]
    assert {part.name for part in workbook.parts} == {SHEET}
    assert not workbook.is_1904


def test_days_may_be_counted_from_1904(tmp_path: Path) -> None:
    properties = '<workbookPr date1904="1"/>'

    assert read(tmp_path, workbook=sheets('name="A" r:id="rId1"', properties=properties)).is_1904


def test_paths_of_parts_may_be_whole(tmp_path: Path) -> None:
    links = f'<Relationships><Relationship Id="rId1" Target="/{SHEET}"/></Relationships>'
    with Archive(written(tmp_path, raw_xlsx({SHEET: "", "xl/_rels/workbook.xml.rels": links}))) as archive:
        assert read_workbook(archive).parts[0].name == SHEET


def test_styles_that_are_dates(tmp_path: Path) -> None:
    styles = (
        f'<styleSheet {NAMESPACE}><numFmts><numFmt numFmtId="164" formatCode="dd/mm/yy"/>'
        '<numFmt numFmtId="x" formatCode="0"/></numFmts><cellStyleXfs><xf numFmtId="14"/></cellStyleXfs>'
        '<cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="164"/><xf/></cellXfs>'
        '<cellStyles><xf numFmtId="14"/></cellStyles></styleSheet>'
    )

    assert read(tmp_path, styles=styles).date_styles == frozenset({"1", "2"})


@pytest.mark.parametrize("content", [sheets(), sheets(*['name="A" r:id="rId1"'] * (MAX_SHEETS + 1)), "<no", ""])
def test_workbooks_that_cannot_be_read(tmp_path: Path, content: str) -> None:
    with pytest.raises(FileRefused):
        read(tmp_path, workbook=content)
