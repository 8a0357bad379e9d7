"""What every test run says and shares."""

from importlib import metadata


def pytest_report_header():
    try:
        return f"oracle: torch {metadata.version('torch')}"
    except metadata.PackageNotFoundError:
        return "oracle: torch is not installed; tests that compare with it are skipped"
