"""Screens of review: the queue, the page on which a case is decided, receipts and their reversal, proposals."""

from ct4site.review_admin import panel, proposals, queue, receipts  # noqa: F401
