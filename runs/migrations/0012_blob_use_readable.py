from django.db import migrations, models


class Migration(migrations.Migration):
    """A constant default touches no row. What is recorded already may be read as before."""

    dependencies = [
        ('runs', '0011_blob_part'),
    ]

    operations = [
        migrations.AddField(
            model_name='blobuse',
            name='readable',
            field=models.BooleanField(db_default=True, default=True),
        ),
    ]
