"""RESULTS.md, a section at a time: each script that measures replaces its own."""

import re


def cell(text, most=300):
    """Text as it may stand in a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")[:most]


def put(path, heading, text):
    """Replaces what is below a heading of the file, or adds it at the end."""
    old = path.read_text(encoding="utf-8") if path.exists() else "# Results\n"
    top, *sections = re.split(r"^## ", old, flags=re.MULTILINE)
    parts = dict(section.split("\n", 1) for section in sections)
    parts[heading] = text
    whole = [top.strip(), *(f"## {name}\n\n{body.strip()}" for name, body in parts.items())]
    path.write_text("\n\n".join(whole) + "\n", encoding="utf-8")
