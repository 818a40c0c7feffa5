/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The frame ring: who may write a slot and who may read it. See docs/ring.md; wake.pml is the model of sleep and wake.
 *
 * One statement is one access to shared memory; what touches a process's own memory alone is folded into it. Promela runs
 * statements in one order for everybody, so the operations that need seq_cst are modelled as they are, and leaving it out
 * (BROKEN_LEASE_FENCE, BROKEN_RECLAIM_FENCE) puts the store into a buffer of one entry that process memory() empties when it likes.
 * The names of the synchronisation points: SYNC publish is state, index and head; SYNC lease and SYNC reclaim are the two halves of the
 * hazard, lease bits and state; SYNC unlease is a lease bit cleared.
 *
 * Shape (-D): SUBS, SLOTS (at most 4), RESERVE, BUDGET, FRAMES. What may happen: CRASH (subscriber 0 dies anywhere), STOP (it stops
 * for good, holding what it holds), DEATH (the publisher dies anywhere), EVICT, HOLD (the publisher's process keeps a published
 * slot), LATE (subscribers are let in while frames go by), LATEST (delivery), ROOMY (there are slots enough that none may be
 * dropped), HOSTILE (subscriber 0 writes what it likes to its lease page), SUPERSEDE (a new generation follows this ring).
 * BROKEN_*: one line of the algorithm left out or swapped; every one of them must end in an error. */
#ifndef SUBS
#define SUBS 2
#endif
#ifndef SLOTS
#define SLOTS 3
#endif
#ifndef RESERVE
#define RESERVE 1
#endif
#ifndef BUDGET
#define BUDGET 1
#endif
#ifndef FRAMES
#define FRAMES 4
#endif
/* Sequence numbers wrap at MODULUS while the frames run; FIRST is the number before the first frame's. */
#define MODULUS 16
#define FIRST 14
#define INDEX 4
#define NONE 255
#define GARBAGE 255

#define TAG(n, s) ((n) * 8 + (s) + 1)
#define SEQUENCE(tag) ((tag) / 8)
#define SLOT(tag) ((tag) % 8 - 1)
#define NEXT(n) (((n) + 1) % MODULUS)
#define DISTANCE(a, b) (((a) + MODULUS - (b)) % MODULUS)
#define BIT(n) (1 << (n))
#define COUNT(mask) (((mask) & 1) + ((mask) / 2 & 1) + ((mask) / 4 & 1) + ((mask) / 8 & 1))

/* The publisher's truth about a slot. */
#define FREE 0
#define CLAIMED 1
#define PUBLISHED 2
#define RETIRED 3

#ifdef LATEST
#define FIRST_WANTED newest
#else
#define FIRST_WANTED NEXT (cursor)
#endif
#define IS_AFTER(a, b) (DISTANCE (a, b) > 0 && DISTANCE (a, b) < MODULUS / 2)

