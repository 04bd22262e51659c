/* The protocol of cutover as a state machine, for an exhaustive check by Spin. docs/model.md says what it covers.

   Two beats of each side, two slots, two workers. One step here, a d_step, is what is atomic in the code: one script in
   Redis, one transaction in the database, one message handed over or taken. Anything may happen between two steps, so
   a paused process is simply one that takes none. There are no clocks: what may run out may do so at any moment. The
   words are those of the design: fence, epoch, side, lease, term, claim, publish, confirm, sweep, run guard.

   What must hold:
     once        a slot is claimed at most once                                                  asserted in insert
     in order    no claim is admitted under an old epoch after one under a newer                 asserted in insert
     one run     no slot is run again, be it while its run goes on or after it has ended         asserted in begin
     still       nothing is claimed or replayed while everything is paused                       asserted in insert
     to the end  when nothing can step any more every slot has its row, no claim waits to be     asserted in Judge
                 confirmed, and what was claimed has been run; but not where a worker died
                 half-way whose task acknowledges early. What an operator has asked for, and
                 every slot of an entry of which each counts, has been run, never given up
   and there is no cycle, so that a time when nothing can step any more does come.

   Each of these takes a safeguard away, or a part of one, and must lead to harm:
     -DNO_FENCE  -DNO_UNIQUE  -DNO_GUARD  -DNO_SWEEP
     -DNO_SECOND_SWEEP   a leader does not sweep after a transaction that gave no answer
     -DNO_END            a run is taken over without asking, in the same update, whether it has ended
     -DNO_ACKS_LATE      so is the run of a task that acknowledges early, whose end nobody records
     -DNO_RESEND         what a worker took off the queue and never started is not sent once more
     -DNO_PAUSE          a pause is known to the loop alone, which may have looked before it
     -DNO_KEPT           what a pause keeps from being published is not swept once it has ended
     -DNO_ATTEMPT        a start that was committed without an answer is not known again by its mark
     -DNO_ORDER          of an entry whose every slot counts a later slot may be claimed before an earlier one
     -DNO_EVERY          the sweep gives up a claim of such an entry once a later one is there
     -DNO_MISSED         what is not missed is replayed too
     -DNO_REPLAY_PAUSE   what was asked for is replayed under a pause
     -DNO_REPLAY_SWEEP   the sweep gives up what is replayed once a later slot is there

   All that beats do to workers is to publish; all that workers do to beats is to record a slot that nobody claimed. So
   the two can be checked apart, with more faults than together:
     -DBEATS_ONLY        a message that was published counts as run, one without the lease as recorded
     -DWORKERS_ONLY      slots are published by themselves, once or twice, at any time */

/* --- how much may go wrong, three at most of each kind ------------------------------------------------------------ */

#ifndef LOST            /* leases lost (evicted, run out, failed over) or taken on a stale reading of the fence */
#define LOST 0
#endif
#ifndef CRASHES         /* beats killed at any point; each is started again */
#define CRASHES 0
#endif
#ifndef SWITCHES        /* switches of side; the second one is the rollback */
#define SWITCHES 0
#endif
#ifndef REFUSALS        /* publications that fail, whether or not the broker has the message */
#define REFUSALS 0
#endif
#ifndef BLIPS           /* a beat's transactions without an answer, whether or not they were committed */
#define BLIPS 0
#endif
#ifndef DEATHS          /* workers killed at any point, or ended between two tasks; each is started again */
#define DEATHS 0
#endif
#ifndef REDELIVERIES    /* messages that the broker delivers again while they are not acknowledged */
#define REDELIVERIES 0
#endif
#ifndef STRAYS          /* messages of a beat that knows no lease */
#define STRAYS 0
#endif

#ifndef PAUSES          /* pauses of everything, by the operator; each of them ends */
#define PAUSES 0
#endif

#ifndef DOUBTS          /* starts of a run without an answer, whether or not they were committed; one at most */
#define DOUBTS 0
#endif

#ifndef REPLAYS         /* how often the operator asks for a slot that was missed */
#define REPLAYS 0
#endif

/* Each slot has an entry of its own. With -DONE_ENTRY both are of one, and slot 1, the later, supersedes slot 0; with
   -DEVERY besides every slot of that entry counts: they are claimed oldest first, and none is given up. */

#ifndef LATE            /* the slots whose task acknowledges late, as bits: only slot 1's */
#define LATE 2
#endif

/* --- what there is ------------------------------------------------------------------------------------------------ */

#define NOBODY      4
#define side_of(b)  ((b) / 2)       /* beats 0 and 1 are of the code side, 2 and 3 of the database side */
#define bit_of(s)   (1 << (s))
#define late(s)     ((LATE >> (s)) & 1)

#ifdef WORKERS_ONLY
#define BEATS       0
#else
#define BEATS       4
#endif
#ifdef BEATS_ONLY
#define WORKERS     0
#define MOST        1
#else
#define WORKERS     2
#define MOST        2               /* further copies of a message show nothing that two do not */
#endif

