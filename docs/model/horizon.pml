/*
 * The horizon: appends that commit in any order, a reader, saves that a crash may undo, a crash, and with STRANGER a session that
 * takes any key at any time, shared or alone, and appenders that forge the note of their key.
 *
 * Checked in every reachable state:
 *   lost      no committed event at or below the checkpoint is unhandled, nor does one ever appear there
 *   doubled   no event is handled twice in what the database holds
 *   stuck     once no append is open, and no stranger shares a key, one read finds everything that was committed
 *   kept_waiting   an append waits for a stranger
 *
 * The reader is catchup/reader.go, the writer is migrations/0014_light.sql with the transaction around it, the save is
 * catchup/sql/save.sql. README.md says what is left out. A name below #ifdef breaks one thing; `make model` wants each of
 * these to fail.
 */

#ifndef WRITERS
#define WRITERS 2    /* processes that append, */
#define TURNS   2    /* transactions of each, */
#define EVENTS  1    /* and events of each transaction, at most */
#define CRASHES 1
#endif
#ifndef READERS
#define READERS 1    /* that believe to own the partition */
#endif
#ifdef CACHED
#define TOP   (2 * WRITERS * TURNS)
#else
#define TOP   (WRITERS * TURNS * EVENTS) /* positions, at most */
#endif
#define LIMIT 2                          /* events of one read */

#define ANY  255     /* no low water: nobody holds K */
#define SEEN 255     /* a row that is committed */

byte seq;                 /* last position given out */
byte key[WRITERS];        /* K: 0 not held, else one more than the position its key holds, the lowest if there are several */
byte stranger_key;        /* the same of a stranger that shares a key */
byte row[TOP + 1];        /* 0 nothing, SEEN, or one more than the writer whose transaction is open */
byte era;                 /* the incarnation of the database */
byte over;                /* writers that have ended */

byte ckpt;                /* last_global_position */
int  handled;             /* the read model: a bit for each position, written in the transaction that moves ckpt */

byte disk_seq, disk_ckpt; /* what a crash leaves of seq, ckpt and handled: a prefix of one write-ahead log */
int  disk_handled;

bool lost, doubled, stuck, kept_waiting;

/* flush makes durable what has happened so far. A synchronous commit does, and the server before a crash or not. */
inline flush() { disk_seq = seq; disk_ckpt = ckpt; disk_handled = handled }

inline judge(q) {
	for (q : 1 .. TOP) {
		if
		:: row[q] == SEEN && q <= ckpt && !(handled & (1 << q)) -> lost = true
		:: else
		fi
	}
	q = 0;
	assert(!lost)
}

/* A crash ends every transaction, so each of its steps is preceded by this. */
#define UNLESS_CRASHED if :: era != mine -> goto ended :: else fi

#define MY_ROWS(to) for (q : 1 .. TOP) { if :: row[q] == me + 1 -> row[q] = to :: else fi } q = 0

/* A key that a stranger holds alone, or waits for alone, is refused, and the append takes one below, whichever it gets. What lies
 * below all positions is one key here. */
inline take_key() {
	wanted = low + 1; low = 0;
#ifdef STRANGER
	if :: skip :: note = 0 :: note = 1 :: note = TOP + 1 fi;           /* the appender forges its note */
#endif
	if :: note > 0 && note < wanted -> wanted = note :: else fi;       /* the key of the note, if it is a low one */
#ifdef STRANGER
#ifdef APPEND_WAITS
	if :: skip :: kept_waiting = true fi;
	assert(!kept_waiting);
#else
	do :: wanted > 1 -> wanted-- :: break od;
#endif
#endif
	note = wanted;
	if :: key[me] == 0 || wanted < key[me] -> key[me] = wanted :: else fi;
	wanted = 0
}

