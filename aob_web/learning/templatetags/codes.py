"""`|codes`: what stands between backticks in a text of the registry is shown as code."""

from __future__ import annotations

import re

from django import template
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

register = template.Library()
_CODE = re.compile("`([^`]+)`")


@register.filter
def codes(text: str) -> SafeString:
    """Everything is escaped first, so nothing in the text can be markup."""
    return mark_safe(_CODE.sub(r"<code>\1</code>", escape(text)))