#define STAND_BY    0               /* what a beat's loop is at */
#define LEAD        1
#define SWEEP       2               /* it has read which claims are stuck */
#define HAND_OVER   3               /* it has slots to publish, then to confirm */

#define NO_ROW      0               /* how far a slot has come in the ledger */
#define CLAIMED     1
#define PUBLISHED   2
#define MISSED      3

#define IDLE        0               /* what a worker is at */
#define START       1               /* it has taken a message and asks the guard */
#define READ        2               /* the run had been started already; it will read by whom */
#define WATCH       3               /* it has read that, and that the run had not ended */
#define RESUME      4               /* it has seen that the other worker is gone */
#define RUN         5
#define ACKNOWLEDGE 6               /* the end is recorded, the message not yet acknowledged */
#define RECORD      7               /* it has seen that the slot has no row */

#define DOUBTFUL    7

#define NOT_RUN     0               /* how far a slot's task really has come */
#define RUNNING     1
#define ENDED       2
#define HALF        3               /* its worker died half-way */

typedef Beat {
    unsigned doing : 2;
    bool holds;                     /* its elector believes to hold the lease */
    unsigned term : 3;              /* the epoch under which it leads, 0 for none */
    bool must_sweep;
    bool blocked;                   /* the sweep comes before any further claim */
    unsigned hopeless : 1;          /* slots to give up, to publish, and to confirm, as bits */
    unsigned hand : 2;
    unsigned sent : 2
}

typedef Slot {
    unsigned row : 2;               /* the database: the claim, */
    unsigned run_by : 3;            /* the mark of the worker that runs it: its number + 1, above 2 for a dead one, */
                                    /* DOUBTFUL for a start that got no answer */
    bool run_ended;                 /* and the end of the run */
    unsigned fresh : 2;             /* the broker: its messages, */
    unsigned again : 2;             /* those that come again apart, */
    unsigned tried : 2;             /* and one that was put off because its start got no answer, 2 if it had come again */
#if REPLAYS
    bool wanted;                    /* the operator has asked for it, after it had been missed; */
    bool promised;                  /* for the assertions: that was said at some time */
#endif
    unsigned task : 2;              /* for the assertions: how far its task has come, */
    bool excused                    /* and whether a worker died with its message that had been acknowledged early */
}

typedef Worker {
    unsigned doing : 3;
    unsigned slot : 1;
    bool is_again;                  /* its message has come again */
    bool is_tried;                  /* its message is the one whose start got no answer */
    unsigned seen : 3               /* whose mark it has read */
}

Beat beat[4];
Slot slot[2];
Worker worker[2];

unsigned holder : 3 = NOBODY;       /* Redis: the lease, */
bool untold;                        /* and whether it has still to hear of a switch */
unsigned epoch : 3;                 /* the database: the fence */
unsigned side : 1;
unsigned newest : 3;                /* for the assertions: the newest epoch under which a claim was admitted */

unsigned lost : 2 = LOST;           /* what may still go wrong */
unsigned crashes : 2 = CRASHES;
unsigned switches : 2 = SWITCHES;
unsigned refusals : 2 = REFUSALS;
unsigned blips : 2 = BLIPS;
unsigned deaths : 2 = DEATHS;
unsigned redeliveries : 2 = REDELIVERIES;
unsigned doubts : 1 = DOUBTS;
unsigned strays : 2 = STRAYS;
#if REPLAYS
unsigned replays : 2 = REPLAYS;
#endif
unsigned pauses : 2 = PAUSES;
bool paused;                        /* the database: beside the fence */

hidden byte i, j, t, top, found;    /* scratch of one step */

/* --- states that differ in nothing that matters are made one, after every step ------------------------------------ */

/* Only the order of epochs counts: those of present terms are numbered from 1, without a gap. */
inline renumber_epochs() {
    t = 0;                                          /* terms so far */
    top = 1;                                        /* one more than there are terms older than the newest claim */
    found = 0;
    for (i : 1 .. epoch) {
        found = 0;
        for (j : 0 .. 3) {
            if
            :: beat[j].term == i && !found -> found = 1; t++; beat[j].term = t
            :: else
            fi
        }
        if
        :: found && i < newest -> top++
        :: else
        fi
    }
    epoch = (found -> t : t + 1);
    newest = top
}

#define exchange(x, y)      t = x; x = y; y = t

#define key_of_beat(b)      (beat[b].doing + 4 * beat[b].holds + 8 * beat[b].term + 64 * beat[b].must_sweep \
    + 128 * beat[b].blocked + 256 * beat[b].hopeless + 512 * beat[b].hand + 2048 * beat[b].sent \
    + 8192 * (holder == b))

/* The beats of a side differ in nothing but their numbers. */
inline order_beats(a, b) {
    if
    :: key_of_beat(a) < key_of_beat(b) ->
        printf("(beats %d and %d exchange their numbers)\n", a, b);
        exchange(beat[a].doing, beat[b].doing);
        exchange(beat[a].holds, beat[b].holds);
        exchange(beat[a].term, beat[b].term);
        exchange(beat[a].must_sweep, beat[b].must_sweep);
        exchange(beat[a].blocked, beat[b].blocked);
        exchange(beat[a].hopeless, beat[b].hopeless);
        exchange(beat[a].hand, beat[b].hand);
        exchange(beat[a].sent, beat[b].sent);
        if
        :: holder == a -> holder = b
        :: holder == b -> holder = a
        :: else
        fi
    :: else
    fi
}

