"""`rankseg-med status` on what runs leave behind."""

from rankseg_med.studies import Sidecar


def sidecar(case_id: str, status: str, **entries: object) -> Sidecar:
    return Sidecar(
        case_id=case_id,
        job="predict",
        status=status,
        inputs=[f"{case_id}.nii.gz"],
        input_fingerprint="",
        config_digest="",
        outputs={},
        time="2026-01-01T00:00:00+00:00",
        host="node7:12",
        **entries,
    )


def test_started_and_failed_studies_are_named(rankseg_med, tmp_path):
    for case in (sidecar("a", "done"), sidecar("b", "started"), sidecar("c", "failed", error="no header")):
        case.write(tmp_path)
    (tmp_path / "notes.json").write_text("[]")
    result = rankseg_med("status", tmp_path)
    assert result.code == 1
    assert "started: b: 2026-01-01T00:00:00+00:00 on node7:12" in result.out
    assert "failed: c: no header" in result.out
    assert "unreadable: notes.json" in result.out


def test_everything_done(rankseg_med, tmp_path):
    sidecar("a", "done").write(tmp_path)
    assert rankseg_med("status", tmp_path).code == 0


def test_no_run_there(rankseg_med, tmp_path):
    result = rankseg_med("status", tmp_path)
    assert (result.code, "holds no record of a run" in result.err) == (1, True)
