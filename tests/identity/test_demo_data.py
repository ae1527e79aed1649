"""The invented data set: reproducible, consistent in itself, as dirty as domain.md 2.8 says, and never half written."""

import csv
import hashlib
import json
import re
import subprocess
import sys
import time
import tracemalloc
import unicodedata
from collections import Counter, defaultdict
from contextlib import suppress
from datetime import date, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from identity.demo import generate
from identity.demo.dice import Dice, Scrambled
from identity.demo.files import COLUMNS, MANIFEST, DemoFiles
from identity.demo.names import names_are_alike
from identity.demo.stories import STORIES
from identity.demo.world import OBJECTIVE_PARK, World

LEAD_TABLES = ("module_ct_cabinet_leads", "module_ct_scouting_daily", "module_ct_migrations")


def rows(directory, table):
    with (directory / f"{table}.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, strict=True))


def digest(directory):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(directory.iterdir())}


def day_of(text):
    """Return the day a row of trips was written for, or None when nobody can say."""
    for pattern in ("%d-%m-%Y", "%Y-%m-%d"):
        with suppress(ValueError):
            return datetime.strptime(text, pattern).date()  # noqa: DTZ007
    return None


def lead_key(row):
    return row.get("external_id") or row["id"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    directory = tmp_path_factory.mktemp("demo")
    generate(leads=10_000, seed=1, directory=directory)
    return directory


@pytest.fixture(scope="module")
def tables(world):
    return {table: rows(world, table) for table in COLUMNS}


class TestReproducible:
    def test_the_same_seed_gives_the_same_bytes(self, tmp_path):
        generate(leads=300, seed=5, directory=tmp_path / "one")
        generate(leads=300, seed=5, directory=tmp_path / "two")
        assert digest(tmp_path / "one") == digest(tmp_path / "two")

    def test_another_process_with_another_hash_seed_and_locale_gives_the_same_bytes(self, tmp_path):
        generate(leads=300, seed=5, directory=tmp_path / "here")
        code = "import sys; from pathlib import Path; from identity.demo import generate; "
        code += "generate(leads=300, seed=5, directory=Path(sys.argv[1]))"
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "there")],
            check=True,
            cwd=settings.BASE_DIR,
            env={"PYTHONHASHSEED": "77", "LC_ALL": "C", "TZ": "Asia/Tokyo"},
        )
        assert digest(tmp_path / "here") == digest(tmp_path / "there")

    def test_these_bytes_are_the_same_on_every_platform_and_python(self, tmp_path):
        """Change this digest only when the stories are meant to change."""
        generate(leads=300, seed=5, directory=tmp_path)
        together = hashlib.sha256(json.dumps(digest(tmp_path), sort_keys=True).encode()).hexdigest()
        assert together == "0f7cceaedb377e2b9b62404c4b91605d1ce4913e9009ef73412d5cdb5ff69c06"

    def test_another_seed_gives_another_world(self, tmp_path):
        generate(leads=300, seed=5, directory=tmp_path / "one")
        generate(leads=300, seed=6, directory=tmp_path / "two")
        one, two = digest(tmp_path / "one"), digest(tmp_path / "two")
        assert [name for name in one if one[name] == two[name]] == []

    def test_scrambled_numbers_are_each_drawn_once(self):
        numbers = Scrambled(1000, 381, 17)
        assert sorted(numbers.next() for _ in range(1000)) == list(range(1000))

    def test_dice_stay_within_their_bounds(self):
        dice = Dice(3)
        assert {dice.between(2, 5) for _ in range(500)} == {2, 3, 4, 5}
        assert {dice.below(3) for _ in range(500)} == {0, 1, 2}


class TestShape:
    @pytest.mark.slow
    def test_every_file_has_the_columns_of_its_table(self, world):
        for table, columns in COLUMNS.items():
            header = (world / f"{table}.csv").read_text(encoding="utf-8").partition("\n")[0]
            assert header == ",".join(columns)

    def test_nothing_else_is_left_in_the_directory(self, world):
        assert sorted(path.name for path in world.iterdir()) == sorted([*(f"{t}.csv" for t in COLUMNS), MANIFEST])

    def test_lines_end_alike_everywhere(self, world):
        assert all(b"\r" not in path.read_bytes() for path in world.iterdir())

    @pytest.mark.parametrize("leads", [1, 2, 3, 57])
    def test_the_number_of_leads_is_exact_however_small(self, tmp_path, leads):
        written = generate(leads=leads, seed=2, directory=tmp_path)
        assert sum(written[table] for table in LEAD_TABLES) == leads == written["truth_leads"]

    def test_the_mix_of_feeds_and_parks_is_as_ordered(self, tables):
        shares = [len(tables[table]) / 10_000 for table in LEAD_TABLES]
        assert 0.60 < shares[0] < 0.70
        assert 0.20 < shares[1] < 0.30
        assert 0.07 < shares[2] < 0.13
        drivers = tables["drivers"]
        assert 9_500 < len(drivers) < 10_500
        parks = Counter(row["park_id"] for row in drivers)
        assert 0.44 < parks[OBJECTIVE_PARK] / len(drivers) < 0.50
        assert len(parks) == 6
        assert parks[""]
        assert 2 < len(tables["summary_daily"]) / 10_000 < 3
        assert len(tables["module_ct_scouts_list"]) == 42

    def test_the_manifest_counts_the_rows(self, world, tables):
        manifest = json.loads((world / MANIFEST).read_text(encoding="utf-8"))
        assert manifest == {"leads": 10_000, "seed": 1, "rows": {table: len(tables[table]) for table in COLUMNS}}


