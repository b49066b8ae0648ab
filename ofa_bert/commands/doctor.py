"""Look whether this machine and this installation are well, and say what to do where not.

Ends with code 0 where nothing is wrong, 1 where something is.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from ofa_bert.arguments import parse_args
from ofa_bert.config import setting
from ofa_bert.diagnosis import Finding, diagnose


@dataclass(frozen=True)
class DoctorConfig:
    """It looks at everything."""

    log_level: str = setting(
        "warning",
        help="how much to say; debug adds tracebacks",
        choices=("debug", "info", "warning"),
    )


def main(argv: Sequence[str]) -> int:
    """Print what was found, a line each."""
    (config,) = parse_args("python -m ofa_bert doctor", __doc__ or "", [DoctorConfig], argv)
    # Not set_up_logging, which needs tqdm: that may be what is missing here.
    logging.getLogger().setLevel(config.log_level.upper())
    findings = diagnose()
    print(report(findings))  # noqa: T201
    return 1 if any(finding.remedy for finding in findings) else 0


def report(findings: Sequence[Finding]) -> str:
    """Lay findings out in lines; a remedy stands under what it mends."""
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        mark = "!" if finding.remedy else " "
        lines.append(f"{mark} {finding.name:{width}}  {finding.found}")
        if finding.remedy:
            lines.append(f"  {'':{width}}  -> {finding.remedy}")
    problems = sum(finding.remedy is not None for finding in findings)
    lines.append(f"{problems} problems found" if problems != 1 else "1 problem found")
    return "\n".join(lines)
