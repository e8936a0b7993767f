"""Which stored value names which blob, so that neither is collected before the other."""

from django.db import migrations, models

OF_VALUES = r"""
INSERT INTO blob_part (hash, part)
SELECT DISTINCT value.hash, named.hash
FROM blob AS value
CROSS JOIN LATERAL regexp_matches(encode(value.data, 'escape'), 'sha256:[0-9a-f]{64}', 'g') AS found(name)
JOIN blob AS named ON named.hash = found.name[1]
WHERE value.media_type = 'application/json' AND value.data IS NOT NULL
ON CONFLICT DO NOTHING
"""
"""Of the values that stand in the table; `escape` takes any bytes, since somebody may have uploaded others as JSON."""


class Migration(migrations.Migration):
    dependencies = [("runs", "0010_ticket_message")]
    operations = [
        migrations.CreateModel(
            name="BlobPart",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey("hash", "part", blank=True, editable=False, primary_key=True, serialize=False),
                ),
                ("hash", models.CharField(max_length=71)),
                ("part", models.CharField(max_length=71)),
            ],
            options={
                "db_table": "blob_part",
                "indexes": [models.Index(fields=["part"], name="blob_part_part")],
            },
        ),
        migrations.RunSQL(OF_VALUES, migrations.RunSQL.noop),
    ]
