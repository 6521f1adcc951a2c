"""Cores within the quotas of control groups, of both versions."""

import os

import pytest

from dft_validation.cores import usable_cores


@pytest.fixture
def all_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    return 8


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


@pytest.mark.parametrize(
    ("quota", "cores"), [("300000 100000", 3), ("50000 100000", 1), ("max 100000", 8), ("", 8), ("a b c", 8)]
)
def test_quota_of_version_2(quota, cores, tmp_path, all_cores):
    own = tmp_path / "own"
    own.write_text("0::/jobs/j1\n")
    write(tmp_path / "cgroup" / "jobs", cpu__max=quota)
    assert usable_cores(tmp_path / "cgroup", own) == cores


@pytest.mark.parametrize(("quota", "cores"), [("250000", 2), ("-1", 8), ("50000", 1)])
@pytest.mark.parametrize(
    ("mount", "controllers"), [("cpu,cpuacct", "cpu,cpuacct"), ("cpu", "cpuacct,cpu"), ("cpu", "cpu")]
)
def test_quota_of_version_1_however_its_hierarchy_is_mounted(mount, controllers, quota, cores, tmp_path, all_cores):
    own = tmp_path / "own"
    own.write_text(f"9:name=systemd:/\n8:pids:/\n4:{controllers}:/slurm/uid_7/job_9\n")
    write(tmp_path / "cgroup" / mount / "slurm" / "uid_7", cpu__cfs_quota_us=quota, cpu__cfs_period_us="100000")
    assert usable_cores(tmp_path / "cgroup", own) == cores


def test_the_smallest_quota_above_a_group_rules(tmp_path, all_cores):
    own = tmp_path / "own"
    own.write_text("4:cpu:/of-the-host/unseen-here\n")
    write(tmp_path / "cgroup" / "cpu", cpu__cfs_quota_us="400000", cpu__cfs_period_us="100000")
    assert usable_cores(tmp_path / "cgroup", own) == 4
    own.write_text("4:cpu:/a/b\n")
    write(tmp_path / "cgroup" / "cpu" / "a" / "b", cpu__cfs_quota_us="600000", cpu__cfs_period_us="100000")
    assert usable_cores(tmp_path / "cgroup", own) == 4


def test_without_control_groups_the_affinity_rules(tmp_path, all_cores):
    assert usable_cores(tmp_path, tmp_path / "none") == all_cores
