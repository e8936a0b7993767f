from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class ConsoleConfig(AppConfig):
    name = "aob_web.console"
    label = "console"
    verbose_name = "Time"


class ConsoleSiteConfig(AdminConfig):
    """Django's admin with our site in the place of its own."""

    default_site = "aob_web.console.site.Console"
