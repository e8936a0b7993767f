"""Pages."""

from __future__ import annotations

from django.contrib.auth.views import LogoutView
from django.urls import path

from aob_web.ui.pages import (
    account,
    approvals,
    dead_letters,
    home,
    links,
    node_types,
    run,
    run_compare,
    run_log,
    run_patches,
    run_steer,
    run_values,
    runs,
    templates,
    tour,
    workflow_patches,
    workflows,
)

runs_of_one = [
    path("runs/compare/", run_compare.compare, name="run-compare"),
    path("runs/<str:run_id>/", run.run, name="run"),
    path("runs/<str:run_id>/timeline/", run.timeline_part, name="run-timeline"),
    path("runs/<str:run_id>/values/", run.values_part, name="run-values"),
    path("runs/<str:run_id>/node/", run.node, name="run-node"),
    path("runs/<str:run_id>/conversation/", run.conversation, name="run-conversation"),
    path("runs/<str:run_id>/log/", run_log.log, name="run-log"),
    path("runs/<str:run_id>/value/", run_values.value, name="run-value"),
    path("runs/<str:run_id>/files/", run.blobs, name="run-blobs"),
    path("runs/<str:run_id>/files/<str:name>/", run_values.blob, name="run-blob"),
    path("runs/<str:run_id>/files/<str:name>/picture/", run_values.picture, name="run-blob-picture"),
    path("runs/<str:run_id>/files/<str:name>/download/", run_values.download, name="run-blob-download"),
    path("runs/<str:run_id>/graph/", run_patches.draw, name="run-graph"),
    path("runs/<str:run_id>/patches/", run_patches.patches_of, name="run-patches"),
    path("runs/<str:run_id>/patches/<str:patch_id>/", run_patches.patch, name="run-patch"),
    path("runs/<str:run_id>/patches/<str:patch_id>/<str:action>/", run_patches.settle, name="run-patch-settle"),
    path("runs/<str:run_id>/<str:action>/", run_steer.steer, name="run-steer"),
]
urlpatterns = [
    path("", home.home, name="home"),
    path("sign-in/", account.SignIn.as_view(), name="sign-in"),
    path("sign-out/", LogoutView.as_view(), name="sign-out"),
    path("runs/", runs.runs, name="runs"),
    path("runs/bulk/", runs.bulk_runs, name="bulk-runs"),
    path("runs/filters/", runs.save_filter, name="run-filters"),
    path("runs/filters/<int:number>/delete/", runs.delete_filter, name="run-filter-delete"),
    *runs_of_one,
    path("workflows/", workflows.workflows, name="workflows"),
    path("workflows/new/", workflows.new_workflow, name="new-workflow"),
    path("workflows/<str:name>/", workflows.workflow, name="workflow"),
    path("workflows/<str:name>/tags/", workflows.tag_workflow, name="workflow-tags"),
    path("workflows/<str:name>/patches/<str:patch_id>/", workflow_patches.patch, name="workflow-patch"),
    path(
        "workflows/<str:name>/patches/<str:patch_id>/<str:action>/",
        workflow_patches.settle,
        name="workflow-patch-settle",
    ),
    path("workflows/<str:name>/squash/", workflow_patches.squash, name="workflow-squash"),
    path("workflows/<str:name>/experiment/", workflow_patches.experiment, name="workflow-experiment"),
    path("workflows/<str:name>/edit/", workflows.editor, name="editor"),
    path("approvals/", approvals.inbox, name="approvals"),
    path("approvals/bulk/", approvals.bulk_tickets, name="approvals-bulk"),
    path("approvals/link/<str:token>/", links.link, name="ticket-link"),
    path("approvals/<str:ticket_id>/", approvals.ticket, name="ticket"),
    path("approvals/<str:ticket_id>/<str:action>/", approvals.act, name="ticket-action"),
    path("dead-letters/", dead_letters.dead_letters, name="dead-letters"),
    path("dead-letters/bulk/", dead_letters.bulk_letters, name="dead-letters-bulk"),
    path("dead-letters/<int:number>/", dead_letters.dead_letter_input, name="dead-letter-input"),
    path("dead-letters/<int:number>/<str:action>/", dead_letters.settle_dead_letter, name="dead-letter"),
    path("account/", account.account, name="account"),
]

urlpatterns += [
    path("templates/", templates.templates, name="templates"),
    path("templates/<str:slug>/", templates.template, name="template"),
    path("node-types/", node_types.node_types, name="node-types"),
    path("node-types/<str:name>/", node_types.node_type, name="node-type"),
    path("tour/", tour.step, name="tour"),
]
