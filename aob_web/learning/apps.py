from django.apps import AppConfig


class LearningConfig(AppConfig):
    name = "aob_web.learning"
    label = "learning"
    verbose_name = "Learning"
