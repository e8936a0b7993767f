from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "aob_web.accounts"
    label = "accounts"
