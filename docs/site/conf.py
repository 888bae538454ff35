"""How Sphinx makes the site from the pages that build.py lays out. Nothing on it comes from another host."""

from __future__ import annotations

from pathlib import Path

import fingertrio

project = "fingertrio"
author = "The fingertrio founders"
version = release = fingertrio.__version__
extensions = ["myst_parser"]

# Anchors as forges make them, so that a link works there and here.
myst_heading_anchors = 6
myst_enable_extensions: list[str] = []
suppress_warnings = [
    "myst.header",  # a page may begin with a heading of the second level after its picture
    "misc.highlighting_failure",  # listings with a placeholder such as <64 hexadecimal digits>
]

language = "en"
smartquotes = False  # what is quoted is typed by people
html_theme = "furo"
html_title = "fingertrio"
html_static_path = [str(Path(__file__).parent / "static")]
html_css_files = ["fingertrio.css"]
html_js_files = [("site.js", {"defer": "defer"})]
html_favicon = str(Path(fingertrio.__file__).parent / "frontends/web/static/icon.svg")
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_copyright = False
html_use_index = False
pygments_style = "a11y-light"
pygments_dark_style = "a11y-dark"

_LIGHT = {
    "color-background-primary": "#fbfaf7",
    "color-background-secondary": "#f6f4ee",
    "color-background-hover": "#eceae2",
    "color-background-hover--transparent": "#eceae200",
    "color-background-border": "#e2dfd7",
    "color-background-item": "#e2dfd7",
    "color-foreground-primary": "#1b1e24",
    "color-foreground-secondary": "#5a616c",
    "color-foreground-muted": "#5a616c",
    "color-foreground-border": "#8b8f96",
    "color-brand-primary": "#17664b",
    "color-brand-content": "#17664b",
    "color-brand-visited": "#17664b",
    "color-highlight-on-target": "#dff0e7",
    "color-code-background": "#f2f0ea",
    "color-code-foreground": "#1b1e24",
    "color-inline-code-background": "#f2f0ea",
    "color-admonition-background": "#ffffff",
}
_DARK = {
    "color-background-primary": "#14171a",
    "color-background-secondary": "#181b1f",
    "color-background-hover": "#1f2428",
    "color-background-hover--transparent": "#1f242800",
    "color-background-border": "#2c3237",
    "color-background-item": "#2c3237",
    "color-foreground-primary": "#eceae5",
    "color-foreground-secondary": "#a2a9b1",
    "color-foreground-muted": "#a2a9b1",
    "color-foreground-border": "#737b84",
    "color-brand-primary": "#74d0a9",
    "color-brand-content": "#74d0a9",
    "color-brand-visited": "#74d0a9",
    "color-highlight-on-target": "#1b3229",
    "color-code-background": "#1f2428",
    "color-code-foreground": "#eceae5",
    "color-inline-code-background": "#1f2428",
    "color-admonition-background": "#1b1f23",
}
_FONTS = {
    "font-stack": 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif',
    "font-stack--monospace": 'ui-monospace, "Cascadia Mono", "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace',
}
html_theme_options = {
    "light_css_variables": {**_LIGHT, **_FONTS},
    "dark_css_variables": _DARK,
    "top_of_page_buttons": [],
    "footer_icons": [],
}
