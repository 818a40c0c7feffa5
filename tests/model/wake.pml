/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sleep and wake: one publisher, one subscriber, two generations. See docs/ring.md; ring.pml is the model of slots and leases.
 *
 * Nobody may sleep over something that is there: a frame, a message, the publisher's end, or the subscriber's own dismissal. The
 * publisher's calls hold its lock, so it is one process. Messages wait in its queue while the socket is full.
 *
 * Shape (-D): DEATH (the publisher dies anywhere), DISMISS (the subscriber is taken off), SUPERSEDE (a second generation), SPURIOUS
 * (a byte in the pipe for nothing), LOOP (an event loop of the application's polls), FRAMES, EVENTS.
 * The names of the synchronisation points: SYNC sleep and SYNC wake are the two halves of waiting and head, SYNC event and
 * SYNC successor the same with the other words that are looked at before a sleep.
 * BROKEN_*: one line left out or swapped; each must end in an error. BROKEN_*_FENCE: a store that is not seq_cst, and so may wait in
 * the store buffer, one entry a process, while later loads are done. */
#ifndef FRAMES
#define FRAMES 3
#endif
#ifndef EVENTS
#define EVENTS 1
#endif
#define PIPE 2
#define SOCKET 1

#define EVENT 1
#define RING 2
#define BYE 3

/* Control pages and lease pages, one each a generation. */
byte head[2];
byte serial[2];
bool successor;
bool waiting[2];
bool bye[2];
/* The pipe, the socket, and the end of both. */
byte pipe;
chan socket = [SOCKET] of { byte };
bool hangup;
bool shut;
/* The publisher's own. */
chan queue = [4] of { byte };
bool current;
bool page;
bool lingering;
byte sent_serial;
bool kill;
/* What the model looks at when nothing moves any more. */
bool asleep;
bool told;
byte cursor;
byte seen;
bool mapped;
bool newest;
bool idle;

#if defined (BROKEN_WAKE_FENCE) || defined (BROKEN_EVENT_FENCE) || defined (BROKEN_SUCCESSOR_FENCE) || defined (BROKEN_SLEEP_FENCE)
#define HEAD 1
#define SERIAL 2
#define SUCCESSOR 3
byte publisher_buffer;
bool publisher_place;
byte publisher_value;
bool subscriber_buffer;
bool subscriber_place;

/* Empties the store buffers at any time. */
proctype memory ()
{
end_memory:
  do
  :: atomic { publisher_buffer == HEAD -> head[publisher_place] = publisher_value; publisher_buffer = 0 }
  :: atomic { publisher_buffer == SERIAL -> serial[publisher_place] = publisher_value; publisher_buffer = 0 }
  :: atomic { publisher_buffer == SUCCESSOR -> successor = true; publisher_buffer = 0 }
  :: atomic { subscriber_buffer -> waiting[subscriber_place] = true; subscriber_buffer = false }
  od
}
#define BUFFER(what, where, value) \
  atomic { publisher_buffer == 0 -> publisher_buffer = what; publisher_place = where; publisher_value = value }
#define DRAINED (publisher_buffer == 0)
#else
#define DRAINED true
#endif

#ifdef BROKEN_WAKE_FENCE
#define STORE_HEAD(g, n) BUFFER (HEAD, g, n)
#else
#define STORE_HEAD(g, n) atomic { DRAINED -> head[g] = n }
#endif
#ifdef BROKEN_EVENT_FENCE
#define STORE_SERIAL(g, n) BUFFER (SERIAL, g, n)
#else
#define STORE_SERIAL(g, n) atomic { DRAINED -> serial[g] = n }
#endif
#ifdef BROKEN_SUCCESSOR_FENCE
#define STORE_SUCCESSOR BUFFER (SUCCESSOR, 0, 1)
#else
#define STORE_SUCCESSOR atomic { DRAINED -> successor = true }
#endif
#ifdef BROKEN_SLEEP_FENCE
#define STORE_WAITING(g) atomic { !subscriber_buffer -> subscriber_buffer = true; subscriber_place = g }
#define CLEAR_WAITING(g) atomic { !subscriber_buffer -> waiting[g] = false }
#else
#define STORE_WAITING(g) waiting[g] = true
#define CLEAR_WAITING(g) waiting[g] = false
#endif

/* What the subscriber looks at before it sleeps. */
#ifdef BROKEN_HEAD
#define NEW_FRAME false
#else
#define NEW_FRAME (head[mapped] != cursor)
#endif
#ifdef BROKEN_EVENT
#define NEW_EVENT false
#else
#define NEW_EVENT (serial[mapped] != seen)
#endif
#ifdef BROKEN_SUCCESSOR
#define NEW_RING false
#else
#define NEW_RING (!mapped && successor && !newest)
#endif
#ifdef BROKEN_BYE
#define NEW_BYE false
#else
#define NEW_BYE bye[mapped]
#endif
#ifdef BROKEN_HANGUP
#define HEARS_HANGUP false
#else
#define HEARS_HANGUP hangup
#endif
#ifdef BROKEN_SHUT
#define SHUT skip
#else
#define SHUT shut = true
#endif
#ifdef BROKEN_POKE
#define POKE skip
#else
#define POKE poke ()
#endif

/* cuframes_peer_poke(): a full pipe wakes as well. */
inline poke ()
{
  pipe = (pipe < PIPE -> pipe + 1 : pipe)
}

/* cuframes_peer_wake() */
inline wake ()
{
  if
  :: !lingering && waiting[page] ->
     d_step { w = waiting[page]; waiting[page] = false };
     if
     :: w -> w = false; poke ()
     :: else -> skip
     fi
  :: lingering || !waiting[page] -> skip
  fi
}

/* cuframes_peer_flush(). From the moment that a generation is tried to be sent its page is the subscriber's, which may not know yet. */
inline flush ()
{
  do
  :: atomic { nempty (queue) && nfull (socket) ->
       queue ? message;
       socket ! message;
       page = (message == RING -> true : page);
       w = true
     }
  :: empty (queue) || full (socket) -> page = page || queue ? [RING]; break
  od;
  if
  :: w -> w = false; POKE
  :: else -> skip
  fi;
  message = 0
}

proctype publisher ()
{
  byte message, events, frames, number;
  bool w, spurious;
  {
    do
    :: frames < FRAMES ->
       /* cuframes_publisher_publish() */
       frames++;
       number++;
#ifdef BROKEN_WAKE
       wake ();
       STORE_HEAD (current, number)
#else
       STORE_HEAD (current, number);
       wake ()
#endif
    :: events < EVENTS && !lingering ->
       /* cuframes_publisher_send_event() */
       events++;
       queue ! EVENT;
       flush ();
       STORE_SERIAL (current, events);
       wake ()
#ifdef SUPERSEDE
    :: !current && !lingering ->
       /* cuframes_publisher_start_ring() */
       atomic { serial[1] = events; current = true; number = 0 };
       STORE_SUCCESSOR;
       queue ! RING;
       flush ()
#endif
#ifdef DISMISS
    :: !lingering ->
       /* cuframes_peer_dismiss() */
       lingering = true;
       atomic {
         do
         :: queue ? message
         :: empty (queue) -> break
         od;
         message = 0
       };
       if
       :: nfull (socket) -> socket ! BYE
       :: full (socket)
       fi;
       SHUT;
       bye[page] = true;
       POKE
#endif
    :: nempty (queue) && nfull (socket) -> flush ()
#ifdef SPURIOUS
    :: !spurious -> spurious = true; poke ()
#endif
    :: frames == FRAMES && events == EVENTS && empty (queue) -> break
    :: lingering -> break
    od;
    atomic { DRAINED -> idle = true };
    goto end_idle
  } unless { kill && !idle };
  hangup = true;
end_idle:
  skip
}

/* hear(): takes in every message that is there. */
inline hear ()
{
  do
  :: socket ? message ->
     d_step {
       if
       :: message == EVENT -> seen++
       :: message == RING -> newest = true
       :: message == BYE -> told = true
       fi;
       message = 0;
       nothing = false
     }
  :: empty (socket) ->
     gone = hangup || shut;
     if
     :: nempty (socket) -> gone = false
     :: empty (socket) -> break
     fi
  od
}

/* has_news(): one word after another. */
inline look_for_news ()
{
  if
  :: NEW_EVENT -> news = true
  :: !(NEW_EVENT) ->
     if
     :: NEW_RING -> news = true
     :: !(NEW_RING) -> news = NEW_BYE
     fi
  fi
}

/* has_anything() */
inline look ()
{
  if
  :: NEW_FRAME -> news = true
  :: !(NEW_FRAME) -> look_for_news ()
  fi
}

inline read_pipe ()
{
  pipe = 0
}

proctype subscriber ()
{
  byte message;
  bool news, gone, nothing;
  do
  :: true ->
     /* cuframes_subscriber_try_next() */
     nothing = idle;
     look_for_news ();
     if
     :: news -> news = false; hear ()
     :: else -> nothing = false
     fi;
     told = told || NEW_BYE;
     if
     :: head[mapped] != cursor -> cursor++
     :: head[mapped] == cursor ->
        if
        :: newest && !mapped -> atomic { mapped = true; cursor = 0 }
        :: (!newest || mapped) && (gone || told) -> break
        :: else ->
           /* cuframes_subscriber_arm() */
           read_pipe ();
           STORE_WAITING (mapped);
           look ();
           /* News that nobody will ever send would keep it awake for good. */
           assert (!nothing || !news);
#ifdef BROKEN_DRAIN
           read_pipe ();
#endif
           if
           :: news -> news = false; CLEAR_WAITING (mapped)
           :: else ->
              asleep = true;
end_asleep:
              if
              :: atomic { pipe > 0 -> asleep = false };
                 /* sleep_until(), which an event loop of the application's own may do without */
#ifndef LOOP
                 look ();
                 if
                 :: news -> news = false
                 :: else -> hear ()
                 fi
#else
                 skip
#endif
              :: atomic { pipe == 0 && HEARS_HANGUP -> asleep = false }; hear (); gone = true
              fi
           fi
        fi
     fi
  od;
  told = true
}

proctype killer ()
{
end_killer:
  kill = true
}

/* When nothing can move any more, a sleeper must have nothing to wake up for. */
proctype judge ()
{
end_judge:
  timeout ->
  assert (!asleep || !hangup && empty (socket) && head[mapped] == cursor && serial[mapped] == seen && (mapped || !successor)
      && (!lingering || told))
}

init
{
  atomic {
    run publisher ();
    run subscriber ();
    run judge ();
#ifdef DEATH
    run killer ();
#endif
#if defined (BROKEN_WAKE_FENCE) || defined (BROKEN_EVENT_FENCE) || defined (BROKEN_SUCCESSOR_FENCE) || defined (BROKEN_SLEEP_FENCE)
    run memory ();
#endif
  }
}