#define key_of_worker(w)    (worker[w].doing + 8 * worker[w].slot + 16 * worker[w].is_again + 32 * worker[w].seen \
    + 256 * (slot[0].run_by == w + 1) + 512 * (slot[1].run_by == w + 1) + 1024 * worker[w].is_tried)
#define other_mark(m)       ((m) == 1 -> 2 : ((m) == 2 -> 1 : m))

/* Nor do the workers. */
inline order_workers() {
    if
    :: key_of_worker(0) < key_of_worker(1) ->
        printf("(the workers exchange their numbers)\n");
        exchange(worker[0].doing, worker[1].doing);
        exchange(worker[0].slot, worker[1].slot);
        exchange(worker[0].is_again, worker[1].is_again);
        exchange(worker[0].is_tried, worker[1].is_tried);
        exchange(worker[0].seen, worker[1].seen);
        for (i : 0 .. 1) {
            slot[i].run_by = other_mark(slot[i].run_by);
            worker[i].seen = other_mark(worker[i].seen)
        }
    :: else
    fi
}

inline tidy() {
    d_step {
#ifndef WORKERS_ONLY
        renumber_epochs();
        order_beats(0, 1);
        order_beats(2, 3);
#endif
#ifndef BEATS_ONLY
        order_workers();
#endif
        i = 0; j = 0; t = 0; top = 0; found = 0
    }
}

/* --- a beat ------------------------------------------------------------------------------------------------------- */

#ifdef NO_FENCE
#define admits(b)   true
#else
#define admits(b)   (epoch == beat[b].term && side == side_of(b))
#endif

/* Pauses.read_locked, under the fence. What is refused writes nothing, and is claimed when the pause has ended. */
#ifdef NO_PAUSE
#define is_refused  false
#else
#define is_refused  paused
#endif

#ifdef NO_UNIQUE
#define is_new(s)   true
#else
#define is_new(s)   (slot[s].row == NO_ROW)
#endif

#ifdef NO_SWEEP
#define sweep_soon(b)   skip
#else
#define sweep_soon(b)   beat[b].must_sweep = true; beat[b].blocked = true
#endif

/* Candidate._lay_down. The elector gives the lease back in a step of its own; what was sent is confirmed even later. */
inline lay_down(b) {
    beat[b].doing = STAND_BY;
    beat[b].holds = false;
    beat[b].term = 0;
    beat[b].must_sweep = false;
    beat[b].blocked = false;
    beat[b].hopeless = 0;
    beat[b].hand = 0
}

/* Fence.open_term, by Candidate._take_office. */
inline open_term(b) {
    if
    :: side == side_of(b) ->
        printf("beat %d opens a term\n", b);
        epoch++;
        beat[b].term = epoch;
        beat[b].doing = LEAD;
        sweep_soon(b)
    :: else ->
        printf("beat %d is refused a term\n", b);
        lay_down(b)
    fi
}

/* One row of Ledger._insert. */
inline insert(b, s) {
    printf("beat %d claims slot %d\n", b, s);
    assert(slot[s].row == NO_ROW);                              /* once */
    assert(beat[b].term >= newest);                             /* in order */
    assert(!paused);                                            /* still */
    newest = beat[b].term;
    slot[s].row = CLAIMED;
    beat[b].hand = beat[b].hand | bit_of(s)
}

/* Ledger.claim, by Dispatcher.send: the fence is read under its lock, and all that is due is inserted in one commit. */
inline claim(b, due) {
    if
    :: admits(b) ->
        beat[b].doing = HAND_OVER;
        if
        :: (due & 1) && is_new(0) -> insert(b, 0)
        :: else
        fi;
        if
        :: (due & 2) && is_new(1) -> insert(b, 1)
        :: else
        fi;
#if defined(ONE_ENTRY) && !defined(EVERY)
        if
        :: (due & 2) && slot[0].row == NO_ROW -> slot[0].row = MISSED       /* a later slot is sent in its stead */
        :: else
        fi
#endif
    :: else ->
        printf("beat %d is fenced\n", b);
        lay_down(b)
    fi
}

/* Which slots may be due together. That a claim finds its row there already changes nothing, and is left out. */
#if defined(EVERY) && defined(NO_ORDER)
#define is_due(due) ((!(due & 1) || (is_new(0) && slot[1].row == NO_ROW)) && (!(due & 2) || is_new(1)))
#elif defined(EVERY)
#define is_due(due) ((!(due & 1) || is_new(0)) && (!(due & 2) || (is_new(1) && ((due & 1) || slot[0].row != NO_ROW))))
#elif defined(ONE_ENTRY)
#define is_due(due) ((due == 1 && is_new(0) && slot[1].row == NO_ROW) || (due == 2 && is_new(1)))
#else
#define is_due(due) ((!(due & 1) || is_new(0)) && (!(due & 2) || is_new(1)))
#endif