proctype writer(byte me)
{
	byte turn, low, mine, at, q, note, wanted;
#ifdef CACHED
	byte cached; /* by the session, which ends with the server: not to be tried with crashes */
#endif
begin:	do
	:: atomic { at < EVENTS ->                        /* the trigger of each statement looks at the sequence, */
		if :: at == 0 -> turn++; mine = era :: else -> UNLESS_CRASHED fi;
		low = seq }
#if defined(GUARD_KEPT)
		if :: turn > 1 :: else -> atomic { UNLESS_CRASHED; take_key() } fi;
#elif defined(NOTE_BELIEVED)
		atomic { UNLESS_CRASHED; if :: take_key() :: low = 0 fi } /* forged: "this transaction holds K" */
#elif !defined(KEY_AFTER_POSITION)
		atomic { UNLESS_CRASHED; take_key() }     /* takes K, */
#endif
		atomic { UNLESS_CRASHED; at++;            /* the statement takes positions, */
#ifdef CACHED
		if
		:: cached > 0 -> row[cached] = me + 1; cached = 0
		:: cached == 0 && seq + 2 <= TOP -> row[seq + 1] = me + 1; seq = seq + 2; cached = seq
		:: cached == 0 && seq + 2 > TOP -> seq++; row[seq] = me + 1
		fi
#else
		seq++; row[seq] = me + 1
#endif
		}
#ifdef CURSOR
		atomic { UNLESS_CRASHED; if :: key[me] = 0 :: skip fi } /* a cursor fails inside a savepoint, and K is gone */
#endif
	:: atomic { at > 0 -> at = 0; note = 0; break }
	od;
#ifdef KEY_AFTER_POSITION
	atomic { UNLESS_CRASHED; key[me] = low + 1; low = 0 }
#endif
#ifdef EARLY_RELEASE
	atomic { UNLESS_CRASHED; key[me] = 0 }
#endif
	atomic {
		UNLESS_CRASHED;
		if
		:: MY_ROWS(SEEN); flush(); judge(q)       /* commits: durable, then visible, */
		:: MY_ROWS(0)                             /* or rolls back, */
		fi
	}
	atomic { UNLESS_CRASHED; key[me] = 0;             /* and only then lets go of K. */
ended:		at = 0; low = 0; mine = 0; note = 0; wanted = 0;
		if
		:: turn < TURNS -> goto begin
		:: else -> turn = 0; over++
		fi
	}
}

/* The three looks of a read, in the order in which they must be taken: each is a statement with a snapshot of its own. */
inline look_at_head() { head = seq }

inline look_at_locks() {
	d_step {
		low = ANY;
#ifndef NO_LOCKS
		for (q : 0 .. WRITERS - 1) {
			if
			:: key[q] > 0 && key[q] - 1 < low -> low = key[q] - 1
			:: else
			fi
		}
#ifdef STRANGER
		if
		:: stranger_key > 0 -> calm = false; if :: stranger_key - 1 < low -> low = stranger_key - 1 :: else fi
		:: else
		fi
#endif
#endif
		q = 0
	}
}

inline read_events() {
	d_step {
		got = 0; n = 0;
		for (q : 1 .. TOP) {
			if
			:: row[q] == SEEN && q > after && n < LIMIT -> got = got | (1 << q); n++
			:: else
			fi
		}
		q = 0
	}
}

/* What of it may be handed out: what is settled, and what follows without a hole (reading.batch). */
inline hand_out() {
	d_step {
#ifdef NO_READ
		settled = 0; got = 0;
#else
		settled = (low < head -> low : head);
#endif
		horizon = (settled > after -> settled : after);
		to = after; n = 0; last = 0;
		for (q : 1 .. TOP) {
			if
			:: (got & (1 << q)) && q - 1 > horizon -> got = got & ((1 << q) - 1); horizon = 0
			:: (got & (1 << q)) && q - 1 <= horizon -> horizon = (q > horizon -> q : horizon); to = q; last = q; n++
			:: else
			fi
		}
		if
		:: n < LIMIT && settled > to -> to = settled
		:: else
		fi;
		/* Nothing was open when this read began, and it was not cut short: it has to have found everything. */
		for (q : 1 .. TOP) {
			if
			:: calm && n < LIMIT && row[q] == SEEN && q > after && !(got & (1 << q)) -> stuck = true
			:: else
			fi
		}
		q = 0; n = 0; horizon = 0; settled = 0; head = 0; low = 0
	}
	assert(!stuck)
}

