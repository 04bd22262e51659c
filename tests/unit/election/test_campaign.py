"""Every transition of a candidate in the election: no thread, no server, no time that passes."""

import datetime as dt
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover.election.campaign import (
    PROBE_AGAIN_S,
    PROBE_EVERY_S,
    REPORT_EVERY_S,
    Action,
    Campaign,
    Rival,
    Role,
)
from cutover.election.lease import LeaseView
from cutover.types import HolderId, Side

LEASE_S, RENEW_S, NOW = 15.0, 5.0, 1_000.0
ME, OTHER = HolderId("me"), HolderId("other")


def campaign(role: Role = Role.CAMPAIGNING, **fields: object) -> Campaign:
    """A candidate to whom nothing is due for a while."""
    quiet = {"report_at_s": NOW + 60, "renew_at_s": NOW + 60, "attempt_at_s": NOW + 60}
    return Campaign(Side.CODE, LEASE_S, RENEW_S, role=role, **(quiet | fields))


def held_by(holder: str = OTHER, side: Side = Side.CODE, remaining_s: float = 10.0, client_id: int = 7) -> LeaseView:
    return LeaseView(HolderId(holder), side, dt.timedelta(seconds=remaining_s), client_id)


RIVAL = Rival(OTHER, 7, NOW + 10.0)

S, C, U, L, D = Role.STANDBY, Role.CAMPAIGNING, Role.UNCERTAIN, Role.LEADING, Role.STEPPING_DOWN

ROLES = [
    # what happens                                            from each role, to which
    ("its loop campaigns", Campaign.campaign, {S: C, C: C, U: U, L: L, D: U}),
    ("its loop withdraws", Campaign.withdraw, {S: S, C: S, U: D, L: D, D: D}),
    ("it asks for the lease", Campaign.asked, {S: S, C: U, U: U, L: L, D: D}),
    ("it was given the lease", lambda c: c.elected(NOW), {S: S, C: C, U: L, L: L, D: D}),
    ("another has the lease", lambda c: c.not_elected(held_by(), NOW), {S: S, C: C, U: C, L: L, D: S}),
    ("it has renewed", lambda c: c.renewed(NOW), {S: S, C: C, U: U, L: L, D: D}),
    ("it has lost the lease", Campaign.lost, {S: S, C: C, U: U, L: D, D: D}),
    ("it has released the lease", Campaign.released, {S: S, C: C, U: C, L: L, D: S}),
    ("it reports", lambda c: c.reporting(NOW), {S: S, C: C, U: U, L: L, D: D}),
    ("its report shows itself", lambda c: c.reported(held_by(ME), ME, NOW), {S: S, C: C, U: U, L: L, D: D}),
    ("its report shows nobody", lambda c: c.reported(None, ME, NOW), {S: S, C: C, U: U, L: L, D: D}),
    ("its report shows another", lambda c: c.reported(held_by(), ME, NOW), {S: S, C: C, U: U, L: D, D: D}),
    ("switched to the other side", lambda c: c.switched(to_own_side=False), {S: S, C: S, U: D, L: L, D: D}),
    ("switched to its own side", lambda c: c.switched(to_own_side=True), {S: C, C: C, U: U, L: L, D: U}),
    ("somebody has released", Campaign.woken, {S: S, C: C, U: U, L: L, D: D}),
    ("it is connected again", Campaign.connected, {S: S, C: C, U: U, L: L, D: D}),
    ("a heartbeat came", lambda c: c.check_heartbeat(NOW, NOW - 1), {S: S, C: C, U: U, L: L, D: D}),
    ("none for a whole lease", lambda c: c.check_heartbeat(NOW, NOW - LEASE_S), {S: S, C: C, U: U, L: D, D: D}),
]


@pytest.mark.parametrize(("transition", "roles"), [row[1:] for row in ROLES], ids=[row[0] for row in ROLES])
@pytest.mark.parametrize("role", Role)
def test_roles(transition, roles, role):
    assert transition(campaign(role)).role is roles[role]


