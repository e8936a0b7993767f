"""Ends the experiments whose patch was rejected while they went on; those rejected from now on end at once."""

from django.db import migrations

FORWARD = """
UPDATE experiment SET ended_at = statement_timestamp(), ended_by = p.decided_by, kept = false
FROM workflow_patch p WHERE p.id = experiment.patch AND p.status = 'rejected' AND experiment.ended_at IS NULL
"""


class Migration(migrations.Migration):
    dependencies = [("workflows", "0004_patches_fixed")]
    operations = [migrations.RunSQL(FORWARD, migrations.RunSQL.noop)]
