"""Settings: what is wrong is said in one clear line, before anything starts."""

import datetime as dt
import os
import re
from typing import Any

import pytest

from cutover import conf
from cutover.check_ins import CheckIns
from cutover.checks import check_settings
from cutover.conf import RELEASE_VARIABLES, CatchUpRule, Config, validation
from cutover.errors import ConfigurationError
from cutover.types import CatchUp, EntryName

SECOND = dt.timedelta(seconds=1)
HOUR = dt.timedelta(hours=1)


@pytest.fixture
def loaded(settings, monkeypatch):
    """Read the given settings, on a platform that names no release."""
    for variable in RELEASE_VARIABLES:
        monkeypatch.delenv(variable, raising=False)

    def load(**values: Any) -> Config:
        settings.CUTOVER = values
        return conf.load()

    return load


def test_nothing_has_to_be_set(settings, loaded):
    assert loaded() == Config()
    del settings.CUTOVER
    assert conf.load() == Config()


def test_durations_may_be_seconds_or_timedeltas(loaded):
    config = loaded(LEASE=3, CATCH_UP_WINDOW=1.5, RETENTION=HOUR, TAKEOVER_TIMEOUT=4 * SECOND)
    assert (config.lease, config.catch_up_window, config.retention) == (3 * SECOND, 1.5 * SECOND, HOUR)
    assert config.takeover_timeout == 4 * SECOND


def test_nothing_is_sent_once_more_where_that_is_turned_off(loaded):
    assert loaded().resend_after == dt.timedelta(minutes=5)
    assert loaded(RESEND_AFTER=None).resend_after is None


def test_a_leader_renews_three_times_a_lease(loaded):
    assert loaded(LEASE=15).renew_every == 5 * SECOND


def test_the_shortest_durations_outlast_what_the_loop_and_the_network_take():
    """An idle loop sends one heartbeat a poll; a renewal, a third of a lease away, may wait for an answer in vain."""
    assert conf.LEAST_LEASE > conf.POLL_EVERY
    assert conf.LEAST_LEASE - Config(lease=conf.LEAST_LEASE).renew_every >= conf.ANSWER_TIMEOUT
    assert conf.LEAST_TAKEOVER_TIMEOUT >= conf.POLL_EVERY + conf.ANSWER_TIMEOUT
    assert conf.LEAST_RESEND_AFTER >= conf.POLL_EVERY


def test_the_shortest_durations_are_taken(loaded):
    config = loaded(LEASE=conf.LEAST_LEASE, TAKEOVER_TIMEOUT=conf.LEAST_TAKEOVER_TIMEOUT, RESEND_AFTER=2)
    assert config.lease == 3 * SECOND


def test_an_entrys_own_rule_goes_before_the_general_one(loaded):
    config = loaded(CATCH_UP="none", ENTRIES={"daily": {"CATCH_UP": "latest"}, "hourly": {"CATCH_UP_WINDOW": 60}})
    assert config.catch_up_rule(EntryName("daily")) == CatchUpRule(CatchUp.LATEST, 12 * HOUR)
    assert config.catch_up_rule(EntryName("hourly")) == CatchUpRule(CatchUp.NONE, 60 * SECOND)
    assert config.catch_up_rule(EntryName("other")) == CatchUpRule(CatchUp.NONE, 12 * HOUR)


def test_an_entrys_own_check_ins_go_before_the_general_ones(loaded):
    config = loaded(
        CHECK_INS={"PING_URL": "https://hc.example/{slug}?create=1", "SENTRY": {"max_runtime": 30}},
        ENTRIES={
            "own": {"CHECK_INS": {"PING_URL": "https://other.example/uuid", "SENTRY": True}},
            "sentry alone": {"CHECK_INS": {"PING_URL": None}},
            "none": {"CHECK_INS": None},
        },
    )
    assert config.has_check_ins
    found = {name: config.check_ins_of(EntryName(name)) for name in ("daily", "own", "sentry alone", "none")}
    assert found == {
        "daily": CheckIns("daily", "https://hc.example/daily?create=1", {"max_runtime": 30}),
        "own": CheckIns("own", "https://other.example/uuid", {}),
        "sentry alone": CheckIns("sentry-alone", "", {"max_runtime": 30}),
        "none": CheckIns("none", "", None),
    }
    assert [bool(each) for each in found.values()] == [True, True, True, False]