/* Reader.Glance: without the locks, for what is contiguous up to the head. */
inline glance() {
	d_step {
		to = after; last = 0;
		for (q : 1 .. TOP) { if :: (got & (1 << q)) && q == to + 1 -> to = q :: else fi }
		if
		:: got != 0 && to >= head && (got >> (to + 1)) == 0 -> last = to
		:: else -> got = 0; to = after
		fi;
		q = 0; n = 0; head = 0
	}
}

#ifdef REMEMBERED
#define SAME_DATABASE true
#else
#define SAME_DATABASE (era == token)
#endif
#ifdef NO_FENCE
#define FENCED SAME_DATABASE
#else
#define FENCED (SAME_DATABASE && ckpt == floor)
#endif
#define CHECK_TOKEN if :: SAME_DATABASE :: else -> goto claim fi
#define BEGIN_READ  calm = (over == WRITERS)

proctype reader()
{
	byte after, floor, token, head, low, settled, horizon, to, last, n, q;
	int got;
	bool calm;
claim:	atomic { token = era; floor = ckpt; after = ckpt; got = 0; to = 0; last = 0; head = 0; low = 0; calm = false }
	do
	::
#if defined(HEAD_AFTER_LOCKS)
		atomic { BEGIN_READ; look_at_locks() }
		atomic { CHECK_TOKEN; look_at_head() }
		atomic { read_events(); hand_out() }
#elif defined(EVENTS_BEFORE_LOCKS)
		atomic { BEGIN_READ; CHECK_TOKEN; look_at_head() }
		read_events();
		atomic { look_at_locks(); hand_out() }
#elif defined(ONE_SNAPSHOT)
		atomic { BEGIN_READ; read_events() }
		atomic { CHECK_TOKEN; look_at_head() }
		atomic { look_at_locks(); hand_out() }
#else
		atomic { BEGIN_READ; CHECK_TOKEN; look_at_head() }
		if
		:: look_at_locks();
			atomic { read_events(); hand_out() }
		:: atomic { read_events(); glance() }
		fi;
#endif
		atomic {   /* one transaction: what the events do, and the save with its fence */
			if
			:: got == 0
			:: got != 0 && FENCED ->
				if :: (handled & got) != 0 -> doubled = true :: else fi;
				assert(!doubled);
				handled = handled | got; ckpt = last; floor = last;
				judge(q)
			:: else -> goto claim
			fi;
			after = to; got = 0; to = 0; last = 0; calm = false
		}
	od
}

#ifdef STRANGER
/* It may also hold on for ever. */
active proctype stranger()
{
	do
	:: atomic { stranger_key <= TOP -> stranger_key++ }
	:: atomic { stranger_key > 0 -> stranger_key = 0 }
	od
}
#endif

active proctype server()
{
	byte crashes, q;
	do
	:: atomic { crashes < CRASHES -> crashes++; era++;
		if :: flush() :: skip fi;
		for (q : 1 .. TOP) { if :: row[q] != SEEN -> row[q] = 0 :: else fi }
		for (q : 0 .. WRITERS - 1) { key[q] = 0 }
		q = 0;
		seq = disk_seq; ckpt = disk_ckpt; handled = disk_handled }
	:: break
	od
}

init {
	atomic {
		byte i;
		for (i : 0 .. WRITERS - 1) { run writer(i) }
		for (i : 1 .. READERS) { run reader() }
		i = 0
	}
}
