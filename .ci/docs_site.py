"""A hook of MkDocs (``mkdocs.yml``): pages outside ``docs/`` become pages of the site, and links are rewritten."""

import re
from pathlib import Path
from posixpath import dirname, join, normpath, relpath

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
OUTSIDE = ("SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/orders/README.md")
"""Pages, by their paths in the repository. They have the same paths in the site."""
FILES = ("deploy/grafana-dashboard.json", "deploy/prometheus-rules.yaml")
"""Files that pages offer, by their paths in the repository and in the site."""
HOME = "index.md"
"""The page of the site that stands for the README of the repository."""
_LINK = re.compile(r"(\]\(|(?:src|srcset|href)=\")([^)\s\"#]+)")


def on_files(files, config):
    for name in OUTSIDE + FILES:
        files.append(File.generated(config, name, content=(ROOT / name).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown, page, config, files):
    path = page.file.src_uri
    folder = dirname(path if path in OUTSIDE else f"docs/{path}")

    def rewritten(match):
        target = match[2]
        if "://" in target or target.startswith("mailto:"):
            return match[0]
        in_repository = normpath(join(folder, target))
        in_site = HOME if in_repository == "README.md" else in_repository.removeprefix("docs/")
        return f"{match[1]}{relpath(in_site, dirname(path) or '.')}"

    code = re.compile(r"(^```.*?^```$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
    return "".join(part if code.fullmatch(part) else _LINK.sub(rewritten, part) for part in code.split(markdown))