def test_whether_anybody_is_told_at_all(loaded):
    assert not loaded().has_check_ins
    assert not loaded(CHECK_INS={"SENTRY": False}, ENTRIES={"a": {"CHECK_INS": None}, "b": {}}).has_check_ins
    assert loaded(CHECK_INS={"SENTRY": True}).has_check_ins
    assert loaded(ENTRIES={"a": {"CHECK_INS": {"PING_URL": "http://hc.example/1"}}}).has_check_ins


def test_without_sentrys_package_it_is_said_what_to_install(loaded, monkeypatch):
    monkeypatch.setattr(validation, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="pip install sentry-sdk"):
        loaded(ENTRIES={"a": {"CHECK_INS": {"SENTRY": True}}})


@pytest.mark.parametrize("value", ["https://hc.example:key/", "hc.example/key", "https://"])
def test_no_error_shows_a_ping_url(loaded, value):
    with pytest.raises(ConfigurationError) as raised:
        loaded(CHECK_INS={"PING_URL": value})
    assert "key" not in str(raised.value)
    assert "hc.example" not in repr(loaded(ENTRIES={"a": {"CHECK_INS": {"PING_URL": "https://hc.example/key"}}}))


def test_every_slot_is_caught_up_where_that_is_said_up_to_a_bound(loaded):
    config = loaded(CATCH_UP_MOST=50, ENTRIES={"billing": {"CATCH_UP": "all", "CATCH_UP_MOST": 2_000}})
    assert config.catch_up_rule(EntryName("billing")) == CatchUpRule(CatchUp.ALL, 12 * HOUR, 2_000)
    assert config.catch_up_rule(EntryName("other")) == CatchUpRule(CatchUp.LATEST, 12 * HOUR, 50)
    assert loaded().catch_up_most == 100


@pytest.mark.parametrize("variable", RELEASE_VARIABLES)
def test_the_release_is_what_the_platform_calls_it(loaded, monkeypatch, variable):
    monkeypatch.setitem(os.environ, "GIT_REV", "of-dokku")
    monkeypatch.setitem(os.environ, variable, "r1")
    assert loaded().release in {"r1", "of-dokku"}
    assert loaded(RELEASE="own").release == "own"


def test_our_own_variable_names_the_release_before_any_platforms(loaded, monkeypatch):
    for variable in RELEASE_VARIABLES:
        monkeypatch.setenv(variable, variable)
    assert loaded().release == "CUTOVER_RELEASE"


