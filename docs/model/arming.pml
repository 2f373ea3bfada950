/*
 * Arming: appends that notify only if somebody sleeps, a listener that connects, arms, gives up S in a torrent, loses its
 * connection or goes deaf, and a reader that sleeps without ever polling; with STRANGER a session that takes S at any time,
 * shared or alone, or waits for it alone.
 *
 * Checked in every state in which nothing moves any more (appends may have ended, or stay open for ever):
 *   asleep_beside_an_event   a committed event that can be read is not handled, and no signal is on its way
 *
 * The reader has no fallback poll while it sleeps, so whatever it finds it finds by a signal. The writer is
 * migrations/0014_light.sql, the listener is listener/handler.go and listener.go, the prober is listener/probe.go, the
 * reader is catchup/loop.go. README.md says what is left out. A name below #ifdef breaks one thing; `make model` wants each of these
 * to fail.
 */

#ifndef WRITERS
#define WRITERS 2     /* processes that append, */
#define TURNS   1     /* transactions of each, */
#define EVENTS  1     /* and statements of each transaction, of one event each, at most */
#define FAULTS  1     /* what befalls the listener, at most */
#endif
#ifndef ACTS
#define ACTS    2     /* how often a stranger comes */
#endif
#define TOP (WRITERS * TURNS * EVENTS)

#define ANY  255      /* no low water: nobody holds K */
#define SEEN 255      /* a row that is committed */

mtype = { polling, quiet, torrent };

byte  seq;             /* last position given out */
byte  key[WRITERS];    /* K: 0 not held, else one more than the position its key holds */
byte  row[TOP + 1];    /* 0 nothing, SEEN, or one more than the writer whose transaction is open */

bool  S;               /* held by the listening session, and gone with it; */
byte  alone, shared;   /* and for a moment by writers that ask whether somebody sleeps */
bool  listens;         /* the session has executed LISTEN */
bool  shares, holds, wants; /* what a stranger has of S: shared, alone, or only the wish to have it alone */
byte  session;         /* which one */
bool  deaf;            /* what is sent to it does not arrive */
bool  queue;           /* a notification that the listener has not taken yet */

mtype mode = polling;  /* Listener.state, */
byte  armed_head;
bool  wake;            /* and the reader's Wake: one slot */
bool  waiting;         /* the reader waits for it */
byte  after;           /* where the reader has come to */

bool  cut, mute, busy; /* what the world does to the listener */
bool  asleep_beside_an_event;

#define MY_ROWS(to) for (q : 1 .. TOP) { if :: row[q] == me + 1 -> row[q] = to :: else fi } q = 0
/* A try is refused by whoever holds S, and by whoever waits for it, if the two modes exclude each other. */
#define SHAREABLE (alone == 0 && !holds && !wants)
#define FREE (!S && shared == 0 && !shares && SHAREABLE)
#define ALONE atomic { FREE -> alone = 1 } alone = 0      /* granted: nobody sleeps */
inline probe() {
	if
	:: ALONE
	:: atomic { !FREE }
#ifdef ONE_TRY
		notify = false
#else
		do
		:: atomic { !SHAREABLE -> tries++ }       /* another writer asks, or a stranger stands in the way */
#ifdef REFUSED_IS_APPEND
			atomic { tries = 0; break }
#else
			if
			:: atomic { tries == 3 -> tries = 0; notify = true; break } /* in doubt */
			:: atomic { tries < 3 }
			fi
#endif
		:: atomic { SHAREABLE -> shared++ }
			shared--;
			if
			:: ALONE; tries = 0; break
			:: atomic { !FREE -> tries = 0; notify = true; break }
			fi
		od
#endif
	fi
}

proctype writer(byte me)
{
	byte turn, low, at, to, q, tries;
	bool notify;
begin:	atomic { turn++; low = seq }                      /* the BEFORE trigger looks at the sequence, */
	atomic { key[me] = low + 1; low = 0 }             /* and takes K */
#ifdef PROBE_FIRST
	probe();
#endif
	do
	:: atomic { at < EVENTS -> at++; seq++; row[seq] = me + 1 }
#ifndef PROBE_FIRST
		probe()                                   /* the AFTER trigger asks whether somebody sleeps */
#endif
	:: atomic { at > 0 -> at = 0;
		if
		:: MY_ROWS(SEEN);                         /* commits: visible, */
			if :: notify && listens -> to = session :: else fi;
			notify = false; break
		:: MY_ROWS(0); notify = false; break      /* rolls back, which tells nobody, */
		:: goto end_open                          /* or stays open */
		fi }
	od;
	key[me] = 0;                                      /* lets go of K, */
	atomic {                                          /* and then sends what it has to tell */
		if :: to != 0 && to == session && listens && !deaf -> queue = true :: else fi;
		to = 0;
		if :: turn < TURNS -> goto begin :: goto end_done fi
	}
end_open: false;
end_done: turn = 0
}

/* hub.broadcast: the slot is there whether somebody waits or not. */
#ifdef NO_SLOT
#define BROADCAST if :: waiting -> wake = true :: else fi
#else
#define BROADCAST wake = true
#endif

#define LISTEN atomic { listens = true; session++ }
#define DROP   listens = false; S = false; deaf = false; queue = false

/* Waits for S, and not for long: a stranger may hold it for ever. */
inline take_S() {
	if
	:: atomic { SHAREABLE -> S = true }
#ifdef STRANGER
	:: atomic { holds || wants -> DROP; mode = polling; armed_head = 0; BROADCAST; head = 0; goto refused }
#endif
	fi
}