class TestConsistent:
    def test_every_lead_has_one_truth_row_and_every_truth_row_a_lead(self, tables):
        truth = Counter((row["source_table"], row["source_pk"]) for row in tables["truth_leads"])
        leads = Counter((table, lead_key(row)) for table in LEAD_TABLES for row in tables[table])
        assert truth == leads
        assert set(truth.values()) == {1}

    def test_every_driver_in_the_feed_or_linked_by_the_predecessor_has_one_truth_row(self, tables):
        drivers = [row["driver_id"] for row in tables["drivers"]]
        left = {row["source_pk"] for row in tables["legacy_links"] if row["source_table"] == "drivers"} - set(drivers)
        truth = [row["driver_id"] for row in tables["truth_drivers"]]
        assert [driver_id for driver_id in truth if driver_id not in left] == drivers
        assert set(truth) == left | set(drivers)
        assert len(set(truth)) == len(truth)

    def test_a_lead_of_an_account_outside_the_feed_is_not_linkable(self, tables):
        feed = {row["driver_id"] for row in tables["drivers"]}
        outside = [row for row in tables["truth_leads"] if row["driver_id"] and row["driver_id"] not in feed]
        assert len(outside) > 50
        assert {row["linkable"] for row in outside} == {"false"}

    def test_the_driver_of_a_lead_belongs_to_the_person_of_the_lead(self, tables):
        person_of = {row["driver_id"]: row["person_id"] for row in tables["truth_drivers"]}
        for row in tables["truth_leads"]:
            if row["driver_id"]:
                assert person_of[row["driver_id"]] == row["person_id"]
            else:
                assert row["linkable"] == "false"

    def test_natural_keys_are_unique(self, tables):
        trips = Counter((row["driver_id"], day_of(row["date_file"]) or "") for row in tables["summary_daily"])
        assert set(trips.values()) == {1}
        for table in (*LEAD_TABLES, "module_ct_cabinet_payments"):
            assert [int(row["id"]) for row in tables[table]] == list(range(1, len(tables[table]) + 1))

    def test_trips_and_payments_are_of_known_drivers_and_nothing_is_in_the_future(self, tables):
        known = {row["driver_id"] for row in tables["truth_drivers"]}
        assert {row["driver_id"] for row in tables["summary_daily"]} <= known
        assert {row["driver_id"] for row in tables["module_ct_cabinet_payments"]} - {""} <= known
        for table, column in (
            ("module_ct_cabinet_leads", "lead_created_at"),
            ("module_ct_scouting_daily", "registration_date"),
            ("module_ct_migrations", "created_at"),
            ("drivers", "hire_date"),
            ("drivers", "license_issue_date"),
            ("module_ct_cabinet_payments", "date"),
        ):
            assert max(row[column][:10] for row in tables[table]) <= "2026-01-20"

    def test_payments_name_only_milestones_reached_in_the_window(self, tables):
        paid = [row for row in tables["module_ct_cabinet_payments"] if row["driver_id"] and row["trip_1"] == "true"]
        leads = {
            row["driver_id"]: row["source_pk"]
            for row in reversed(tables["truth_leads"])
            if row["source_table"] == "module_ct_cabinet_leads"
        }
        dates = {lead_key(row): row["lead_created_at"][:10] for row in tables["module_ct_cabinet_leads"]}
        trips = defaultdict(list)
        for row in tables["summary_daily"]:
            if day := day_of(row["date_file"]):
                trips[row["driver_id"]].append((day, int(row["count_orders_completed"])))
        assert paid
        for row in paid:
            start = date.fromisoformat(dates[leads[row["driver_id"]]])
            total = sum(n for day, n in trips[row["driver_id"]] if start <= day < start + timedelta(days=14))
            assert total >= (25 if row["trip_25"] == "true" else 5 if row["trip_5"] == "true" else 1)

    def test_what_is_owed_is_what_the_trips_and_leads_say(self, tables):
        """Recomputed from the rows alone: per account and milestone the earliest lead in whose window it was reached."""
        trips, leads = defaultdict(dict), defaultdict(list)
        for row in tables["summary_daily"]:
            if day := day_of(row["date_file"]):
                trips[row["driver_id"]][day] = int(row["count_orders_completed"])
        created = {lead_key(row): row["lead_created_at"][:10] for row in tables["module_ct_cabinet_leads"]}
        for row in tables["truth_leads"]:
            if row["source_table"] == "module_ct_cabinet_leads" and row["driver_id"] and created[row["source_pk"]]:
                leads[row["driver_id"]].append((date.fromisoformat(created[row["source_pk"]]), row["source_pk"]))
        owed = {}
        for driver, own in leads.items():
            for milestone in (1, 5, 25):
                for start, source_pk in sorted(own, reverse=True):
                    total = 0
                    for offset in range(14):
                        before, total = total, total + trips[driver].get(start + timedelta(days=offset), 0)
                        if before < milestone <= total:
                            owed[driver, str(milestone)] = source_pk, start, start + timedelta(days=offset)
        told = {
            (row["driver_id"], row["milestone"]): (
                row["lead_source_pk"],
                date.fromisoformat(row["lead_date"]),
                date.fromisoformat(row["achieved_date"]),
            )
            for row in tables["truth_claims"]
        }
        assert told == owed
        assert len(tables["truth_claims"]) == len(told)
        milestones = Counter(milestone for _driver, milestone in told)
        assert milestones["1"] > milestones["5"] > milestones["25"] > 50

    def test_what_is_paid_is_what_some_payment_says(self, tables):
        said = {
            (row["driver_id"], milestone)
            for row in tables["module_ct_cabinet_payments"]
            for milestone in ("1", "5", "25")
            if row[f"trip_{milestone}"] == "true"
        }
        paid = {(row["driver_id"], row["milestone"]) for row in tables["truth_claims"] if row["is_paid"] == "true"}
        claimed = {(row["driver_id"], row["milestone"]) for row in tables["truth_claims"]}
        named = {pair for pair in said if pair[0]}
        assert len(named) > 20
        assert named & claimed <= paid
        assert 0.2 < len(paid) / len(claimed) < 0.8

    def test_the_links_of_the_predecessor_are_of_known_persons_and_records(self, tables):
        persons = [row["person_key"] for row in tables["legacy_persons"]]
        assert len(set(persons)) == len(persons)
        records = {("drivers", row["driver_id"]) for row in tables["truth_drivers"]}
        records |= {("module_ct_scouting_daily", row["id"]) for row in tables["module_ct_scouting_daily"]}
        links = tables["legacy_links"]
        assert {row["person_key"] for row in links} == set(persons)
        assert {(row["source_table"], row["source_pk"]) for row in links} <= records
        rules = Counter(row["match_rule"] for row in links)
        assert set(rules) == {"R1_PHONE_EXACT", "R2_LICENSE_EXACT", "driver_direct"}
        assert 0.94 < rules["R1_PHONE_EXACT"] / len(links) < 0.99

    def test_the_links_of_the_predecessor_carry_the_key_of_their_rule(self, tables):
        persons = {row["person_key"]: row for row in tables["legacy_persons"]}
        for row in tables["legacy_links"]:
            evidence, person = json.loads(row["evidence"]), persons[row["person_key"]]
            if row["source_table"] != "drivers":
                assert re.fullmatch(r"9\d{8}", evidence["phone_normalized"])
                continue
            assert (evidence["driver_id"], evidence["created_by"]) == (row["source_pk"], "process_drivers")
            if row["match_rule"] == "R1_PHONE_EXACT":
                assert re.fullmatch(r"9\d{8}", evidence["phone_normalized"])
                assert evidence["phone_normalized"] == person["primary_phone"]
            elif row["match_rule"] == "R2_LICENSE_EXACT":
                assert re.fullmatch(r"[A-Z]\d{8,9}", evidence["license_normalized"])
                assert evidence["license_normalized"] == person["primary_license"]

    def test_scouts_of_a_person_follow_the_ledger_rules(self, tables):
        person_of = {(row["source_table"], row["source_pk"]): row["person_id"] for row in tables["truth_leads"]}
        scouting, fleet = defaultdict(list), defaultdict(list)
        for row in tables["module_ct_scouting_daily"]:
            person = person_of["module_ct_scouting_daily", row["id"]]
            scouting[person].append((date.fromisoformat(row["registration_date"]), int(row["id"]), row["scout_id"]))
        for row in tables["module_ct_migrations"]:
            if row["scout_id"]:
                fleet[person_of["module_ct_migrations", row["id"]]].append((row["created_at"], row["scout_id"]))
        truth = {row["person_id"]: row for row in tables["truth_scouts"]}
        assert set(truth) == set(scouting) | set(fleet)
        for person, row in truth.items():
            events = sorted(scouting[person])
            distinct = {event[2] for event in events}
            conflict = len(distinct) > 1 and (events[-1][0] - events[0][0]).days <= 7
            distinct |= {event[1] for event in fleet[person]}
            assert row["scouts"].split() == sorted(distinct, key=int)
            assert row["within_7_days"] == ("true" if conflict else "false")
            if conflict:
                assert (row["rule"], row["winner"]) == ("C", "")
            elif fleet[person]:
                assert (row["rule"], row["winner"]) == ("A_FLEET", max(fleet[person])[1])
            else:
                assert (row["rule"], row["winner"]) == ("A", events[-1][2])


