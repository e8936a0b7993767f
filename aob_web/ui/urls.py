"""Pages."""

from __future__ import annotations

from django.contrib.auth.views import LogoutView
from django.urls import path

from aob_web.ui import views

urlpatterns = [
    path("", views.home, name="home"),
    path("sign-in/", views.SignIn.as_view(), name="sign-in"),
    path("sign-out/", LogoutView.as_view(), name="sign-out"),
    path("runs/", views.runs, name="runs"),
    path("runs/<str:run_id>/", views.run, name="run"),
    path("runs/<str:run_id>/timeline/", views.timeline, name="run-timeline"),
    path("runs/<str:run_id>/events/", views.events, name="run-events"),
    path("runs/<str:run_id>/node/", views.node, name="run-node"),
    path("runs/<str:run_id>/<str:action>/", views.steer, name="run-steer"),
    path("workflows/", views.workflows, name="workflows"),
    path("workflows/new/", views.new_workflow, name="new-workflow"),
    path("workflows/<str:name>/", views.workflow, name="workflow"),
    path("workflows/<str:name>/edit/", views.editor, name="editor"),
    path("dead-letters/", views.dead_letters, name="dead-letters"),
    path("dead-letters/<int:number>/<str:action>/", views.settle_dead_letter, name="dead-letter"),
    path("account/", views.account, name="account"),
]
