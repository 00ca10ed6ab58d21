"""A pytest plugin: one line per test, `outcome<TAB>name<TAB>seconds<TAB>why`, into the file that FRAZIL_OUTCOMES names."""

import os


def _why(report):
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    crash = getattr(report.longrepr, "reprcrash", None)
    return crash.message if crash else str(report.longrepr or "")


def pytest_runtest_logreport(report):
    # The call, and what broke off before it or went wrong after it.
    if report.when != "call" and report.passed:
        return
    name = report.nodeid.rsplit("/", 1)[-1]
    why = "" if report.passed else " ".join(_why(report).split())[:300]
    with open(os.environ["FRAZIL_OUTCOMES"], "a", encoding="utf-8") as file:
        file.write(f"{report.outcome}\t{name}\t{report.duration:.1f}\t{why}\n")
