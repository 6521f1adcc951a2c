from __future__ import annotations

import subprocess

from mat2spec.tables.provenance import git_commit, hash_json, package_versions
from screening.runs.record import run_fingerprint


def test_versions_name_python_and_what_is_missing(monkeypatch):
    monkeypatch.setattr("mat2spec.tables.provenance.PACKAGES", ("numpy", "no-such-distribution-anywhere"))
    versions = package_versions()
    assert versions["no-such-distribution-anywhere"] == "not installed"
    assert versions["numpy"][0].isdigit()
    assert versions["python"].startswith("3.")


def test_the_order_of_keys_does_not_change_a_hash():
    assert hash_json({"a": 1, "b": 2}) == hash_json({"b": 2, "a": 1}) != hash_json({"a": 2, "b": 1})


def test_the_fingerprint_follows_settings_weights_and_source():
    base = ({"seed": 1}, {"mat2spec": "a"}, "f")
    others = [({"seed": 2}, base[1], "f"), (base[0], {"mat2spec": "b"}, "f"), (base[0], base[1], "g")]
    assert run_fingerprint(*base) == run_fingerprint(*base)
    assert len({run_fingerprint(*each) for each in [base, *others]}) == 4


def test_the_commit_of_a_clone_and_of_none(tmp_path):
    assert git_commit(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / "file").write_text("one")
    subprocess.run([*git, "add", "file"], check=True)
    subprocess.run([*git, "commit", "-qm", "first"], check=True)
    clean = git_commit(tmp_path)
    assert len(clean) == 40
    (tmp_path / "file").write_text("two")
    assert git_commit(tmp_path) == f"{clean}-dirty"
