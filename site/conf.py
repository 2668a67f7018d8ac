"""Settings of Sphinx for the reading site: `start.py site` builds it from what tools/site.py makes of the course."""

import html
import re
import tomllib

from docutils.nodes import SkipNode
from latex2mathml import converter

from tools.address import address
from tools.ground import ROOT
from tools.site import questions

about = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
project, _, description = about["description"].partition(": ")
version = release = about["version"]
author = f'The authors of "{project}"'
copyright = f"text CC BY 4.0, code MIT. Version {version}"
repository = re.fullmatch(r"https://github\.com/([\w.-]+)/([\w.-]+?)(?:\.git)?/?", address()[0])

extensions = ["myst_nb"]
nb_execution_mode = "off"
nb_ipywidgets_js = {}  # pages fetch nothing: no widgets, and no MathJax (formulas are MathML)
myst_update_mathjax = False
html_math_renderer = "mathml"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
myst_heading_slug_func = "tools.site.slug"

html_theme = "sphinx_book_theme"
html_title = project
html_baseurl = f"https://{repository[1]}.github.io/{repository[2]}/" if repository else ""
html_static_path = ["course.css"]
html_css_files = ["course.css"]
html_copy_source = html_show_sourcelink = False
html_theme_options = {
    "use_download_button": False,  # it would give the page's own source, which doesn't run
    "use_fullscreen_button": False,
    "navbar_persistent": [],  # the search stands beside the contents, once
    "show_toc_level": 2,
    "show_navbar_depth": 1,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
previews = questions()


def mathml(self, node):
    display = "block" if node.tagname == "math_block" else "inline"
    self.body.append(converter.convert(node.astext(), display=display))
    raise SkipNode


def with_preview(app, page, template, context, doctree):
    """Say what a preview of a link to this page shows."""
    title = html.unescape(re.sub("<[^>]+>", "", context.get("title") or project))
    said = {"og:type": "article", "og:title": title, "og:image": f"{html_baseurl}picture.png"}
    said["og:description"] = previews.get(page) or description
    tags = [f'<meta property="{name}" content="{html.escape(text)}">' for name, text in said.items()]
    tags.append(f'<meta name="description" content="{html.escape(said["og:description"])}">')
    context["metatags"] = context.get("metatags", "") + "\n".join(tags)


def setup(app):
    app.add_html_math_renderer("mathml", (mathml, None), (mathml, None))
    app.connect("html-page-context", with_preview)
