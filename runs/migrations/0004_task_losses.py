"""How often a task's earlier attempts lost their worker."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("runs", "0003_lean_indexes"),
    ]

    operations = [
        migrations.AddField(
            model_name="task",
            name="losses",
            field=models.SmallIntegerField(db_default=0),
        ),
    ]