ACTIONS = [
    # role, what is due, what it does
    (S, {}, Action.WAIT),
    (S, {"report_at_s": NOW}, Action.REPORT),
    (S, {"attempt_at_s": 0.0, "renew_at_s": 0.0}, Action.WAIT),
    (C, {}, Action.WAIT),
    (C, {"attempt_at_s": NOW}, Action.ATTEMPT),
    (C, {"attempt_at_s": NOW, "report_at_s": NOW}, Action.REPORT),
    (C, {"attempt_at_s": NOW, "is_stalled": True}, Action.WAIT),
    (L, {}, Action.WAIT),
    (L, {"attempt_at_s": 0.0}, Action.WAIT),
    (L, {"renew_at_s": NOW, "report_at_s": NOW}, Action.RENEW),
    (L, {"report_at_s": NOW}, Action.REPORT),
    (U, {"report_at_s": NOW}, Action.RELEASE),
    (D, {"report_at_s": NOW}, Action.RELEASE),
]


@pytest.mark.parametrize(("role", "due", "action"), ACTIONS)
def test_the_most_urgent_comes_first(role, due, action):
    assert campaign(role, **due).action(NOW) is action


WAITS = [
    (S, {"report_at_s": NOW + 3}, 3.0),
    (S, {"report_at_s": NOW - 3}, 0.0),
    (C, {"attempt_at_s": NOW + 2, "report_at_s": NOW + 3}, 2.0),
    (C, {"attempt_at_s": NOW + 2, "report_at_s": NOW + 3, "is_stalled": True}, 3.0),
    (L, {"renew_at_s": NOW + 4}, 4.0),
    (L, {}, LEASE_S - 1.0),  # until the last heartbeat, a second ago, is one lease old
]


@pytest.mark.parametrize(("role", "due", "wait_s"), WAITS)
def test_it_waits_until_the_next_thing_is_due(role, due, wait_s):
    assert campaign(role, **due).wait_s(NOW, heartbeat_s=NOW - 1.0) == wait_s


# --- times ------------------------------------------------------------------------------------------------------------


def test_a_new_connection_makes_everything_due():
    assert campaign(L).connected().action(NOW) is Action.RENEW


def test_an_elected_leader_renews_in_time_and_reports_at_once():
    elected = campaign(U, rival=RIVAL).elected(NOW)
    assert (elected.renew_at_s, elected.report_at_s, elected.rival) == (NOW + RENEW_S, 0.0, None)


def test_leaders_report_as_often_as_they_renew_and_standbys_less_often():
    assert campaign(L).reporting(NOW).report_at_s == NOW + RENEW_S
    assert campaign(C).reporting(NOW).report_at_s == NOW + REPORT_EVERY_S


@pytest.mark.parametrize(
    ("role", "change"),
    [
        (S, Campaign.campaign),
        (L, Campaign.withdraw),
        (C, Campaign.changed),
        (C, lambda c: c.check_heartbeat(NOW, NOW - LEASE_S)),
        (L, lambda c: c.check_heartbeat(NOW, NOW - LEASE_S)),
    ],
    ids=["it campaigns", "it withdraws", "it has other things to say", "its loop is stalled", "so is a leader's"],
)
def test_what_changes_while_a_report_is_under_way_is_reported_at_once(role, change):
    assert change(campaign(role).reporting(NOW)).reported(held_by(ME), ME, NOW).report_at_s == 0.0


def test_a_stall_and_its_end_are_reported_at_once_and_no_other_heartbeat():
    stalled = campaign(C).check_heartbeat(NOW, NOW - LEASE_S)
    assert (stalled.is_stalled, stalled.report_at_s) == (True, 0.0)
    still = stalled.reporting(NOW).check_heartbeat(NOW + 1, NOW - LEASE_S)
    assert (still.is_stalled, still.report_at_s) == (True, NOW + REPORT_EVERY_S)
    over = still.check_heartbeat(NOW + 1, NOW + 1)
    assert (over.is_stalled, over.report_at_s) == (False, 0.0)
    assert over.reporting(NOW + 1).check_heartbeat(NOW + 2, NOW + 1).report_at_s == NOW + 1 + REPORT_EVERY_S


@pytest.mark.parametrize("view", [None, held_by(side=Side.DATABASE)], ids=["free", "the other side's"])
def test_a_report_that_shows_a_lease_that_may_be_taken_is_followed_by_an_attempt(view):
    after = campaign(C, rival=RIVAL).reported(view, ME, NOW)
    assert (after.action(NOW), after.leads_elsewhere(NOW)) == (Action.ATTEMPT, False)


