import json

import pytest

from rankseg_med.studies import ImageEntry, LabelledEntry, Study, StudyError, find_studies
from rankseg_med.studies.data_list import survey_data_list


@pytest.fixture
def write(tmp_path):
    def write_list(content, name="list.csv"):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path / name

    return write_list


def sound_entries(path):
    entries, faults = survey_data_list(path)
    assert not faults
    return entries


class TestCsv:
    def test_every_column(self, write, tmp_path):
        path = write(
            "case_id,image,image2,label,fold\n"
            "a,ct/a.nii.gz,pet/a.nii.gz,labels/a.nii.gz,0\n"
            '"b, later",ct/b.nii.gz,pet/b.nii.gz,,\n'
            "\n"
        )
        assert sound_entries(path) == [
            LabelledEntry(id="a", image=["ct/a.nii.gz", "pet/a.nii.gz"], label="labels/a.nii.gz", fold=0),
            ImageEntry(id="b, later", image=["ct/b.nii.gz", "pet/b.nii.gz"]),
        ]
        (tmp_path / "ct").mkdir()
        (tmp_path / "ct/a.nii.gz").touch()
        assert find_studies(path, fold=0) == [
            Study(
                "a", tmp_path / "ct/a.nii.gz", tmp_path / "labels/a.nii.gz", 0, more_images=(tmp_path / "pet/a.nii.gz",)
            )
        ]

    def test_two_columns_in_any_order_are_enough(self, write):
        assert sound_entries(write("image,case_id\na.nii,x\n")) == [ImageEntry(id="x", image="a.nii")]

    def test_more_than_nine_channels_keep_their_order(self, write):
        names = ["image", *(f"image{number}" for number in range(2, 13))]
        path = write(f"case_id,{','.join(names)}\nx,{','.join(f'{name}.nii' for name in names)}\n")
        assert sound_entries(path)[0].images == tuple(f"{name}.nii" for name in names)

    @pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
    @pytest.mark.parametrize("end", [b"\n", b"\r\n"])
    def test_as_spreadsheets_write_it(self, write, mark, end):
        path = write(mark + "case_id,image\nÜ,a.nii\n".encode().replace(b"\n", end))
        assert sound_entries(path) == [ImageEntry(id="Ü", image="a.nii")]

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            ("", "is empty"),
            (b"case_id,image\n\xff\xfe,a.nii\n", "UTF-8, got byte 0xff"),
            ("case_id,image\n", "no studies"),
            ("case_id;image\na;a.nii\n", r"separated by commas, got \['case_id;image'\]"),
            ("case_id\na\n", "columns must be"),
            ("case_id,image,lable\na,a.nii,l.nii\n", "columns must be"),
            ("case_id,image,image3\na,a.nii,b.nii\n", "columns must be"),
            ("case_id,image,image\na,a.nii,b.nii\n", "columns must be"),
            ("case_id,image\na\n", "line 2: must have 2 values, got 1"),
            ("case_id,image\na,a.nii,more\n", "line 2: must have 2 values, got 3"),
            ('case_id,image\na,"a.nii\n', "must be CSV"),
            ("case_id,image\n../a,a.nii\n", r"line 2: id: .*case id"),
            ("case_id,image\n,a.nii\n", r"line 2: id: .*case id"),
            ("case_id,image\na,\n", r"line 2: image.*relative"),
            ("case_id,image\na,data\\a.nii\n", r"line 2: image.*relative.*data.+a\.nii"),
            ("case_id,image\na,C:/a.nii\n", r"line 2: image.*relative"),
            ("case_id,image,label\na,a.nii,C:/l.nii\n", r"line 2: label: .*relative"),
            ("case_id,image,label,fold\na,a.nii,l.nii,x\n", r"line 2: fold.*integer"),
            ("case_id,image,label,fold\na,a.nii,l.nii,-1\n", r"line 2: fold"),
            ("case_id,image,label,fold\na,a.nii,,1\n", "line 2: a fold needs a label"),
            ("case_id,image\na,a.nii\na,b.nii\n", "case ids must differ.*: a;"),
            ("case_id,image\na,a.nii\nb,./a.nii\n", r"every file may be listed once.*: a\.nii"),
            ("case_id,image,label\na,a.nii,a.nii\n", r"every file may be listed once.*: a\.nii"),
        ],
    )
    def test_faults_are_named(self, write, content, reason):
        with pytest.raises(StudyError, match=rf"list\.csv: .*{reason}"):
            find_studies(write(content))


class TestSurvey:
    def test_of_a_sound_list(self, write):
        assert survey_data_list(write("case_id,image\na,a.nii\n")) == ([ImageEntry(id="a", image="a.nii")], [])

    def test_of_csv_keeps_sound_lines_and_names_every_fault(self, write):
        entries, faults = survey_data_list(
            write("case_id,image,label\na,x\\a.nii,l.nii\nb,b.nii,\n../c,c.nii,\nd,d.nii,l.nii\nd,e.nii,m.nii\nf\n")
        )
        assert [entry.images for entry in entries] == [("b.nii",), ("d.nii",), ("e.nii",)]
        assert [fault.partition(":")[0] for fault in faults] == ["line 2", "line 4", "line 7"]

    def test_of_csv_may_have_absolute_paths(self, write):
        entries, faults = survey_data_list(write("case_id,image,label\na,/x/../a.nii,l.nii\n"))
        assert [(entry.images, entry.label) for entry in entries] == [(("/a.nii",), "l.nii")]
        assert not faults

    def test_of_json_keeps_sound_entries_and_names_every_fault(self, write):
        document = {
            "name": "x",
            "labels": {"1": "liver"},
            "training": [
                {"image": "/a.nii", "label": "la.nii"},
                {"image": "b.nii", "label": "lb.nii"},
                {"image": "x/b.nii", "label": "lb2.nii"},
                7,
            ],
            "test": ["t.nii"],
        }
        entries, faults = survey_data_list(write(json.dumps(document), "list.json"))
        assert [entry.id for entry in entries] == ["b", "b", "t"]
        for start in ("labels", "training.0.image", "training.3"):
            assert sum(fault.startswith(start) for fault in faults) == 1, start

    @pytest.mark.parametrize("content", ["", "{", "[]", "7", '{"training": 5}', b"\xff\xfe", "[" * 100_000])
    def test_of_what_is_no_list(self, write, content):
        entries, faults = survey_data_list(write(content, "list.json"))
        assert entries == []
        assert faults

    @pytest.mark.parametrize("name", ["gone.json", "gone.csv"])
    def test_of_nothing(self, tmp_path, name):
        entries, (fault,) = survey_data_list(tmp_path / name)
        assert entries == []
        assert "cannot be read" in fault