#if REPLAYS
/* Refused under a pause as every claim is; what was asked for stays so. */
#ifdef NO_REPLAY_PAUSE
#define may_claim_again(b)  (beat[b].doing == LEAD && !beat[b].blocked)
#else
#define may_claim_again(b)  may_claim(b)
#endif
#ifdef NO_MISSED
#define may_replay(b, s)    (may_claim_again(b) && slot[s].wanted && slot[s].row != NO_ROW)
#else
#define may_replay(b, s)    (may_claim_again(b) && slot[s].wanted && slot[s].row == MISSED && slot[s].run_by == 0)
#endif

/* Replays.claim: the fence is read under its lock, and what was missed and is wanted becomes a claim again. */
inline replay(b, s) {
    if
    :: admits(b) ->
        printf("beat %d replays slot %d\n", b, s);
        assert(slot[s].row == MISSED);                          /* once */
        assert(!paused);                                        /* still */
        assert(beat[b].term >= newest);                         /* in order */
        newest = beat[b].term;
        slot[s].row = CLAIMED;
        beat[b].hand = beat[b].hand | bit_of(s);
        beat[b].doing = HAND_OVER
    :: else ->
        printf("beat %d is fenced\n", b);
        lay_down(b)
    fi
}
#endif

/* What the sweep never gives up, though a later slot of its entry is there. */
#if defined(EVERY) && !defined(NO_EVERY)
#define is_kept(s)  true
#elif REPLAYS && !defined(NO_REPLAY_SWEEP)
#define is_kept(s)  (slot[s].wanted)
#else
#define is_kept(s)  false
#endif

/* Ledger.unpublished, by Dispatcher.sweep: read without the fence. */
inline read_stuck(b) {
    printf("beat %d looks for stuck claims\n", b);
    beat[b].must_sweep = false;
    beat[b].blocked = false;
    for (i : 0 .. 1) {
        if
        :: slot[i].row == CLAIMED -> beat[b].hand = beat[b].hand | bit_of(i)
        :: else
        fi
    }
#ifdef ONE_ENTRY
    if
    :: (beat[b].hand & 1) && slot[1].row != NO_ROW && !is_kept(0) ->        /* superseded */
        beat[b].hand = beat[b].hand & 2;
        beat[b].hopeless = 1
    :: else
    fi;
#endif
    if
    :: beat[b].hand | beat[b].hopeless -> beat[b].doing = SWEEP
    :: else
    fi
}

/* Ledger.give_up, by Dispatcher.sweep: under the fence. */
inline give_up(b) {
    if
    :: admits(b) ->
        printf("beat %d sweeps\n", b);
        if
        :: beat[b].hopeless && slot[0].row == CLAIMED ->
            slot[0].row = MISSED;
#if REPLAYS
            slot[0].wanted = false
#endif
        :: else
        fi;
        beat[b].hopeless = 0;
        beat[b].doing = HAND_OVER
    :: else ->
        printf("beat %d is fenced\n", b);
        lay_down(b)
    fi
}

/* The broker has one message more. */
inline deliver(s) {
    if
    :: slot[s].fresh < MOST -> slot[s].fresh++
    :: else
    fi
}

#define next_in_hand(b) (beat[b].hand & 1 -> 0 : 1)

/* One message of Dispatcher._hand_over. */
inline publish(b) {
    i = next_in_hand(b);
    printf("beat %d publishes slot %d\n", b, i);
    beat[b].hand = beat[b].hand & (3 - bit_of(i));
    beat[b].sent = beat[b].sent | bit_of(i);
    deliver(i)
}

/* Publisher.publish asks the fence: what was claimed before a pause is kept, and swept after it. A message that is on
   its way already still leaves. */
inline keep_back(b) {
    printf("beat %d keeps back what is paused\n", b);
    beat[b].hand = 0;
#ifndef NO_KEPT
    beat[b].must_sweep = true
#endif
}

/* Dispatcher._not_published. The broker's fault ends the round, and nothing is claimed until it is swept; one of the
   entry's own holds up no other. */
inline fail_to_publish(b, is_taken, is_own_fault) {
    refusals--;
    i = next_in_hand(b);
    printf("beat %d hears that it could not publish slot %d\n", b, i);
    if
    :: is_taken -> deliver(i)
    :: else
    fi;
    if
    :: is_own_fault ->
        beat[b].hand = beat[b].hand & (3 - bit_of(i));
#ifndef NO_SWEEP
        beat[b].must_sweep = true
#endif
    :: else ->
        beat[b].hand = 0;
        sweep_soon(b)
    fi
}

/* Ledger.confirm: true whoever leads by now. */
inline confirm(b) {
    printf("beat %d confirms\n", b);
    for (i : 0 .. 1) {
        if
        :: (beat[b].sent & bit_of(i)) && slot[i].row == CLAIMED -> slot[i].row = PUBLISHED
        :: else
        fi
    }
    beat[b].sent = 0;
    beat[b].doing = LEAD
}

