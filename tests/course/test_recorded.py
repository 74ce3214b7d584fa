"""Results that were recorded elsewhere."""

from __future__ import annotations

import re

import pytest

from mpkit.course.recorded import TABLES


def test_flags_of_recorded_results_are_flags_of_the_command_line(capsys):
    from mpkit.__main__ import main

    for table in TABLES.values():
        command = table.command.split()[1]
        with pytest.raises(SystemExit):
            main([command, "--help"])
        known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
        for row in table.results:
            assert set(re.findall(r"--[a-z-]+", row.flags)) <= known, row