class Orphan:
    """One driver without a lead: its truth, what the predecessor knew of it, and the lead rows of its story."""

    def __init__(self, truth, person):
        self.driver_id, self.scenario, self.human = truth["driver_id"], truth["scenario"], truth["person_id"]
        self.repairable = truth["repairable"] == "true"
        self.repaired_by = (truth["source_table"], truth["source_pk"])
        self.person_key = person["person_key"]
        self.phone, self.licence = person["primary_phone"], person["primary_license"]
        self.words = words(person["primary_full_name"])


def words(name):
    letters = unicodedata.normalize("NFD", name.replace("-", " ").upper())
    return {word for word in re.sub("[^A-Z ]", "", letters).split() if word not in ("DE", "DEL", "LA", "LOS")}


def mobile(raw):
    digits = re.sub(r"\D", "", raw)[-9:]
    return digits if re.fullmatch(r"9\d{8}", digits) and digits != "999999999" else None


def plain_licence(raw):
    return re.sub("[^A-Z0-9]", "", raw.upper())


@pytest.fixture(scope="module")
def orphans(tables):
    persons = {row["person_key"]: row for row in tables["legacy_persons"]}
    person_of = {
        row["source_pk"]: row["person_key"] for row in tables["legacy_links"] if row["source_table"] == "drivers"
    }
    return [Orphan(row, persons[person_of[row["driver_id"]]]) for row in tables["truth_orphans"]]