/* Candidate._database_lost: the term goes on, and begins again with a sweep. */
inline no_answer(b) {
    blips--;
    printf("beat %d has no answer from the database\n", b);
    beat[b].hopeless = 0;
    beat[b].hand = 0;
    if
    :: beat[b].doing != STAND_BY ->
        beat[b].doing = LEAD;
#ifndef NO_SECOND_SWEEP
        sweep_soon(b)
#endif
    :: else
    fi
}

#define may_claim(b)    (beat[b].doing == LEAD && !beat[b].blocked && !is_refused)
#define may_publish(b)  (beat[b].doing == HAND_OVER && beat[b].hand)
/* After a round; and before a sweep, what could not be confirmed after its round. */
#define may_confirm(b)  ((beat[b].doing == HAND_OVER && !beat[b].hand) \
    || (beat[b].doing == LEAD && beat[b].must_sweep && beat[b].sent))

/* One beat: the thread of its elector, and its loop. */
active [BEATS] proctype Candidate() {
end:
    do
    :: atomic {
        if
        /* Elector, lua/acquire: the lease is free, one's own, or the other side's. */
        :: d_step {
            !beat[_pid].holds && side == side_of(_pid) &&
                (holder == NOBODY || holder == _pid || side_of(holder) != side_of(_pid)) ->
            printf("beat %d takes the lease\n", _pid);
            holder = _pid;
            beat[_pid].holds = true }
#if LOST && SWITCHES
        /* The same, after a switch that it has not heard of: its reading of the fence is stale. */
        :: d_step {
            lost && switches < SWITCHES &&
                !beat[_pid].holds && side != side_of(_pid) && (holder == NOBODY || side_of(holder) != side_of(_pid)) ->
            printf("beat %d takes the lease on a stale reading\n", _pid);
            lost--;
            holder = _pid;
            beat[_pid].holds = true }
#endif
        /* Elector, lua/renew: the server had lost it, or it is another's. */
        :: d_step {
            beat[_pid].holds && holder == NOBODY ->
            printf("beat %d puts the lease back\n", _pid);
            holder = _pid }
        :: d_step {
            beat[_pid].holds && holder != _pid && holder != NOBODY ->
            printf("beat %d hears that the lease is another's\n", _pid);
            beat[_pid].holds = false }
        /* Elector, lua/release: it is no longer wanted. */
        :: d_step {
            !beat[_pid].holds && holder == _pid ->
            printf("beat %d gives the lease back\n", _pid);
            holder = NOBODY }

        /* Candidate._stand_by, and the head of Candidate._lead. */
        :: d_step { beat[_pid].doing == STAND_BY && beat[_pid].holds -> open_term(_pid) }
        :: d_step {
            beat[_pid].doing == LEAD && (!beat[_pid].holds || epoch != beat[_pid].term) ->
            printf("beat %d lays down its office\n", _pid);
            lay_down(_pid) }
        /* Candidate._send: the sweep first, then what is due. */
        :: d_step { beat[_pid].doing == LEAD && beat[_pid].must_sweep && !beat[_pid].sent && !paused -> read_stuck(_pid) }
        :: d_step { beat[_pid].doing == SWEEP -> give_up(_pid) }
        :: d_step { may_claim(_pid) && is_due(1) -> claim(_pid, 1) }
        :: d_step { may_claim(_pid) && is_due(2) -> claim(_pid, 2) }
#if REPLAYS
        :: d_step { may_replay(_pid, 0) -> replay(_pid, 0) }
#endif
#if !defined(ONE_ENTRY) || defined(EVERY)
        :: d_step { may_claim(_pid) && is_due(3) -> claim(_pid, 3) }
#endif
        :: d_step { may_publish(_pid) -> publish(_pid) }
#if PAUSES
        :: d_step { paused && may_publish(_pid) -> keep_back(_pid) }
#endif
        :: d_step { may_confirm(_pid) -> confirm(_pid) }
#if REFUSALS
        :: d_step { refusals && may_publish(_pid) -> fail_to_publish(_pid, false, false) }
        :: d_step { refusals && may_publish(_pid) -> fail_to_publish(_pid, true, false) }
        :: d_step { refusals && may_publish(_pid) -> fail_to_publish(_pid, false, true) }
#endif
#if BLIPS
        /* Committed, and no answer. */
        :: d_step {
            blips && beat[_pid].doing == STAND_BY && beat[_pid].holds && side == side_of(_pid) ->
            epoch++;
            no_answer(_pid) }
        :: d_step { blips && beat[_pid].doing == SWEEP && admits(_pid) -> give_up(_pid); no_answer(_pid) }
        :: d_step { blips && may_claim(_pid) && is_due(1) && admits(_pid) -> claim(_pid, 1); no_answer(_pid) }
        :: d_step { blips && may_claim(_pid) && is_due(2) && admits(_pid) -> claim(_pid, 2); no_answer(_pid) }
#if REPLAYS
        :: d_step { blips && may_replay(_pid, 0) && admits(_pid) -> replay(_pid, 0); no_answer(_pid) }
#endif
#if !defined(ONE_ENTRY) || defined(EVERY)
        :: d_step { blips && may_claim(_pid) && is_due(3) && admits(_pid) -> claim(_pid, 3); no_answer(_pid) }
#endif
        :: d_step { blips && may_confirm(_pid) && beat[_pid].sent -> confirm(_pid); no_answer(_pid) }
        /* Not committed, or not read. */
        :: d_step { blips && beat[_pid].doing != STAND_BY && !may_publish(_pid) -> no_answer(_pid) }
#endif
        fi;
        tidy() }
    od
}

