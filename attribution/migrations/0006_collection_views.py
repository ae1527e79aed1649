
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('attribution', '0005_settlement'),
    ]

    operations = [
        migrations.CreateModel(
            name='ClaimInCollection',
            fields=[
                ('claim', models.OneToOneField(db_column='claim_id', db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, primary_key=True, related_name='collection', serialize=False, to='attribution.claim', verbose_name='claim')),
                ('driver_id', models.TextField(verbose_name='driver')),
                ('person_key', models.UUIDField(null=True, verbose_name='person')),
                ('driver_name', models.TextField(null=True, verbose_name='name')),
                ('milestone_value', models.IntegerField(verbose_name='milestone')),
                ('lead_date', models.DateField(verbose_name='lead date')),
                ('expected_amount', models.DecimalField(decimal_places=2, max_digits=12, verbose_name='amount')),
                ('yango_due_date', models.DateField(verbose_name='due')),
                ('days_overdue_yango', models.IntegerField(verbose_name='days overdue')),
                ('overdue_bucket_yango', models.TextField(verbose_name='overdue, as the partner is told')),
                ('yango_payment_status', models.TextField(verbose_name='payment, as the partner is told')),
                ('payment_key', models.TextField(null=True, verbose_name='payment key')),
                ('pay_date', models.DateField(null=True, verbose_name='pay date')),
                ('reason_code', models.TextField(verbose_name='reason')),
                ('match_rule', models.TextField(null=True, verbose_name='match rule')),
                ('match_confidence', models.TextField(null=True, verbose_name='match confidence')),
                ('identity_status', models.TextField(null=True, verbose_name='identity')),
                ('suggested_driver_id', models.TextField(null=True, verbose_name='suggested driver')),
                ('is_reconcilable_enriched', models.BooleanField(verbose_name='reconcilable')),
                ('is_collectable', models.BooleanField(verbose_name='collectable')),
                ('bucket_overdue', models.TextField(choices=[('0_not_due', 'Not due yet'), ('1_1_7', '1 to 7 days'), ('2_8_14', '8 to 14 days'), ('3_15_30', '15 to 30 days'), ('4_31_60', '31 to 60 days'), ('5_60_plus', 'More than 60 days')], verbose_name='overdue')),
                ('action_priority', models.TextField(verbose_name='priority')),
                ('claim_status', models.TextField(verbose_name='status')),
                ('lead_source_pk', models.TextField(verbose_name='lead')),
                ('achieved_date', models.DateField(null=True, verbose_name='reached')),
                ('eligibility_disputed', models.BooleanField(verbose_name='disputed')),
                ('week_start', models.DateField(verbose_name='week')),
                ('scout_id', models.IntegerField(null=True, verbose_name='scout')),
                ('scout_name', models.TextField(null=True, verbose_name='name of the scout as listed')),
                ('scout_name_normalized', models.TextField(null=True, verbose_name='name of the scout')),
                ('scout_is_active', models.BooleanField(null=True, verbose_name='active scout')),
                ('scout_type', models.TextField(null=True, verbose_name='kind of scout')),
                ('scout_quality_bucket', models.TextField(choices=[('SATISFACTORY_LEDGER', 'In the ledger'), ('EVENTS_ONLY', 'Lead events only'), ('MIGRATIONS_ONLY', 'Migrations only'), ('SCOUTING_DAILY_ONLY', 'Scouting registrations only'), ('CABINET_PAYMENTS_ONLY', 'Cabinet payments only'), ('MISSING', 'No scout')], verbose_name='scout known by')),
                ('is_scout_resolved', models.BooleanField(verbose_name='has scout')),
                ('scout_source_table', models.TextField(null=True, verbose_name='source of the scout')),
                ('scout_attribution_date', models.DateField(null=True, verbose_name='attributed')),
                ('scout_priority', models.IntegerField(null=True, verbose_name='priority of the source')),
            ],
            options={
                'verbose_name': 'claim in collection',
                'verbose_name_plural': 'claims in collection',
                'db_table': 'v_yango_collection_with_scout',
                'abstract': False,
                'managed': False,
                'default_permissions': ('view',),
            },
        ),
    ]
