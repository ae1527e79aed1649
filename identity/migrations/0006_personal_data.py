from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('identity', '0005_manual_leads'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='person',
            options={'ordering': ['person_key'], 'permissions': [('view_identity', 'May see identity data'), ('view_pii', 'Sees phones, licences and documents, and may search by them'), ('reveal_pii', 'May show the phones, licences and documents of one page, on record')], 'verbose_name': 'person', 'verbose_name_plural': 'persons'},
        ),
    ]
