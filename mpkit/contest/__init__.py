"""Red against blue: teams submit settings, never code; the kit crafts, judges and counts.

A contest is a folder:

    limits.json         what everybody is given, and how far each may go (see `Limits`)
    submissions/*.json  one file a team and side (see `Submission`)
    round.json          the draw: its seed, the targets, and who was there
    results.jsonl       one line for each set of poisons and each pair of teams
    poisons/            what was crafted
    report.html, marking.csv   what came of it
"""
