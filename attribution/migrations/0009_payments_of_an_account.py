# An index by which a decision finds all payments of an account.

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('attribution', '0008_settlement_lists'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='paymentstate',
            index=models.Index(condition=models.Q(('driver_id__isnull', False)), fields=['driver_id'], name='payment_state_of_driver'),
        ),
    ]