/* --- a worker ----------------------------------------------------------------------------------------------------- */

#define is_gone(m)      (m > 2)
#define has_changed(w)  (slot[worker[w].slot].run_by != worker[w].seen || slot[worker[w].slot].run_ended)
/* A message that is with a worker and not acknowledged. */
#define keeps(w, s)     (worker[w].slot == s && (worker[w].doing == START || worker[w].doing == RECORD \
    || (worker[w].doing != IDLE && late(s))))

inline go_idle(w) {
    worker[w].doing = IDLE;
    worker[w].slot = 0;
    worker[w].is_again = false;
    worker[w].is_tried = false;
    worker[w].seen = 0
}

inline take(w, s, has_come_again) {
    printf("worker %d takes a message of slot %d\n", w, s);
    worker[w].doing = START;
    worker[w].slot = s;
    worker[w].is_again = has_come_again
}

inline come_again(s) {
    if
    :: slot[s].again < MOST -> slot[s].again++
    :: else
    fi
}

/* guard._put_off: the same message once more. */
inline put_off(w) {
    i = worker[w].slot;
    printf("worker %d puts a message of slot %d off\n", w, i);
    come_again(i);
    go_idle(w)
}

inline drop(w) {
    printf("worker %d drops a message of slot %d\n", w, worker[w].slot);
    go_idle(w)
}

/* The task's own code. That of a late one may begin again when its worker has died half-way. */
inline begin(w, s) {
    assert(slot[s].task == NOT_RUN || (slot[s].task == HALF && late(s)));       /* one run */
    slot[s].task = RUNNING;
#if REPLAYS
    slot[s].row = (slot[s].row == MISSED -> PUBLISHED : slot[s].row);       /* what runs was not missed */
#endif
    slot[s].run_by = w + 1;
    worker[w].doing = RUN;
    worker[w].is_again = false;
    worker[w].is_tried = false;
    worker[w].seen = 0
}

/* guard._admit, when the run had been started already. */
#ifdef NO_ACKS_LATE
#define may_resume(w, s)    (worker[w].is_again)
#else
#define may_resume(w, s)    (worker[w].is_again && late(s))
#endif

#ifdef NO_ATTEMPT
#define is_its_own(w, s)    false
#else
#define is_its_own(w, s)    (slot[s].run_by == DOUBTFUL && worker[w].is_tried)
#endif

inline refuse(w, s) {
    if
    :: is_its_own(w, s) ->
        printf("worker %d takes slot %d up, whose start got no answer\n", w, s);
        begin(w, s)
    :: !is_its_own(w, s) && may_resume(w, s) -> worker[w].doing = READ
    :: else -> drop(w)
    fi
}

/* Runs.start: one conditional update. */
inline start_run(w) {
    i = worker[w].slot;
    if
#ifdef NO_GUARD
    :: true ->
#else
    :: slot[i].run_by == 0 && slot[i].row != NO_ROW ->
#endif
        printf("worker %d starts slot %d\n", w, i);
        begin(w, i)
#ifndef NO_GUARD
    :: slot[i].row == NO_ROW -> worker[w].doing = RECORD
    :: slot[i].run_by != 0 -> refuse(w, i)
#endif
    fi
}

/* The same without an answer: the message is put off, with the mark of the start that it may have made. */
inline doubt(w, is_committed) {
    i = worker[w].slot;
    doubts--;
    printf("worker %d has no answer whether it starts slot %d: %d\n", w, i, is_committed);
    if
    :: is_committed ->
        slot[i].row = (slot[i].row == NO_ROW -> PUBLISHED : slot[i].row);
        slot[i].run_by = DOUBTFUL
    :: else
    fi;
    slot[i].tried = (worker[w].is_again -> 2 : 1);
    go_idle(w)
}

/* The rest of it: a slot without a row is recorded by its run, in an insert that one wins; else it is asked again. */
inline record_run(w) {
    i = worker[w].slot;
    if
    :: slot[i].run_by == 0 ->
        printf("worker %d starts slot %d, recording it if need be\n", w, i);
        slot[i].row = (slot[i].row == NO_ROW -> PUBLISHED : slot[i].row);
        begin(w, i)
    :: else -> refuse(w, i)
    fi
}

/* Runs.read, by guard._admit. */
inline read_run(w) {
    i = worker[w].slot;
    if
    :: slot[i].run_ended -> drop(w)
    :: else ->
        worker[w].seen = slot[i].run_by;
        worker[w].doing = WATCH
    fi
}

