"""The HTML report of `finevla curate`: groups, dendrograms, distances, and videos of what was kept."""

from finevla.stages.curate.page.page import PAGE_NAME, write_page

__all__ = ["PAGE_NAME", "write_page"]