def test_a_release_label_is_cut_to_what_the_ledger_holds(loaded, monkeypatch):
    monkeypatch.setenv("CUTOVER_RELEASE", "r" * 300)
    assert loaded().release == "r" * 100


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"LAESE": 5}, "did you mean 'LEASE'?"),
        ({"lease": 5}, "did you mean 'LEASE'?"),
        ({"CATCHUP": "latest"}, "did you mean 'CATCH_UP'?"),
        ({"XYZ": 1}, "it has APP, CATCH_UP"),
        ({5: 1}, "CUTOVER has no setting 5"),
        ({"LEASE": "15"}, "CUTOVER['LEASE'] must be a timedelta or seconds, not '15'"),
        ({"LEASE": True}, "must be a timedelta or seconds"),
        ({"LEASE": None}, "must be a timedelta or seconds"),
        ({"LEASE": float("nan")}, "must be a timedelta or seconds"),
        ({"RETENTION": float("inf")}, "must be a timedelta or seconds"),
        ({"RETENTION": 1e30}, "must be a timedelta or seconds"),
        ({"LEASE": -5}, "CUTOVER['LEASE'] must be at least 3 s, not -5 s"),
        (
            {"LEASE": 2},
            "CUTOVER['LEASE'] must be at least 3 s, not 2 s: a leader that nothing is wrong with",
        ),
        ({"LEASE": 2.99}, "(a beat's loop polls every 2 s, and waits up to 2 s for an answer of Redis)"),
        ({"CHECK_INS": "https://hc.example/secret"}, "CUTOVER['CHECK_INS'] must map PING_URL and SENTRY"),
        ({"CHECK_INS": {"PING_URLS": ""}}, "CUTOVER['CHECK_INS'] has no setting 'PING_URLS'; did you mean 'PING_URL'?"),
        ({"CHECK_INS": {"PING_URL": 5}}, "must be an http:// or https:// URL, not int"),
        ({"CHECK_INS": {"PING_URL": "hc.example/{slug}"}}, "must be an http:// or https:// URL"),
        ({"CHECK_INS": {"PING_URL": "ftp://hc.example/{slug}"}}, "must be an http:// or https:// URL"),
        ({"CHECK_INS": {"PING_URL": "https://hc.example:port/{slug}"}}, "must be an http:// or https:// URL"),
        ({"CHECK_INS": {"PING_URL": "https://hc.example/"}}, "must have {slug} in it"),
        ({"CHECK_INS": {"PING_URL": "https://hc.example/{name}/{slug}"}}, "has {name}; it may have {slug} alone"),
        ({"CHECK_INS": {"SENTRY": "yes"}}, "CUTOVER['CHECK_INS']['SENTRY'] must be a dictionary of settings"),
        ({"CHECK_INS": {"SENTRY": {"max_runtimes": 5}}}, "did you mean 'max_runtime'?"),
        ({"CHECK_INS": {"SENTRY": {"max_runtime": "5"}}}, "CUTOVER['max_runtime'] must be int, not '5'"),
        ({"ENTRIES": {"a": {"CHECK_IN": None}}}, "CUTOVER['ENTRIES']['a'] has no setting 'CHECK_IN'; did you mean"),
        ({"TAKEOVER_TIMEOUT": -1}, "CUTOVER['TAKEOVER_TIMEOUT'] must be at least 4 s, not -1 s"),
        (
            {"TAKEOVER_TIMEOUT": 3},
            "must be at least 4 s, not 3 s: no standby may have seen the switch yet",
        ),
        (
            {"RESEND_AFTER": 1.9},
            "CUTOVER['RESEND_AFTER'] must be at least 2 s, not 1.9 s: it is not looked for more often",
        ),
        ({"RESEND_AFTER": "soon"}, "CUTOVER['RESEND_AFTER'] must be a timedelta or seconds"),
        ({"CATCH_UP": "each"}, "must be 'latest', 'none' or 'all', not 'each'"),
        ({"CATCH_UP": []}, "must be 'latest', 'none' or 'all', not []"),
        ({"CATCH_UP_MOST": 0}, "CUTOVER['CATCH_UP_MOST'] must be a number of slots from 1 to 10,000, not 0"),
        ({"CATCH_UP_MOST": True}, "must be a number of slots"),
        ({"ENTRIES": {"a": {"CATCH_UP_MOST": 10_001}}}, "must be a number of slots from 1 to 10,000, not 10001"),
        ({"CATCH_UP_WINDOW": -1}, "must not be negative"),
        ({"RETENTION": HOUR}, "CUTOVER['RETENTION'] must be longer than"),
        ({"SENT_BY_BEAT_ALONE": None}, "CUTOVER['SENT_BY_BEAT_ALONE'] must be a list of task names"),
        ({"ENTRIES": {"a": {"CATCH_UP_WINDOW": dt.timedelta(days=60)}}}, "window 60 days"),
        ({"ENTRIES": {"a": {"CATCH_UP_WINDOW": -1}}}, "must not be negative"),
        ({"ENTRIES": {"a": {"CATCHUP": "none"}}}, "CUTOVER['ENTRIES']['a'] has no setting 'CATCHUP'; did you mean"),
        ({"ENTRIES": {"a": {"CATCH_UP": "never"}}}, "not 'never'"),
        ({"ENTRIES": {"a": "none"}}, "CUTOVER['ENTRIES']['a'] must be"),
        ({"ENTRIES": ["a"]}, "must map entry names"),
        (
            {"METRICS_PORT": 65536},
            "CUTOVER['METRICS_PORT'] must be a port, or map beat and worker to one each, not 65536",
        ),
        ({"METRICS_PORT": True}, "not True"),
        ({"METRICS_PORT": {"web": 1}}, "not {'web': 1}"),
        ({"METRICS_ENTRIES": -1}, "CUTOVER['METRICS_ENTRIES'] must be a number of entries, not -1"),
        ({"NAMESPACE": ""}, "CUTOVER['NAMESPACE']"),
        ({"NAMESPACE": "a b"}, "CUTOVER['NAMESPACE']"),
        ({"NAMESPACE": "{a}"}, "CUTOVER['NAMESPACE']"),
        ({"APP": None}, "CUTOVER['APP'] must be a string, not NoneType"),
        ({"DATABASE": 1}, "CUTOVER['DATABASE'] must be a string, not int"),
        ({"RUN_WITHOUT_DATABASE": "no"}, "CUTOVER['RUN_WITHOUT_DATABASE'] must be True or False, not 'no'"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_said_in_one_line(settings, values, said):
    settings.CUTOVER = values
    with pytest.raises(ConfigurationError) as raised:
        conf.load()
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "?." not in str(raised.value)
    (error,) = check_settings()
    assert (error.id, error.msg) == ("cutover.E001", str(raised.value))


@pytest.mark.parametrize("wrong", [None, [], "LEASE", 5])
def test_settings_that_are_no_dictionary_are_said_in_one_line(settings, wrong):
    settings.CUTOVER = wrong
    with pytest.raises(ConfigurationError, match=r"^CUTOVER must be a dictionary"):
        conf.load()


def test_good_settings_pass_the_system_check(settings):
    settings.CUTOVER = {"LEASE": 5}
    assert check_settings() == []


def test_one_port_is_that_of_beats_and_workers(loaded):
    assert loaded(METRICS_PORT=9464).metrics_port == {"beat": 9464, "worker": 9464}
    assert loaded(METRICS_PORT={"beat": 1}).metrics_port == {"beat": 1}


def test_metrics_without_their_package_are_said_in_one_line(loaded, monkeypatch):
    monkeypatch.setattr(validation, "find_spec", lambda name: None)
    assert loaded().metrics_port == {}
    with pytest.raises(ConfigurationError, match=r"^[^\n]*pip install 'django-cutover\[metrics\]'[^\n]*$"):
        loaded(METRICS_PORT=9464)


def test_an_entry_has_its_names_of_before_by_the_setting(loaded):
    assert loaded(RENAMED={"a": "b", "b": "c", "x": "y"}).renames.before(EntryName("c")) == ["b", "a"]


@pytest.mark.parametrize(
    ("renamed", "said"),
    [
        ({"a": "b", "b": "c", "c": "a"}, "goes round in a circle: a -> b -> c -> a"),
        ({"a": "a"}, "goes round in a circle: a -> a"),
        ({"a": "c", "b": "c"}, "gives 'a' and 'b' one name, 'c'"),
        ({"a": 1}, "must map old entry names to new ones"),
        ({"a": "b" * 201}, "of 200 characters at most"),
        (["a"], "must map old entry names to new ones"),
    ],
)
def test_names_that_lead_nowhere_are_refused(loaded, renamed, said):
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        loaded(RENAMED=renamed)