/* Runs.resume, one conditional update; by guard._resume. */
inline resume_run(w) {
    i = worker[w].slot;
    if
#ifdef NO_END
    :: slot[i].run_by == worker[w].seen ->
#else
    :: slot[i].run_by == worker[w].seen && !slot[i].run_ended ->
#endif
        printf("worker %d resumes slot %d\n", w, i);
        begin(w, i)
    :: else -> put_off(w)
    fi
}

/* The task returns. Runs.end, by GuardedTask.after_return: for a late task alone. */
inline end_run(w) {
    i = worker[w].slot;
    printf("worker %d ends slot %d\n", w, i);
    slot[i].task = ENDED;
    if
    :: late(i) ->
        slot[i].run_ended = true;
        worker[w].doing = ACKNOWLEDGE
    :: else -> go_idle(w)
    fi
}

#define me  (_pid - BEATS)

active [WORKERS] proctype WorkerProcess() {
end:
    do
    :: atomic {
        if
        :: d_step { worker[me].doing == IDLE && slot[0].fresh -> slot[0].fresh--; take(me, 0, false) }
        :: d_step { worker[me].doing == IDLE && slot[1].fresh -> slot[1].fresh--; take(me, 1, false) }
        :: d_step { worker[me].doing == IDLE && slot[0].again -> slot[0].again--; take(me, 0, true) }
        :: d_step { worker[me].doing == IDLE && slot[1].again -> slot[1].again--; take(me, 1, true) }
        :: d_step {
            worker[me].doing == IDLE && slot[0].tried ->
            take(me, 0, slot[0].tried == 2); slot[0].tried = 0; worker[me].is_tried = true }
        :: d_step {
            worker[me].doing == IDLE && slot[1].tried ->
            take(me, 1, slot[1].tried == 2); slot[1].tried = 0; worker[me].is_tried = true }
        :: d_step { worker[me].doing == START -> start_run(me) }
#if DOUBTS
        :: d_step { doubts && worker[me].doing == START -> doubt(me, false) }
        :: d_step { doubts && worker[me].doing == START && slot[worker[me].slot].run_by == 0 -> doubt(me, true) }
#endif
        :: d_step { worker[me].doing == RECORD -> record_run(me) }
        :: d_step { worker[me].doing == READ -> read_run(me) }
        /* Worker.is_gone. While the other is at it the message is put off and taken again. Nothing has changed then, so
           the worker may as well wait here. */
        :: d_step { worker[me].doing == WATCH && is_gone(worker[me].seen) -> worker[me].doing = RESUME }
        :: d_step { worker[me].doing == WATCH && !is_gone(worker[me].seen) && has_changed(me) -> put_off(me) }
        :: d_step { worker[me].doing == RESUME -> resume_run(me) }
        :: d_step { worker[me].doing == RUN -> end_run(me) }
        :: d_step { worker[me].doing == ACKNOWLEDGE -> go_idle(me) }
        fi;
        tidy() }
    od
}

/* --- what goes wrong, and the operator ---------------------------------------------------------------------------- */

/* A beat is killed and another takes its place. Its lease is nobody's, found so or run out. */
inline kill_beat(b) {
    printf("beat %d is killed\n", b);
    crashes--;
    lay_down(b);
    beat[b].sent = 0;
    if
    :: holder == b -> holder = NOBODY
    :: else
    fi
}

#define is_busy(b)  (beat[b].doing != STAND_BY || beat[b].holds || beat[b].sent || holder == b)

#define is_mark(m)  (slot[0].run_by == m || slot[1].run_by == m || worker[0].seen == m || worker[1].seen == m)

/* A worker is killed and another takes its place, under a mark of its own. */
inline kill_worker(w) {
    printf("worker %d is killed\n", w);
    deaths--;
    i = worker[w].slot;
    if
    :: worker[w].doing != IDLE && late(i) -> come_again(i)
    :: worker[w].doing == RUN && !late(i) -> slot[i].excused = true
    :: worker[w].is_tried -> slot[i].excused = true         /* both at once: no answer, and its message gone */
    :: else
    fi;
    if
    :: worker[w].doing == RUN -> slot[i].task = HALF
    :: else
    fi;
    t = (!is_mark(3) -> 3 : (!is_mark(4) -> 4 : (!is_mark(5) -> 5 : 6)));
    for (i : 0 .. 1) {
        slot[i].run_by = (slot[i].run_by == w + 1 -> t : slot[i].run_by);
        worker[i].seen = (worker[i].seen == w + 1 -> t : worker[i].seen)
    }
    go_idle(w)
}

/* In the beats' stead: a message, and perhaps a second one. */
inline publish_by_itself(s, again) {
    printf("slot %d is published\n", s);
    deliver(s);
    slot[s].row = (slot[s].row == NO_ROW && again -> CLAIMED : PUBLISHED)
}