def test_a_lease_that_has_run_out_is_nobodys():
    seen = campaign(C).reported(held_by(remaining_s=3.0), ME, NOW)
    assert seen.leads_elsewhere(NOW + 2.9)
    assert not seen.leads_elsewhere(NOW + 3.0)


def test_being_woken_means_an_attempt_at_once():
    after = campaign(C, rival=RIVAL).woken()
    assert (after.action(NOW), after.leads_elsewhere(NOW)) == (Action.ATTEMPT, False)


def test_a_change_of_mind_is_reported_at_once_and_none_changes_nothing():
    assert campaign(S).campaign().report_at_s == 0.0
    assert campaign(L).withdraw().report_at_s == 0.0
    same = campaign(C)
    assert same.campaign() is same


# --- the dead and the slow --------------------------------------------------------------------------------------------


def test_a_rival_that_is_connected_is_asked_for_again_later_and_its_lease_waited_for():
    after = campaign(C, rival=replace(RIVAL, times_missing=1)).rival_is_connected(NOW)
    assert (after.attempt_at_s, after.dead_rival) == (NOW + PROBE_EVERY_S, None)
    assert campaign(C, rival=replace(RIVAL, until_s=NOW + 0.1)).rival_is_connected(NOW).attempt_at_s == NOW + 0.1


def test_a_rival_that_is_missing_twice_in_a_row_is_dead():
    once = campaign(C, rival=RIVAL).rival_is_missing()
    assert once.dead_rival is None
    asked_again = once.asked().not_elected(held_by(), NOW)
    assert asked_again.attempt_at_s == NOW + PROBE_AGAIN_S
    assert asked_again.rival_is_missing().dead_rival == (OTHER, 7)


def test_a_rival_that_has_reconnected_in_between_is_not_dead():
    once = campaign(C, rival=RIVAL).rival_is_missing()
    elsewhere = once.asked().not_elected(held_by(client_id=8), NOW)
    assert elsewhere.rival_is_missing().dead_rival is None


def test_a_rival_that_was_seen_in_between_is_not_dead():
    seen = campaign(C, rival=RIVAL).rival_is_missing().rival_is_connected(NOW)
    assert seen.rival_is_missing().dead_rival is None


# --- all of it --------------------------------------------------------------------------------------------------------

TRANSITIONS = st.lists(st.sampled_from([row[1] for row in ROLES]), max_size=30)


@given(TRANSITIONS)
def test_whatever_happens_a_lease_that_may_be_ones_own_is_kept_or_released(transitions):
    """The server's side of it: acquired with the answer, given up with the release. Nobody else holds it meanwhile."""
    state, mine = campaign(S), False
    for transition in transitions:
        if transition is ROLES[3][1]:
            state, mine = state.asked(), mine or state.role in (C, U)
            state = transition(state) if mine else state
        elif transition is Campaign.released:
            state, mine = (transition(state), False) if state.action(NOW) is Action.RELEASE else (state, mine)
        elif transition in (Campaign.lost, ROLES[11][1], ROLES[4][1]):
            continue  # another cannot hold what is one's own
        else:
            state = transition(state)
        assert not mine or state.role in (L, U, D), "or it would lie there until it runs out"


@pytest.mark.parametrize("role", [L, C])
def test_an_idle_candidate_sends_less_than_two_commands_a_second(role):
    """Each action but to wait is one command; but a report of who does not campaign asks for its connection, too."""
    now_s, commands, candidate = NOW, 0, campaign(role, report_at_s=NOW, renew_at_s=NOW, attempt_at_s=NOW)
    while now_s < NOW + 60:
        action = candidate.action(now_s)
        if action is Action.WAIT:
            now_s += max(0.001, candidate.wait_s(now_s, now_s))
            continue
        commands += 2 if action is Action.REPORT and role is not C else 1
        if action is Action.RENEW:
            candidate = candidate.renewed(now_s)
        elif action is Action.REPORT:
            candidate = candidate.reporting(now_s).reported(held_by(ME if role is L else OTHER), ME, now_s)
        else:
            candidate = candidate.rival_is_connected(now_s)
    assert commands / 60 < (0.7 if role is L else 2)
