from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('ct4site', '0006_settlement_job'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='run',
            name='run_has_a_known_job',
        ),
        migrations.AlterField(
            model_name='run',
            name='job_type',
            field=models.TextField(choices=[('identity_run', 'Identity matching'), ('drivers_index_refresh', 'Drivers index refresh'), ('source_load', 'Source file load'), ('roll_back', 'Roll-back of a run'), ('legacy_load', "Load of the predecessor's history"), ('orphans_fix', 'Drivers without leads'), ('process_ledger', 'Decision of the lead ledger'), ('scout_attribution_refresh', 'Scout attribution refresh'), ('scout_attribution_fix', 'Scout attribution fix'), ('populate_events', 'Lead events'), ('identity_links_backfill', 'Backfill of scouting links'), ('lead_ledger_backfill', "Backfill of the ledger's scouts"), ('lead_events_backfill', "Backfill of the events' scouts"), ('scout_mapping_load', 'Load of mapped scouts'), ('collection_refresh', 'Collection refresh'), ('settlement_close', 'Closing of a settlement period'), ('claims_comparison', 'Comparison of claims')], default='identity_run', verbose_name='job'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.CheckConstraint(condition=models.Q(('job_type__in', ['identity_run', 'drivers_index_refresh', 'source_load', 'roll_back', 'legacy_load', 'orphans_fix', 'process_ledger', 'scout_attribution_refresh', 'scout_attribution_fix', 'populate_events', 'identity_links_backfill', 'lead_ledger_backfill', 'lead_events_backfill', 'scout_mapping_load', 'collection_refresh', 'settlement_close', 'claims_comparison'])), name='run_has_a_known_job'),
        ),
    ]