/* Dispatcher.resend, at any time in which the broker has no message of the slot. A worker may have one. */
#define is_lost(s)  (slot[s].row == PUBLISHED && slot[s].run_by == 0 && !slot[s].fresh && !slot[s].again)

inline resend(s) {
    printf("slot %d is sent once more\n", s);
    deliver(s)
}

/* A beat that knows no lease sends a slot. Without workers it is recorded at once. */
inline stray(s) {
    printf("slot %d is sent without the lease\n", s);
    strays--;
    deliver(s);
#ifdef BEATS_ONLY
    slot[s].row = (slot[s].row == NO_ROW -> PUBLISHED : slot[s].row)
#endif
}

active proctype World() {
end:
    do
    :: atomic {
        if
#ifdef WORKERS_ONLY
        :: d_step { slot[0].row < PUBLISHED -> publish_by_itself(0, false) }
        :: d_step { slot[0].row < CLAIMED -> publish_by_itself(0, true) }
        :: d_step { slot[1].row < PUBLISHED -> publish_by_itself(1, false) }
        :: d_step { slot[1].row < CLAIMED -> publish_by_itself(1, true) }
#endif
#if REPLAYS
        /* Replays.ask, one transaction under the fence. */
        :: d_step {
            replays && slot[0].row == MISSED && !slot[0].wanted ->
            printf("the operator asks for slot 0\n");
            replays--;
            slot[0].wanted = true;
            slot[0].promised = true }
#endif
#if SWITCHES
        /* Fence.switch, one transaction; then lua/switch, unless the command is killed in between. */
        :: d_step {
            switches ->
            switches--;
            side = 1 - side;
            printf("the side is switched to %d\n", side);
            epoch++;
            untold = true }
        :: d_step {
            untold ->
            printf("Redis is told of the switch\n");
            untold = false;
            holder = (holder != NOBODY && side_of(holder) != side -> NOBODY : holder) }
        :: d_step { untold -> printf("Redis is not told of the switch\n"); untold = false }
#endif
#if LOST
        :: d_step { lost && holder != NOBODY -> printf("the lease is lost\n"); lost--; holder = NOBODY }
#endif
#if PAUSES
        /* Pauses.pause, Pauses.resume: a transaction under the fence each. */
        :: d_step { pauses && !paused -> printf("everything is paused\n"); pauses--; paused = true }
        :: d_step { paused -> printf("it is resumed\n"); paused = false }
#endif
#if CRASHES
        :: d_step { crashes && is_busy(0) -> kill_beat(0) }
        :: d_step { crashes && is_busy(1) -> kill_beat(1) }
        :: d_step { crashes && is_busy(2) -> kill_beat(2) }
        :: d_step { crashes && is_busy(3) -> kill_beat(3) }
#endif
#if DEATHS
        :: d_step { deaths -> kill_worker(0) }
        :: d_step { deaths -> kill_worker(1) }
#endif
#if REDELIVERIES
        :: d_step {
            redeliveries && (slot[0].fresh || slot[0].again || keeps(0, 0) || keeps(1, 0)) ->
            printf("a message of slot 0 is delivered again\n");
            redeliveries--;
            come_again(0) }
        :: d_step {
            redeliveries && (slot[1].fresh || slot[1].again || keeps(0, 1) || keeps(1, 1)) ->
            printf("a message of slot 1 is delivered again\n");
            redeliveries--;
            come_again(1) }
#endif
#ifndef NO_RESEND
        :: d_step { is_lost(0) -> resend(0) }
        :: d_step { is_lost(1) -> resend(1) }
#endif
#if STRAYS
        :: d_step { strays -> stray(0) }
        :: d_step { strays -> stray(1) }
#endif
        :: d_step {
            lost | crashes | switches | refusals | blips | deaths | redeliveries | strays | doubts | pauses ->
            printf("nothing goes wrong any more\n");
            lost = 0; crashes = 0; switches = 0; refusals = 0; blips = 0; deaths = 0; redeliveries = 0; strays = 0;
            doubts = 0; pauses = 0 }
        fi;
        tidy() }
    od
}

#ifdef BEATS_ONLY
#define is_done(s)  (slot[s].fresh)
#else
#define is_done(s)  (slot[s].task == ENDED || slot[s].excused)
#endif

/* An older slot that nobody claimed is passed over when a beat that knows no lease has sent a later one. */
#if defined(ONE_ENTRY) && STRAYS
#define is_passed_over(s)   (s == 0 && slot[0].row == NO_ROW && slot[1].row != NO_ROW)
#else
#define is_passed_over(s)   false
#endif
#if defined(EVERY)
#define is_given_up(s)      false
#elif REPLAYS
#define is_given_up(s)      ((slot[s].row == MISSED && !slot[s].promised) || is_passed_over(s))
#else
#define is_given_up(s)      (slot[s].row == MISSED || is_passed_over(s))
#endif

active proctype Judge() {
    timeout ->
    d_step {
        for (i : 0 .. 1) {
            assert(slot[i].row == PUBLISHED || is_given_up(i));         /* to the end */
            assert(is_done(i) || is_given_up(i))                        /* to the end */
        }
    }
}