/* The lines that the broken variants change. */
#ifdef BROKEN_INDEX
#define IS_WANTED(tag) (tag != 0)
#else
#define IS_WANTED(tag) (tag != 0 && SEQUENCE (tag) == want)
#endif
#ifdef BROKEN_VALIDATE
#define IS_VALID(tag) true
#else
#define IS_VALID(tag) (state[s] == tag)
#endif
#ifdef BROKEN_HOLD
#define IS_HELD(s) false
#else
#define IS_HELD(s) held[s]
#endif
#ifdef BROKEN_CLOSE
#define IS_CLOSED false
#else
#define IS_CLOSED closed
#endif
#ifdef BROKEN_FORGET
#define IS_REMEMBERED false
#else
#define IS_REMEMBERED true
#endif
#if defined (BROKEN_RETIRE)
#define RETIRE(s) gone = gone | BIT (sequence[s])
#elif defined (BROKEN_RECLAIM_FENCE)
#define RETIRE(s) atomic { retire_buffer == 0 -> retire_buffer = s + 1; gone = gone | BIT (sequence[s]) }
#else
#define RETIRE(s) d_step { state[s] = 0; gone = gone | BIT (sequence[s]) }
#endif
#ifdef BROKEN_PASS
#define FORGET_SEEN skip
#else
#define FORGET_SEEN seen = 0
#endif
#ifdef BROKEN_RECHECK
#define LOOK_AGAIN skip
#else
#define LOOK_AGAIN FORGET_SEEN; get_leases ()
#endif
#ifdef BROKEN_ATTACH
#define ATTACH_FIRST false
#else
#define ATTACH_FIRST true
#endif
#ifdef BROKEN_LINGER
#define LINGERS false
#else
#define LINGERS true
#endif
#ifdef BROKEN_DETACH
#define HEARS_CLOSE false
#else
#define HEARS_CLOSE true
#endif
#ifdef BROKEN_RESERVE
#define MAKE_ROOM own = RESERVE + 1
#else
#define MAKE_ROOM make_room_or_drop_violators ()
#endif
#ifdef BROKEN_BUDGET
#define DROP_VIOLATORS skip
#else
#define DROP_VIOLATORS drop_violators ()
#endif
#ifdef BROKEN_DROP
#define DROP head = NEXT (head)
#else
#define DROP skip
#endif
#ifdef ROOMY
#define IS_ROOMY true
#else
#define IS_ROOMY false
#endif
#ifdef BROKEN_PUBLISH
#define FILLED n
#else
#define FILLED NEXT (head)
#endif
#ifdef BROKEN_BLOCK
#define GIVE_UP !attached[0] || leases[0] == 0; !attached[SUBS - 1] || leases[SUBS - 1] == 0
#else
#define GIVE_UP break
#endif

/* Shared pages. */
byte head = FIRST;
byte state[SLOTS];
byte index[INDEX];
byte leases[SUBS];
/* Sockets. */
bool let_in[SUBS];
bool evicted[SUBS];
bool is_open[SUBS];
bool hangup;
/* The publisher's own. */
byte use[SLOTS];
byte sequence[SLOTS];
bool held[SLOTS];
bool attached[SUBS];
bool closed;
/* Who is to die. */
bool kill_publisher;
bool kill_subscriber;
/* What the model knows and no process may ask: the frame in a slot's memory, who reads which slot, the frames that are gone. */
byte content[SLOTS];
byte reads[SUBS];
int gone;
#if defined (BROKEN_LEASE_FENCE) || defined (BROKEN_RECLAIM_FENCE)
byte lease_buffer[SUBS];
byte retire_buffer;

/* Empties the store buffers at any time. */
proctype memory ()
{
  byte k;
end_memory:
  do
  :: atomic { retire_buffer != 0 -> state[retire_buffer - 1] = 0; retire_buffer = 0 }
  :: atomic { lease_buffer[0] != 0 -> leases[0] = leases[0] | lease_buffer[0]; lease_buffer[0] = 0 }
#if SUBS > 1
  :: atomic { lease_buffer[1] != 0 -> leases[1] = leases[1] | lease_buffer[1]; lease_buffer[1] = 0 }
#endif
  od
}
#endif

inline set_lease (me, s)
{
#ifdef BROKEN_LEASE_FENCE
  atomic { lease_buffer[me] == 0 -> lease_buffer[me] = BIT (s) }
#else
  leases[me] = leases[me] | BIT (s)
#endif
}

inline clear_lease (me, s)
{
#ifdef BROKEN_LEASE_FENCE
  atomic { lease_buffer[me] == 0 -> leases[me] = leases[me] & ~BIT (s) }
#else
  leases[me] = leases[me] & ~BIT (s)
#endif
}

inline give_back (me)
{
  s = (reads[me] & 1 -> 0 : (reads[me] & 2 -> 1 : (reads[me] & 4 -> 2 : 3)));
#ifdef BROKEN_UNLEASE
  clear_lease (me, s);
  d_step { reads[me] = reads[me] & ~BIT (s); s = 0 }
#else
  reads[me] = reads[me] & ~BIT (s);
  clear_lease (me, s);
  s = 0
#endif
}

