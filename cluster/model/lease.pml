/* The lease of one node, who watches it, and the fence of the table. Spin looks at all orders of their steps.
 *
 * The owner renews its lease and commits. The watcher polls the table, declares the owner dead once its beat stood still for a lease, and takes
 * over what it owned. The table is a row and a lock. Time is counted in fifths of a lease; `tick` lets it go on.
 *
 * What must hold is in the assertions:
 *   - after somebody has taken over, the owner commits nothing;
 *   - when the owner is declared dead, its own lease isn't good;
 *   - an owner that can renew whenever the table answers isn't declared dead, however long the table doesn't answer;
 *   - with ENDS, where time ends and the owner may be stopped for ever: the watcher never waits for ever. Spin finds that as an invalid
 *     end state.
 *
 * With one of these macros the protocol is broken on purpose, and Spin must find it:
 *   NO_FENCE       a commit doesn't ask the table whether its node is dead
 *   NO_LOCK        declaring the owner dead doesn't wait for a commit under way
 *   NO_BEAT        declaring the owner dead doesn't compare the beat
 *   NO_BREAKS      a watcher goes on counting after polls that weren't answered
 *   SPANS          a commit holds its lock until its node has heard of it (with ENDS)
 *   FROM_ANSWER    a lease is counted from the answer to its renewal, not from before it was asked for
 */

#ifdef ENDS
/* Who waits for whom doesn't depend on times, so these are as short as they can be. */
#define LEASE 1
#define GOOD 1
#define UNBROKEN 1
#define OLD 1
#else
#define LEASE 5     /* after which others may declare the owner dead */
#define GOOD 4      /* until when an owner counts its own lease as good */
#define UNBROKEN 2  /* the longest time between two answers to the watcher */
#define OLD 6       /* longer than any of these: no time is counted further */
#endif

/* The table. */
bool up = true;         /* whether it answers */
bool dead = false;      /* whether the owner's row is dead */
byte commits = 0;       /* commits under way, which hold the lock of the owner's epoch */
bool taken = false;     /* whether the watcher has taken over */

/* Ages, in fifths of a lease. */
byte lease = 0;         /* of the last renewal that the owner knows of */
byte asked = 0;         /* of the renewal that is under way */
byte seen = 0;          /* of the beat that the watcher has seen */
byte answered = 0;      /* of the last answer to the watcher */

bool runs = true;       /* whether the owner isn't stopped */
bool was_stopped = false; /* whether it was, since it has renewed last */
bool has_renewed = true; /* whether it has renewed since the last tick */
bool renews = false;    /* whether a renewal is under way */

/* Beats are compared only, so they needn't be numbers. */
bool is_same = true;    /* whether the beat that the watcher has seen is still the owner's */
bool is_read_new = true; /* whether the beat that its last poll has read is still the owner's */

/* Whether time has ended. */
#ifdef ENDS
bool is_over = false;
#else
#define is_over false
#endif

#define is_good (lease < GOOD)
#define older(age) age = (age < OLD -> age + 1 : OLD)

/* Time goes on, but not while the owner could renew and hasn't: it does so five times in a lease. */
active proctype tick()
{
    do
    :: atomic { !is_over && (dead || !up || !runs || has_renewed) ->
        older(lease); older(asked); older(seen); older(answered);
        has_renewed = false }
    :: is_over -> break
    od
}

#ifdef ENDS
/* Without outages, which have nothing to do with locks and multiply the states. */
active proctype end()
{
    is_over = true
}
#else
/* The table stops to answer, and answers again. It answers at least as long as it takes to renew once. */
active proctype outages()
{
    do
    :: atomic { up && (has_renewed || dead || !runs) -> up = false }
    :: atomic { !up -> up = true }
    od
}
#endif

/* The owner is stopped, and goes on. Its requests are on their way nevertheless. */
active proctype stops()
{
    do
    :: atomic { !is_over && runs -> runs = false; was_stopped = true }
    :: atomic { !is_over && !runs -> runs = true }
    :: is_over -> break
    od
}

/* The owner renews. The answer may be lost, or come late. */
active proctype renewal()
{
end_renewal:
    do
    :: atomic { runs && !renews -> renews = true; asked = 0 };
end_asked:
        if
        :: atomic { up && !dead ->
            /* The beat is raised. */
            is_same = false; is_read_new = false };
end_answered:
            if
            :: atomic { runs ->
#ifdef FROM_ANSWER
                lease = 0;
#else
                lease = (asked < lease -> asked : lease);
#endif
                if
                :: asked == 0 -> has_renewed = true; was_stopped = false
                :: else  /* so old that it has to renew again at once */
                fi;
                renews = false }
            :: atomic { runs && asked > 0 -> renews = false }  /* too late, or lost */
            fi
        :: atomic { !up && runs -> renews = false }
        :: atomic { dead && runs -> break }
        fi
    od
}

/* The owner looks at its lease, and commits. It may be stopped in between. */
active proctype owner()
{
end_owner:
    do
    :: atomic { runs && is_good && !dead -> skip };
end_sent:
        if
        :: atomic { up -> commits++ };
            if
#ifdef NO_FENCE
            :: true ->
#else
            :: dead -> atomic { commits--; goto refused }
            :: !dead ->
#endif
#ifdef SPANS
end_under_way:
                atomic { runs -> assert(!taken); commits-- }
#else
                atomic { assert(!taken); commits-- }
#endif
            fi
        :: !up
        fi
    :: dead -> break
    od;
refused:
    skip
}

/* The watcher polls, and declares the owner dead. */
active proctype watcher()
{
    byte seen_then;
    bool is_seen;

    do
    :: seen_then = seen;
        if
        :: atomic { up -> is_seen = is_same; is_read_new = true };
            atomic {
                if
#ifdef NO_BREAKS
                :: !is_seen ->
#else
                :: !is_seen || answered > UNBROKEN ->
#endif
                    is_same = is_read_new; seen = 0; seen_then = 0
                :: else
                fi;
                answered = 0
            };
            if
            :: seen_then >= LEASE ->
                if
#ifdef NO_LOCK
                :: atomic { up ->
#else
                :: atomic { up && commits == 0 ->
#endif
                    if
#ifdef NO_BEAT
                    :: true ->
#else
                    :: is_same ->
#endif
#ifndef ENDS
                        assert(!is_good);
                        assert(was_stopped);
#endif
                        dead = true
                    :: else
                    fi }
                :: !up
                fi
            :: else
            fi
        :: !up -> answered = OLD
        fi;
        if
        :: dead -> taken = true; break
        :: else
        fi
    od
}
