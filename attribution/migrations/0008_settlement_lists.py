# Indexes that serve the filtered pages of claims, payments and settlement.

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('attribution', '0007_claim_comparisons'),
        ('ct4site', '0006_settlement_job'),
        ('identity', '0003_driver_search_indexes'),
    ]

    operations = [
        migrations.AlterField(
            model_name='settlementline',
            name='period',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='lines', to='attribution.settlementperiod', verbose_name='period'),
        ),
        migrations.AddIndex(
            model_name='paymentstate',
            index=models.Index(fields=['identity_status', '-ledger_id'], name='payment_state_by_identity'),
        ),
        migrations.AddIndex(
            model_name='personscout',
            index=models.Index(fields=['scout_quality_bucket'], name='person_scout_by_quality'),
        ),
        migrations.AddIndex(
            model_name='settlementline',
            index=models.Index(fields=['scout_id', '-id'], name='line_by_scout_newest'),
        ),
        migrations.AddIndex(
            model_name='settlementline',
            index=models.Index(fields=['period', '-id'], name='line_by_period'),
        ),
        migrations.AddIndex(
            model_name='settlementline',
            index=models.Index(fields=['period', 'scout_id', '-id'], name='line_by_period_and_scout'),
        ),
        migrations.AddIndex(
            model_name='settlementline',
            index=models.Index(condition=models.Q(('kind', 'adjustment')), fields=['-id'], name='line_adjusts'),
        ),
        migrations.AddIndex(
            model_name='settlementline',
            index=models.Index(fields=['driver_id'], name='line_by_driver'),
        ),
        migrations.AddIndex(
            model_name='statementitem',
            index=models.Index(condition=models.Q(('due_amount__lt', 0)), fields=['scout_id'], name='statement_taken_back'),
        ),
        migrations.AddIndex(
            model_name='statementitem',
            index=models.Index(fields=['driver_id'], name='statement_by_driver'),
        ),
        migrations.AddIndex(
            model_name='yangopayment',
            index=models.Index(fields=['match_rule', '-id'], name='payment_by_match'),
        ),
    ]