/* Passed over: it must have been a frame and be gone, unless so many came after it that its entry has another now. */
inline pass_over ()
{
  assert (gone & BIT (want) || index[want % INDEX] != 0 && IS_AFTER (SEQUENCE (index[want % INDEX]), want));
  cursor = want
}

/* try_lease() and the loop around it, cuframes_frame_reader_lease(). A frame is handed out under its own number, after the last. */
inline lease (me)
{
  d_step {
    newest = head;
    want = FIRST_WANTED;
    do
    :: DISTANCE (newest, want) >= INDEX -> pass_over (); want = NEXT (want)
    :: else -> break
    od
  };
  do
  :: want != NONE ->
     d_step {
       tag = index[want % INDEX];
       if
       :: IS_WANTED (tag) -> s = SLOT (tag)
       :: else -> tag = 0; pass_over ()
       fi
     };
     if
     :: tag != 0 ->
        set_lease (me, s);
        d_step {
          if
          :: IS_VALID (tag) ->
             assert (content[s] == want && IS_AFTER (want, cursor));
             reads[me] = reads[me] | BIT (s);
             cursor = want; newest = want; tag = 0
          :: else -> skip
          fi
        };
        if
        :: tag != 0 ->
           clear_lease (me, s);
           d_step { pass_over (); tag = 0 }
        :: else -> skip
        fi
     :: else -> skip
     fi;
     d_step {
       s = 0;
       if
       :: want == newest -> want = NONE; newest = 0
       :: else -> want = NEXT (want)
       fi
     }
  :: else -> break
  od;
  want = 0
}

proctype subscriber (byte me)
{
  byte cursor = FIRST, newest, want, tag, s;
  {
    atomic { let_in[me] || hangup -> cursor = head };
    do
    :: !evicted[me] && head != cursor && COUNT (leases[me]) < BUDGET -> lease (me)
    :: reads[me] != 0 -> give_back (me)
    :: break
#ifdef STOP
    :: me == 0 -> goto end_stopped
#endif
    od;
    /* Off the channel, with what it still holds. */
    do
    :: reads[me] != 0 -> give_back (me)
    :: else -> break
    od
  } unless { me == 0 && kill_subscriber };
  atomic { reads[me] = 0; is_open[me] = false; goto end_closed };
end_stopped:
  false;
end_closed:
  skip
}

/* It may do what it likes to its own page; nothing is promised to it. */
proctype hostile ()
{
end_hostile:
#ifdef ROOMY
  leases[0] = BIT (SLOTS) - 1
#else
  do
  :: leases[0] = 0
  :: leases[0] = 1
  :: leases[0] = 2
  :: leases[0] = 3
  :: leases[0] = BIT (SLOTS) - 1
  :: atomic { is_open[0] = false; break }
  od
#endif
}

proctype killer ()
{
end_killer:
  if
#ifdef CRASH
  :: kill_subscriber = true
#endif
#ifdef DEATH
  :: kill_publisher = true
#endif
  :: false
  fi
}

/* cuframes_frame_ring_get_leases(); the words are read one after another. */
inline get_leases ()
{
  seen = seen | (attached[0] -> leases[0] : 0)
#if SUBS > 1
  ;
  seen = seen | (attached[1] -> leases[1] : 0)
#endif
}

inline count_own ()
{
  own = 0; i = 0;
  do
  :: i < SLOTS -> own = own + (use[i] == FREE || use[i] == CLAIMED -> 1 : 0); i++
  :: else -> break
  od
}