@pytest.fixture(scope="module")
def registrations(tables):
    """Registrations by the story that wrote them."""
    scenario = {
        row["source_pk"]: row["scenario"]
        for row in tables["truth_leads"]
        if row["source_table"] == "module_ct_scouting_daily"
    }
    told = defaultdict(list)
    for row in tables["module_ct_scouting_daily"]:
        told[scenario[row["id"]]].append(row)
    return told


class TestOrphans:
    def named(self, orphans, scenario):
        found = [orphan for orphan in orphans if orphan.scenario == scenario]
        assert found
        return found

    def test_they_are_the_driver_links_whose_person_has_no_lead_link(self, tables):
        links = tables["legacy_links"]
        with_lead = {row["person_key"] for row in links if row["source_table"] != "drivers"}
        without = [
            row["source_pk"] for row in links if row["source_table"] == "drivers" and row["person_key"] not in with_lead
        ]
        assert sorted(row["driver_id"] for row in tables["truth_orphans"]) == sorted(without)

    def test_they_are_few_and_about_half_of_them_have_evidence(self, orphans):
        assert 0.015 < len(orphans) / 10_000 < 0.02
        assert 0.4 < sum(orphan.repairable for orphan in orphans) / len(orphans) < 0.6

    def test_the_human_is_the_one_of_the_account(self, tables, orphans):
        person_of = {row["driver_id"]: row["person_id"] for row in tables["truth_drivers"]}
        assert {orphan.driver_id: orphan.human for orphan in orphans} == {
            orphan.driver_id: person_of[orphan.driver_id] for orphan in orphans
        }

    def test_the_record_that_repairs_one_is_a_lead_of_the_same_human_and_the_rest_have_none(self, tables, orphans):
        human_of = {(row["source_table"], row["source_pk"]): row["person_id"] for row in tables["truth_leads"]}
        for orphan in orphans:
            if orphan.repairable:
                assert human_of[orphan.repaired_by] == orphan.human
            else:
                assert orphan.repaired_by == ("", "")

    def test_the_record_that_repairs_one_names_the_driver_or_carries_a_key_and_a_word_of_the_name(
        self, tables, orphans
    ):
        migrations = {row["id"]: row for row in tables["module_ct_migrations"]}
        scouting = {row["id"]: row for row in tables["module_ct_scouting_daily"]}
        named = defaultdict(set)
        for orphan in orphans:
            table, source_pk = orphan.repaired_by
            if table == "module_ct_migrations":
                named[orphan.person_key].add(orphan.driver_id)
                assert migrations[source_pk]["driver_id"].strip().lower() in named[orphan.person_key]
            elif table:
                row = scouting[source_pk]
                by_phone = mobile(row["driver_phone"]) == orphan.phone
                by_licence = plain_licence(row["driver_license"]) == orphan.licence
                assert words(row["driver_name"]) & orphan.words
                assert (by_phone, by_licence) == {
                    "orphan_with_phone_in_scouting": (True, False),
                    "orphan_with_both_keys_in_scouting": (True, True),
                }.get(orphan.scenario, (False, True))

    def test_two_of_three_repairable_ones_have_left_the_feed(self, tables, orphans):
        feed = {row["driver_id"] for row in tables["drivers"]}
        left = [orphan.driver_id not in feed for orphan in orphans if orphan.repairable]
        assert 0.55 < sum(left) / len(left) < 0.8
        for scenario in ("licence", "phone", "both_keys"):
            found = {o.driver_id in feed for o in self.named(orphans, f"orphan_with_{scenario}_in_scouting")}
            assert found == {True, False}
        assert {o.driver_id in feed for o in self.named(orphans, "orphan_with_migration")} == {True, False}

    def test_no_lead_row_carries_a_key_or_the_account_of_one_without_evidence(self, tables, orphans):
        phones = {mobile(row["driver_phone"]) for row in tables["module_ct_scouting_daily"]}
        phones |= {mobile(row["park_phone"]) for row in tables["module_ct_cabinet_leads"]}
        licences = {plain_licence(row["driver_license"]) for row in tables["module_ct_scouting_daily"]}
        accounts = {row["driver_id"].strip().lower() for row in tables["module_ct_migrations"]}
        for scenario in ("orphan_without_evidence", "orphan_from_before_the_leads", "orphan_with_junk_evidence"):
            for orphan in self.named(orphans, scenario):
                assert orphan.phone not in phones
                assert orphan.licence not in licences
                assert orphan.driver_id not in accounts

    def test_two_accounts_of_one_person_are_both_repaired_by_the_migration_of_one(self, tables, orphans):
        accounts = defaultdict(list)
        for orphan in self.named(orphans, "orphan_with_two_accounts"):
            accounts[orphan.person_key].append(orphan)
        migrated = {row["driver_id"].strip().lower() for row in tables["module_ct_migrations"]}
        for pair in accounts.values():
            assert len(pair) == 2
            assert len({(orphan.human, orphan.repaired_by) for orphan in pair}) == 1
            assert [orphan.driver_id in migrated for orphan in pair].count(True) == 1

    def test_the_relative_whose_phone_was_given_is_a_driver_of_quite_another_name(self, tables, orphans):
        drivers = defaultdict(list)
        for row in tables["drivers"]:
            drivers[mobile(row["phone"])].append(row["full_name"])
        scouting = {row["id"]: row for row in tables["module_ct_scouting_daily"]}
        for orphan in self.named(orphans, "orphan_with_phone_of_a_relative"):
            [relative] = drivers[mobile(scouting[orphan.repaired_by[1]]["driver_phone"])]
            assert not words(relative) & orphan.words

    def test_evidence_of_another_person_is_a_record_with_their_keys_that_history_gave_away(
        self, tables, orphans, registrations
    ):
        taken = {
            row["source_pk"]: row["person_key"] for row in tables["legacy_links"] if row["source_table"] != "drivers"
        }
        rows_of = {mobile(row["driver_phone"]): row for row in registrations["orphan_with_evidence_of_another"]}
        for orphan in self.named(orphans, "orphan_with_evidence_of_another"):
            row = rows_of[orphan.phone]
            assert plain_licence(row["driver_license"]) == orphan.licence
            assert taken[row["id"]] != orphan.person_key

    def test_the_stranger_with_the_phone_shares_no_word_of_the_name(self, orphans, registrations):
        rows_of = {mobile(row["driver_phone"]): row for row in registrations["orphan_with_phone_of_a_stranger"]}
        for orphan in self.named(orphans, "orphan_with_phone_of_a_stranger"):
            row = rows_of[orphan.phone]
            assert len(words(row["driver_name"])) > 1
            assert not words(row["driver_name"]) & orphan.words
            assert plain_licence(row["driver_license"]) != orphan.licence

    def test_a_shared_phone_is_on_the_registration_and_on_a_driver_of_another_name(
        self, tables, orphans, registrations
    ):
        drivers = {mobile(row["phone"]): row["full_name"] for row in tables["drivers"]}
        phones = {mobile(row["driver_phone"]) for row in registrations["orphan_with_shared_evidence"]}
        for orphan in self.named(orphans, "orphan_with_shared_evidence"):
            assert orphan.phone in phones
            assert not words(drivers[orphan.phone]) & orphan.words

    def test_a_listed_placeholder_is_the_licence_of_several_strangers_too(self, orphans, registrations):
        uses = Counter(plain_licence(row["driver_license"]) for row in registrations["orphan_with_listed_junk_licence"])
        found = self.named(orphans, "orphan_with_listed_junk_licence")
        assert all(re.fullmatch("X|DRIVERDRAFT[0-9a-f]{32}", orphan.licence) for orphan in found)
        assert all(uses[orphan.licence.upper()] >= 3 for orphan in found)

    def test_an_unlisted_placeholder_is_nobodys_own_and_ever_more_share_it_up_to_a_limit(self, tmp_path):
        with DemoFiles(tmp_path, 1_000_000, 1) as files:
            invented = World(1_000_000, 1, files)
            [junk] = [story for story in STORIES if story.name == "orphan_with_unlisted_junk_licence"]
            for _time in range(junk.weight * 90):
                junk.tell(invented, junk.name)
        orphans = Counter(row["primary_license"] for row in rows(tmp_path, "legacy_persons"))
        leads = Counter(plain_licence(row["driver_license"]) for row in rows(tmp_path, "module_ct_scouting_daily"))
        assert set(orphans.values()) == {300, 120}
        assert {licence: count * 4 for licence, count in orphans.items()} == {
            licence: count * 6 for licence, count in leads.items()
        }
        assert all(re.fullmatch(r"[A-Z]\d{8}", licence) for licence in orphans)
        assert rows(tmp_path, "drivers") == []
        assert {row["repairable"] for row in rows(tmp_path, "truth_orphans")} == {"false"}

    def test_no_real_licence_is_one_of_the_unlisted_placeholders(self, tmp_path):
        with DemoFiles(tmp_path, 10, 1) as files:
            invented = World(10, 1, files)
            invented._licences = Scrambled(10**8, 1, 12_345_677)
            assert [invented.new_licence()[1:9] for _time in range(2)] == ["12345679", "12345680"]