inline arm() {
#ifdef HEAD_BEFORE_S
	head = seq;
	take_S();
#else
	take_S();
	head = seq;                                       /* S first, then the head */
#endif
#ifdef LISTEN_AFTER_READ
	atomic { armed_head = head; mode = quiet; BROADCAST; head = 0 }
	if :: !listens -> LISTEN :: else fi
#else
	armed_head = head;
	atomic { mode = quiet; head = 0 }
	BROADCAST
#endif
}

active proctype listener()
{
	byte head;
connect:
#ifndef LISTEN_AFTER_READ
	LISTEN;
#endif
	arm();
end_rest: do
	:: atomic { queue -> queue = false; BROADCAST }
	:: atomic { busy -> S = false }                   /* a torrent */
		atomic { mode = torrent; armed_head = 0; BROADCAST }
		do
		:: atomic { queue -> queue = false }
		:: atomic { !busy -> break }
		od;
		arm()
	:: atomic { cut -> cut = false; DROP }            /* the connection ends, which is noticed */
#ifndef SILENT_LOSS
		atomic { mode = polling; armed_head = 0; BROADCAST }
#endif
		goto again
	:: atomic { mute && !deaf -> deaf = true; mute = false; queue = false }
#ifndef NO_PROBE
	:: atomic { deaf -> DROP; mode = polling; armed_head = 0; BROADCAST; goto again } /* a probe does not arrive */
#endif
	od;
#ifdef STRANGER
refused: do
	:: atomic { SHAREABLE -> break }                  /* until then each try ends like the last */
	:: goto away
	od;
#endif
again:	if
	:: goto connect
	:: true
	fi;
away:
end_away: false                                           /* the server does not let it listen again */
}

#ifdef STRANGER
/* It may also hold on, or wait, for ever. */
active proctype stranger()
{
	byte acts;
	do
	:: atomic { acts < ACTS && !shares && !holds && !wants && alone == 0 -> acts++; shares = true }
	:: atomic { acts < ACTS && !shares && !holds && !wants -> acts++; wants = true }
	:: atomic { wants && !S && alone == 0 && shared == 0 -> wants = false; holds = true }
	:: atomic { shares || holds || wants -> shares = false; holds = false; wants = false }
	:: atomic { acts = 0; break }
	od
}
#endif

/* What may befall the listener, or not. */
active proctype world()
{
	byte faults;
	do
	:: atomic { faults < FAULTS -> faults++; cut = true }
	:: atomic { faults < FAULTS -> faults++; mute = true }
	:: atomic { faults < FAULTS -> faults++; busy = true }
		busy = false
	:: atomic { faults = 0; break }
	od
}

active proctype reader()
{
	byte head, low, settled, horizon, q;
	bool blocked, sound, glanced;
	do
	::
		head = seq;
		if
		:: d_step {                               /* a glance: what follows without a hole, and whether that is all up to the head */
			horizon = after;
			for (q : 1 .. TOP) {
				if
				:: q == horizon + 1 && row[q] == SEEN -> horizon = q
				:: else
				fi
			}
#ifdef GLANCE_SHORT
			if :: horizon > after -> after = horizon; glanced = true :: else fi;
#else
			if :: horizon > after && horizon >= head -> after = horizon; glanced = (horizon == head) :: else fi;
#endif
			q = 0; horizon = 0
		   }
		:: true
		fi;
		if
		:: glanced -> atomic { glanced = false; head = 0 }
			goto pause                        /* no look at the locks */
		:: else -> head = seq
		fi;
		d_step {
			low = ANY;
			for (q : 0 .. WRITERS - 1) {
				if
				:: key[q] > 0 && key[q] - 1 < low -> low = key[q] - 1
				:: else
				fi
			}
			q = 0
		}
		d_step {                                  /* read, and hand out what is settled or follows without a hole */
			settled = (low < head -> low : head);
			horizon = (settled > after -> settled : after);
			for (q : 1 .. TOP) {
				if
				:: q > after && row[q] == SEEN && q - 1 > horizon -> blocked = true
				:: q > after && row[q] == SEEN && q - 1 <= horizon -> after = q; horizon = (q > horizon -> q : horizon)
				:: else
				fi
			}
			if :: settled > after -> after = settled :: else fi;
			q = 0; horizon = 0; head = 0; low = 0; settled = 0
		}
pause:		true;
		d_step {                                  /* loop.pause: how long to wait for a wake */
			sound = (mode == quiet);          /* without a push it polls in earnest */
#ifndef NO_SETTLED_CHECK
			if :: after < armed_head -> sound = false :: else fi;
#endif
#ifndef NO_BLOCKED_CHECK
			if :: blocked -> sound = false :: else fi;
#endif
			blocked = false;
			waiting = true
		}
end_asleep:	atomic { wake || !sound -> wake = false; waiting = false; sound = false }
	od
}

/* Nothing moves any more: the reader sleeps, for while it reads it moves. Everything committed has to be handled. */
active proctype judge()
{
	byte q;
end_judge: atomic {
		timeout ->
		for (q : 1 .. TOP) {
			if
			:: row[q] == SEEN && q > after -> asleep_beside_an_event = true
			:: else
			fi
		}
		assert(!asleep_beside_an_event)
	}
}

init {
	atomic {
		byte i;
		for (i : 0 .. WRITERS - 1) { run writer(i) }
		i = 0
	}
}