/* A slot that is retired already, else the one with the oldest frame. */
inline find_candidate ()
{
  best = NONE; i = (IS_CLOSED -> SLOTS : 0);
  do
  :: i < SLOTS && (seen & BIT (i) || IS_HELD (i)) -> i++
  :: i < SLOTS && !(seen & BIT (i) || IS_HELD (i)) ->
     if
     :: use[i] == RETIRED && IS_REMEMBERED -> best = i; break
     :: use[i] == PUBLISHED && (best == NONE || IS_AFTER (sequence[best], sequence[i])) -> best = i
     :: else -> skip
     fi;
     i++
  :: else -> break
  od;
  i = 0
}

/* A slot that is retired was so before the lease words were read last: without a bit there it is free for good. own grows by
 * one, or best ends as NONE. */
inline reclaim ()
{
  seen = 0;
  get_leases ();
  do
  :: true ->
     d_step {
       find_candidate ();
       if
       :: best != NONE && use[best] == RETIRED -> use[best] = FREE; own++; i = 1
       :: best == NONE -> i = 1
       :: else -> i = 0
       fi
     };
     if
     :: i == 1 -> break
     :: else ->
        RETIRE (best);
        use[best] = RETIRED;
        LOOK_AGAIN
     fi
  od
}

/* cuframes_frame_ring_make_room(): the frame is dropped if own ends at RESERVE or less. */
inline make_room ()
{
  d_step { count_own (); best = 0; i = 0 };
  do
  :: own > RESERVE -> break
  :: own <= RESERVE ->
     reclaim ();
     if
     :: best == NONE -> GIVE_UP
     :: else -> skip
     fi
  od;
  atomic { best = 0; seen = 0; i = 0 }
}

inline nobody_reads (s)
{
  k = 0;
  do
  :: k < SUBS -> assert (!(reads[k] & BIT (s))); k++
  :: else -> break
  od;
  assert (!held[s])
}

inline fill (s)
{
  d_step { nobody_reads (s); content[s] = GARBAGE; k = 0 };
  d_step { nobody_reads (s); content[s] = FILLED; k = 0 }
}

/* cuframes_frame_ring_publish() */
inline publish (s)
{
  n = NEXT (head);
#ifdef BROKEN_RECLAIM_FENCE
  atomic { retire_buffer == 0 -> state[s] = TAG (n, s) };
#else
  state[s] = TAG (n, s);
#endif
#ifdef BROKEN_HEAD
  head = n;
  index[n % INDEX] = TAG (n, s);
#else
  index[n % INDEX] = TAG (n, s);
  head = n;
#endif
#ifdef BROKEN_PUBLISH
  fill (s);
#endif
  d_step { use[s] = PUBLISHED; sequence[s] = n; n = 0 }
}

/* What the publisher's thread for sockets does, between two of the calls above: the same lock is held. */
inline serve ()
{
  do
#ifdef LATE
  :: atomic { !let_in[0] -> attached[0] = ATTACH_FIRST; let_in[0] = true }
  :: atomic { let_in[0] && is_open[0] && !attached[0] -> attached[0] = true }
#endif
#ifdef EVICT
  :: atomic { let_in[0] && is_open[0] && !evicted[0] -> evicted[0] = true; attached[0] = LINGERS }
#endif
  :: atomic { HEARS_CLOSE && attached[0] && !is_open[0] -> attached[0] = false }
#if SUBS > 1
  :: atomic { attached[1] && !is_open[1] -> attached[1] = false }
#endif
#ifdef HOLD
  :: atomic { held[0] -> held[0] = false }
  :: atomic { held[1] -> held[1] = false }
#if SLOTS > 2
  :: atomic { held[2] -> held[2] = false }
#endif
#if SLOTS > 3
  :: atomic { held[3] -> held[3] = false }
#endif
#endif
#ifdef SUPERSEDE
  :: atomic { !closed -> closed = true }
  :: atomic { closed && attached[0] -> attached[0] = false }
#if SUBS > 1
  :: atomic { closed && attached[1] -> attached[1] = false }
#endif
#endif
  :: break
  od
}