class TestStoriesAndDirt:
    def test_every_story_is_told(self, tables):
        told = {row["scenario"] for table in ("truth_leads", "truth_orphans") for row in tables[table]}
        assert told == {story.name for story in STORIES} - {"driver_without_lead"}
        with_lead = {row["driver_id"] for row in tables["truth_leads"]}
        assert sum(row["driver_id"] not in with_lead for row in tables["drivers"]) > 2_000

    def test_a_story_writes_exactly_the_leads_it_announces(self, tmp_path):
        with DemoFiles(tmp_path, 100_000, 1) as files:
            invented = World(100_000, 1, files)
            for story in STORIES * 3:
                before = invented.leads_written
                story.tell(invented, story.name)
                assert invented.leads_written - before == story.leads, story.name

    def test_about_a_quarter_of_the_leads_never_became_a_driver(self, tables):
        without = sum(not row["driver_id"] for row in tables["truth_leads"])
        assert 0.24 < without / 10_000 < 0.31

    def test_most_cabinet_leads_lack_the_phone_and_some_their_external_id_or_date(self, tables):
        leads = tables["module_ct_cabinet_leads"]
        assert 0.5 < sum(not row["park_phone"] for row in leads) / len(leads) < 0.75
        assert 5 < sum(not row["lead_created_at"] for row in leads) < 50
        assert 100 < sum(not row["external_id"] for row in leads) < 300

    def test_null_and_the_empty_external_id_are_both_there(self, world):
        text = (world / "module_ct_cabinet_leads.csv").read_text(encoding="utf-8")
        assert re.search(r'^\d+,"",', text, re.MULTILINE)
        assert re.search(r"^\d+,,", text, re.MULTILINE)

    @pytest.mark.parametrize(
        ("table", "column", "patterns"),
        [
            ("module_ct_scouting_daily", "driver_license", ["X", "-", "SIN DATOS", r"DRIVERDRAFT[0-9a-f]{32}", r"q \d{8}"]),
            ("module_ct_scouting_daily", "driver_phone", [r"9\d{8}", r"519\d{8}", r"9\d\d \d{3} \d{3}", "999999999", "000000000"]),
            ("module_ct_scouting_daily", "driver_name", ["TEST", r"\S+(  | )\S+.*", r".*[áéíóúñ].*", r"\S+ \S+"]),
            ("module_ct_cabinet_leads", "asset_plate_number", [r"[a-z0-9]{6}", r"\S{3}-\d{3}", r"\S{3}\.\d{3}", r"\S{3} \d{3}"]),
            ("drivers", "phone", [r"519\d{8}", r"\+519\d{8}", r"9\d\d-\d{3}-\d{3}", r"9\d\d\.\d{3}\.\d{3}", r"\(01\).*", ""]),
            ("drivers", "full_name", [r".*(de la Cruz|DE LA CRUZ).*", ".*Ñ.*", ""]),
            ("summary_daily", "date_file", [r"\d\d-\d\d-\d{4}", r"\d{4}-\d\d-\d\d"]),
        ],
    )  # fmt: skip
    def test_the_dirt_of_the_field_is_there(self, tables, table, column, patterns):
        values = {row[column] for row in tables[table]}
        assert [p for p in patterns if not any(re.fullmatch(p, value) for value in values)] == []

    def test_trips_are_driven_on_the_last_day_of_the_window_and_the_first_after_it(self, tables):
        created = {lead_key(row): row["lead_created_at"][:10] for row in tables["module_ct_cabinet_leads"]}
        starts = defaultdict(set)
        for row in tables["truth_leads"]:
            if row["source_table"] == "module_ct_cabinet_leads" and row["driver_id"] and created[row["source_pk"]]:
                starts[row["driver_id"]].add(date.fromisoformat(created[row["source_pk"]]))
        offsets = Counter(
            (day - start).days
            for row in tables["summary_daily"]
            if (day := day_of(row["date_file"]))
            for start in starts[row["driver_id"]]
        )
        assert offsets[13] > 50
        assert offsets[14] > 50

    def test_some_days_are_none(self, tables):
        without = [row["date_file"] for row in tables["summary_daily"] if day_of(row["date_file"]) is None]
        assert 20 < len(without) < 200
        assert len(set(without)) == 5

    def test_some_payments_say_otherwise_than_an_earlier_list(self, tables):
        told = defaultdict(list)
        for row in tables["module_ct_cabinet_payments"]:
            told[row["driver"]].append((row["date"], row["trip_1"]))
        flips = Counter(tuple(flag for _day, flag in sorted(rows)) for rows in told.values())
        assert flips["false", "true"] > 5
        assert flips["true", "false"] > 5

    def test_the_name_of_a_payment_may_be_that_of_several_drivers(self, tables):
        bearers = Counter(frozenset(words(row["full_name"])) for row in tables["drivers"])
        ambiguous = [
            row for row in tables["module_ct_cabinet_payments"] if bearers[frozenset(words(row["driver"]))] > 1
        ]
        assert len(ambiguous) > 5

    def test_one_person_may_be_sent_twice_by_the_cabinet(self, tables):
        sent = Counter(
            row["driver_id"] for row in tables["truth_leads"] if row["source_table"] == "module_ct_cabinet_leads"
        )
        del sent[""]
        assert sum(count > 1 for count in sent.values()) > 20

    def test_namesakes_occur(self, tables):
        person_of = {row["driver_id"]: row["person_id"] for row in tables["truth_drivers"]}
        bearers = defaultdict(set)
        for row in tables["drivers"]:
            bearers[f"{row['last_name']} {row['first_name']} {row['middle_name']}"].add(person_of[row["driver_id"]])
        assert sum(len(persons) > 1 for persons in bearers.values()) > 20

    def test_a_phone_alone_misleads_and_a_family_and_a_fleet_share_one(self, tables):
        person_of = {row["driver_id"]: row["person_id"] for row in tables["truth_drivers"]}
        owners = defaultdict(set)
        for row in tables["drivers"]:
            digits = re.sub(r"\D", "", row["phone"])[-9:]
            if len(digits) == 9 and digits[0] == "9" and digits != "999999999":
                owners[digits].add(person_of[row["driver_id"]])
        sizes = Counter(len(persons) for persons in owners.values())
        assert sizes[2] > 20
        assert sum(count for size, count in sizes.items() if size > 3) > 3
        truth = {
            row["source_pk"]: row for row in tables["truth_leads"] if row["source_table"] == "module_ct_scouting_daily"
        }
        wrong = 0
        for row in tables["module_ct_scouting_daily"]:
            persons = owners.get(re.sub(r"\D", "", row["driver_phone"])[-9:], set())
            wrong += len(persons) == 1 and truth[row["id"]]["person_id"] not in persons
        assert wrong > 10

    def test_the_short_name_of_a_twin_is_not_decidable_and_the_complete_one_is(self, tables):
        twins = [row["linkable"] for row in tables["truth_leads"] if row["scenario"] == "ambiguous_twins"]
        assert Counter(twins) == {"true": len(twins) // 2, "false": len(twins) // 2}

    def test_rows_without_any_usable_key_or_date_are_not_linkable(self, tables):
        hopeless = ("no_usable_key", "junk_record", "missing_lead_date", "orphan_with_junk_evidence")
        found = [row["linkable"] for row in tables["truth_leads"] if row["scenario"] in hopeless]
        assert set(found) == {"false"}

    @pytest.mark.parametrize(
        ("one", "other", "alike"),
        [
            (["Juan"], ["José"], False),
            (["Ángel", "Ñahui"], ["angel"], True),
            (["Fernando"], ["Fernanda"], True),
            (["Rojas"], ["Roja"], False),
            (["Flores"], ["Floores"], True),
            (["de la Cruz"], ["de los Ríos"], True),
            (["Mario"], ["Marcos"], False),
        ],
    )
    def test_names_are_alike_by_a_word_or_a_long_word_with_one_letter_changed(self, one, other, alike):
        assert names_are_alike(one, other) is alike
        assert names_are_alike(other, one) is alike


@pytest.mark.slow
class TestMemory:
    def test_memory_does_not_grow_with_the_number_of_leads(self, tmp_path):
        def peak(leads):
            tracemalloc.start()
            try:
                generate(leads=leads, seed=3, directory=tmp_path)
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

        generate(leads=3_000, seed=3, directory=tmp_path)  # fills the caches, which are bounded
        assert peak(3_000) < peak(1_000) + 100_000  # 50 bytes kept per lead would be too many


class TestInterrupted:
    def test_a_failed_generation_leaves_the_complete_set_before_it_untouched(self, tmp_path):
        generate(leads=50, seed=1, directory=tmp_path)
        before = digest(tmp_path)
        with pytest.raises(RuntimeError), DemoFiles(tmp_path, 60, 2) as files:
            files.write("truth_drivers", ("a", "b"))
            raise RuntimeError
        assert digest(tmp_path) == before

    @pytest.mark.faults
    def test_a_killed_generation_does_not_look_complete_and_the_next_one_cleans_up(self, tmp_path):
        code = "import sys; from pathlib import Path; from identity.demo import generate; "
        code += "generate(leads=1_000_000, seed=1, directory=Path(sys.argv[1]))"
        process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=settings.BASE_DIR)
        try:
            partial = tmp_path / "drivers.csv.partial"
            while not (partial.exists() and partial.stat().st_size > 100_000):
                assert process.poll() is None
                time.sleep(0.02)
        finally:
            process.kill()
            process.wait()
        assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".partial")] == []
        generate(leads=20, seed=1, directory=tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*(f"{t}.csv" for t in COLUMNS), MANIFEST])


