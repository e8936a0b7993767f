from django.apps import AppConfig


class UiConfig(AppConfig):
    name = "aob_web.ui"
    label = "ui"