inline take_free ()
{
  i = 0;
  do
  :: i < SLOTS && slot == NONE ->
     if
     :: use[i] == FREE -> slot = i; use[i] = CLAIMED
     :: else -> skip
     fi;
     i++
  :: else -> break
  od;
  i = 0
}

/* cuframes_frame_ring_claim(): the producer's next buffer. While the ring is current there is one without a look at anybody. */
inline claim ()
{
  d_step { frames++; take_free (); assert (slot != NONE || closed) };
  if
  :: slot == NONE -> reclaim (); atomic { take_free (); own = 0; best = 0; seen = 0 }
  :: else -> skip
  fi
}

/* drop_violators(): whoever holds more than its budget broke the protocol. i ends as 1 if there was one. */
inline drop_violators ()
{
  i = 0;
  d_step {
    if
    :: attached[0] && COUNT (leases[0]) > BUDGET -> attached[0] = false; i = 1
    :: else -> skip
    fi
  };
#if SUBS > 1
  d_step {
    if
    :: attached[1] && COUNT (leases[1]) > BUDGET -> attached[1] = false; i = 1
    :: else -> skip
    fi
  }
#endif
}

inline make_room_or_drop_violators ()
{
  make_room ();
  if
  :: own <= RESERVE ->
     DROP_VIOLATORS;
     if
     :: i == 1 -> make_room ()
     :: else -> skip
     fi
  :: else -> skip
  fi
}

proctype publisher ()
{
  byte frames, slot = NONE, n, s, i, k, best, own, seen;
  {
    do
    :: frames == FRAMES -> break
    :: else ->
       claim ();
       if
       :: slot == NONE -> break
       :: else -> skip
       fi;
#ifndef BROKEN_PUBLISH
       fill (slot);
#endif
       serve ();
       if
       :: closed -> slot = NONE      /* kept by who got it */
       :: !closed ->
          MAKE_ROOM;
          if
          :: own > RESERVE ->
             publish (slot);
#ifdef HOLD
             if
             :: held[slot] = true
             :: skip
             fi;
#endif
             slot = NONE
          :: else ->
             assert (!IS_ROOMY);
             DROP
          fi
       fi;
       own = 0
    od;
    /* Everybody has gone: every slot must come back. */
    atomic {
      if
      :: slot != NONE -> use[slot] = FREE; slot = NONE
      :: else -> skip
      fi
    };
end_waiting:
    do
    :: atomic { HEARS_CLOSE && attached[0] && !is_open[0] -> attached[0] = false }
    :: atomic { SUBS > 1 && attached[SUBS - 1] && !is_open[SUBS - 1] -> attached[SUBS - 1] = false }
    :: atomic { !is_open[0] && !is_open[SUBS - 1] && (!HEARS_CLOSE || !attached[0]) && (SUBS == 1 || !attached[SUBS - 1]) -> break }
    od;
    skip;
    d_step {
      i = 0;
      do
      :: i < SLOTS -> held[i] = false; i++
      :: else -> break
      od
    };
    d_step { count_own (); i = 0; best = 0 };
    do
    :: best != NONE -> reclaim ()
    :: else -> break
    od;
    assert (own == SLOTS || closed)
  } unless { kill_publisher };
  hangup = true
}

init
{
  byte j;
  atomic {
    for (j : 0 .. SUBS - 1) {
      is_open[j] = true;
#ifdef LATE
      attached[j] = j > 0;
      let_in[j] = j > 0;
#else
      attached[j] = true;
      let_in[j] = true;
#endif
    }
#ifdef HOSTILE
    run hostile ();
#else
    run subscriber (0);
#endif
#if SUBS > 1
    run subscriber (1);
#endif
    run publisher ();
#if defined (CRASH) || defined (DEATH)
    run killer ();
#endif
#if defined (BROKEN_LEASE_FENCE) || defined (BROKEN_RECLAIM_FENCE)
    run memory ();
#endif
  }
}