class TestCommand:
    def run(self, *arguments):
        out, err = StringIO(), StringIO()
        call_command("generate_demo_data", *arguments, stdout=out, stderr=err)
        return out.getvalue(), err.getvalue()

    def test_it_prints_the_rows_per_file_to_stderr_and_nothing_to_stdout(self, tmp_path):
        out, err = self.run("--leads", "40", "--out", str(tmp_path / "new" / "folder"))
        assert out == ""
        assert re.search(r"truth_leads +40\n", err)

    def test_json_is_one_line_on_stdout(self, tmp_path):
        out, _err = self.run("--leads", "40", "--seed", "9", "--out", str(tmp_path), "--json")
        assert out.count("\n") == 1
        result = json.loads(out)
        assert (result["leads"], result["seed"], result["rows"]["truth_leads"]) == (40, 9, 40)

    def test_other_files_in_the_directory_stay(self, tmp_path):
        other = tmp_path / "notes.txt"
        other.write_text("mine", encoding="utf-8")
        self.run("--leads", "5", "--out", str(tmp_path))
        assert other.read_text(encoding="utf-8") == "mine"

    @pytest.mark.parametrize("leads", ["0", "-1", "1000001"])
    def test_a_number_of_leads_out_of_range_is_refused(self, tmp_path, leads):
        with pytest.raises(CommandError, match="--leads"):
            self.run(f"--leads={leads}", "--out", str(tmp_path / "x"))
        assert not (tmp_path / "x").exists()

    def test_a_negative_seed_is_refused(self, tmp_path):
        with pytest.raises(CommandError, match="--seed"):
            self.run("--seed=-1", "--out", str(tmp_path))

    def test_text_as_number_is_refused(self, tmp_path):
        with pytest.raises(CommandError, match="ten"):
            self.run("--leads", "ten", "--out", str(tmp_path))

    def test_a_directory_that_cannot_be_made_is_refused_with_its_name(self, tmp_path):
        Path(tmp_path / "file").write_text("", encoding="utf-8")
        for directory in (tmp_path / "file", tmp_path / "file" / "below"):
            with pytest.raises(CommandError, match="file"):
                self.run("--leads", "5", "--out", str(directory))

    def test_a_directory_that_holds_a_folder_of_that_name_is_refused_and_not_left_half_written(self, tmp_path):
        (tmp_path / "drivers.csv.partial").mkdir()
        with pytest.raises(CommandError, match=re.escape(tmp_path.name)):
            self.run("--leads", "5", "--out", str(tmp_path))
        assert [path.name for path in tmp_path.iterdir()] == ["drivers.csv.partial"]
