"""Patches that wait for review, or did, are tickets: in the inbox beside what runs ask."""

from django.db import migrations, models

OF_RUNS = r"""
INSERT INTO ticket (id, run_id, seq, node, kind, workflow, title, assignees, answered, not_by, status, priority,
    created_at, decided_at, decided_by, reason)
SELECT p.id, p.run_id, p.first_seq, CASE f.data->'by'->>'kind' WHEN 'agent' THEN f.data->'by'->>'name' END, 'patch',
    r.workflow, left(concat_ws(': ', 'Change the running graph',
        nullif(btrim(regexp_replace(f.data->>'reason', '\s+', ' ', 'g')), '')), 300),
    '{*}', CASE WHEN l.data->>'decided_by' IS NULL THEN '{}' ELSE ARRAY[l.data->>'decided_by'] END,
    CASE f.data->'by'->>'kind' WHEN 'person' THEN f.data->'by'->>'name' END,
    CASE p.status WHEN 'pending_review' THEN 'open' WHEN 'rejected' THEN 'rejected' WHEN 'expired' THEN 'cancelled'
        ELSE 'approved' END,
    1, f.at, CASE p.status WHEN 'pending_review' THEN NULL WHEN 'expired' THEN r.ended_at ELSE l.at END,
    l.data->>'decided_by', nullif(l.data->>'decision', '')
FROM run_patch p
JOIN run r ON r.id = p.run_id
JOIN run_event s ON s.run_id = p.run_id AND s.seq = 1
JOIN run_event f ON f.run_id = p.run_id AND f.seq = p.first_seq
JOIN run_event l ON l.run_id = p.run_id AND l.seq = p.last_seq
WHERE f.type = 'PatchProposed' AND f.data->>'mode' = 'review'
    AND p.first_seq > coalesce((s.data->'forked_from'->>'copied')::int, 0) + 1
ON CONFLICT DO NOTHING
"""
OF_WORKFLOWS = r"""
INSERT INTO ticket (id, kind, workflow, title, assignees, answered, not_by, status, priority, created_at)
SELECT p.id, 'patch', w.name, left(concat_ws(': ', 'Change ' || w.name || '@' || p.tag,
        nullif(btrim(regexp_replace(p.reason, '\s+', ' ', 'g')), '')), 300),
    '{*}', '{}', CASE p.author_kind WHEN 'person' THEN p.author_name END, 'open', 1, p.created_at
FROM workflow_patch p JOIN workflow w ON w.id = p.workflow_id
WHERE p.status = 'pending_review'
ON CONFLICT DO NOTHING
"""
REMOVED = "DELETE FROM ticket WHERE kind = 'patch'"


class Migration(migrations.Migration):
    dependencies = [("runs", "0007_ticket"), ("workflows", "0004_patches_fixed")]
    operations = [
        migrations.AlterField("ticket", "run_id", models.UUIDField(null=True)),
        migrations.AlterField("ticket", "seq", models.IntegerField(null=True)),
        migrations.AlterField("ticket", "node", models.TextField(null=True)),
        migrations.AlterModelOptions("ticket", options={"ordering": ["-created_at", "-id"]}),
        migrations.AddIndex("ticket", models.Index(fields=["-created_at", "-id"], name="ticket_newest")),
        migrations.RunSQL(OF_RUNS, migrations.RunSQL.noop),
        migrations.RunSQL(OF_WORKFLOWS, REMOVED),
    ]
