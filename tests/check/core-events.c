/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What comes between the frames: events and formats in their place, whatever their size, and the wake-ups over them. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "core-fixture.h"
#include "cuframes-publisher-private.h"

static int
send_text (Source *source, uint64_t sticky_key, const char *text)
{
  return cuframes_publisher_send_event (source->publisher, CUFRAMES_EVENT_GST, sticky_key, text, strlen (text));
}

static void
events_keep_their_place (void)
{
  CuframesSubscriber *subscriber;
  Source source;

  REQUIRE (source_open (&source, "cam", NULL) == 0);
  subscriber = sink_open ("cam", NULL);
  REQUIRE (subscriber != NULL);
  CHECK_EQUAL (send_text (&source, 0, "early"), 0);
  CHECK_EQUAL (source_start_ring (&source, 8, 1, "f"), 0);
  CHECK_EQUAL (send_text (&source, 0, "a"), 0);
  CHECK_EQUAL (source_publish (&source), 0);
  CHECK_EQUAL (send_text (&source, 0, "b"), 0);
  CHECK_EQUAL (send_text (&source, 0, "c"), 0);
  CHECK_EQUAL (source_publish_many (&source, 2), 2);
  CHECK_EQUAL (send_text (&source, 0, "d"), 0);
  CHECK_EQUAL (source_start_ring (&source, 8, 1, "g"), 0);
  CHECK_EQUAL (send_text (&source, 0, "e"), 0);
  CHECK_EQUAL (source_publish (&source), 0);
  CHECK_EQUAL (send_text (&source, 0, "f"), 0);
  CHECK_STORY (subscriber, "C early R a F b c F F d R e F f ");
  CHECK_EQUAL (source_publish (&source), 0);
  CHECK_STORY (subscriber, "F ");
  CHECK_EQUAL (send_text (&source, 0, "g"), 0);
  CHECK_STORY (subscriber, "g ");
  CHECK_EQUAL (source_publish (&source), 0);
  CHECK_EQUAL (send_text (&source, 0, "last"), 0);
  source_close (&source);
  CHECK_STORY (subscriber, "F last D ");
  cuframes_subscriber_free (subscriber);
}

static void *
say_the_last_word (void *data)
{
  Source *source = data;

  if (send_text (source, 0, "last") == 0)
    source_close (source);
  return NULL;
}

/* Whether an event comes before the end. */
static bool
hears_the_last_word (CuframesSubscriber *subscriber)
{
  const uint64_t end_ns = fixture_now_ns () + 10000000000u;
  bool heard = false;
  CuframesItem item;

  while (fixture_now_ns () < end_ns) {
    if (cuframes_subscriber_try_next (subscriber, &item) != 0)
      continue;
    heard |= item.kind == CUFRAMES_ITEM_EVENT;
    cuframes_frame_unref (item.frame);
    if (item.kind == CUFRAMES_ITEM_DISCONNECTED)
      return heard;
  }
  return false;
}

static void
the_last_event_comes_before_the_end (void)
{
  for (unsigned i = 0; i < 400; i++) {
    CuframesSubscriber *subscriber;
    CuframesItem item;
    pthread_t thread;
    Source source;
    bool heard;
    REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_ring (&source, 4, 1, "f") == 0);
    subscriber = sink_open ("cam", NULL);
    REQUIRE (subscriber != NULL && sink_expect (subscriber, CUFRAMES_ITEM_CONNECTED, &item) && sink_expect (subscriber, CUFRAMES_ITEM_FORMAT, &item));
    REQUIRE (pthread_create (&thread, NULL, say_the_last_word, &source) == 0);
    heard = hears_the_last_word (subscriber);
    pthread_join (thread, NULL);
    cuframes_subscriber_free (subscriber);
    REQUIRE (heard);
  }
}

static void
who_is_overrun_still_gets_every_event (void)
{
  CuframesSubscriber *subscriber;
  CuframesItem item;
  Source source;
  unsigned events = 0, frames = 0;
  uint64_t last = 0;

  REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_ring (&source, 4, 1, "f") == 0);
  subscriber = sink_open ("cam", NULL);
  REQUIRE (subscriber != NULL);
  for (unsigned i = 0; i < 100; i++) {
    char text[16];
    snprintf (text, sizeof text, "%u", i);
    CHECK_EQUAL (source_publish (&source), 0);
    CHECK_EQUAL (send_text (&source, 0, text), 0);
  }
  while (cuframes_subscriber_next (subscriber, 20000000, &item) == 0) {
    if (item.kind == CUFRAMES_ITEM_EVENT) {
      char text[16];
      snprintf (text, sizeof text, "%u", events++);
      CHECK (item.byte_count == strlen (text) && memcmp (item.bytes, text, item.byte_count) == 0);
    }
    if (item.kind == CUFRAMES_ITEM_FRAME) {
      /* the events up to this frame have come, those behind it have not */
      CHECK_EQUAL (events, item.info->sequence - 1);
      CHECK (item.info->sequence > last);
      last = item.info->sequence;
      frames++;
      cuframes_frame_unref (item.frame);
    }
  }
  CHECK_EQUAL (events, 100);
  CHECK_EQUAL (frames, 3);
  cuframes_subscriber_free (subscriber);
  source_close (&source);
}

static void
late_joiners_are_told_what_is_kept (void)
{
  CuframesSubscriber *subscriber;
  Source source;

  REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_ring (&source, 4, 1, "f") == 0);
  CHECK_EQUAL (send_text (&source, 1, "stream-start"), 0);
  CHECK_EQUAL (send_text (&source, 2, "segment-1"), 0);
  CHECK_EQUAL (send_text (&source, 3, "tags"), 0);
  CHECK_EQUAL (send_text (&source, 0, "passing"), 0);
  CHECK_EQUAL (source_publish (&source), 0);
  CHECK_EQUAL (send_text (&source, 2, "segment-2"), 0);
  subscriber = sink_open ("cam", NULL);
  REQUIRE (subscriber != NULL);
  CHECK_STORY (subscriber, "C R stream-start segment-2 tags F ");
  CHECK_EQUAL (source_publish (&source), 0);
  CHECK_EQUAL (send_text (&source, 2, "segment-3"), 0);
  CHECK_STORY (subscriber, "F segment-3 ");
  cuframes_subscriber_free (subscriber);
  cuframes_publisher_forget_events (source.publisher);
  subscriber = sink_open ("cam", NULL);
  REQUIRE (subscriber != NULL);
  CHECK_STORY (subscriber, "C R F ");
  cuframes_subscriber_free (subscriber);
  source_close (&source);
}

/* Who joins after the end of a stream gets the frames that are still there, and then the end. */
static void
the_end_of_a_stream_comes_behind_its_frames (void)
{
  static const struct
  {
    CuframesStart start;
    const char *story;
  } joins[] = { {CUFRAMES_START_OLDEST, "C R segment F F F F E "}, {CUFRAMES_START_LATEST, "C R segment F E "}, {CUFRAMES_START_NEXT, "C R segment E "} };
  Source source;

  REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_ring (&source, 8, 1, "f") == 0);
  CHECK_EQUAL (send_text (&source, 1, "segment"), 0);
  CHECK_EQUAL (source_publish_many (&source, 4), 4);
  CHECK_EQUAL (cuframes_publisher_send_event (source.publisher, CUFRAMES_EVENT_EOS, 2, NULL, 0), 0);
  for (int i = 0; i < 3; i++) {
    const CuframesSubscriberConfig config = {.start = joins[i].start };
    CuframesSubscriber *subscriber = sink_open ("cam", &config);
    REQUIRE (subscriber != NULL);
    CHECK_STORY (subscriber, joins[i].story);
    cuframes_subscriber_free (subscriber);
  }
  source_close (&source);
}

/* The end of one stream and the beginning of the next stay where they are. */
static void
the_end_of_a_stream_comes_before_the_next_one (void)
{
  const CuframesSubscriberConfig config = {.start = CUFRAMES_START_OLDEST };
  CuframesSubscriber *subscriber;
  Source source;

  REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_ring (&source, 8, 1, "f") == 0);
  CHECK_EQUAL (source_publish_many (&source, 2), 2);
  CHECK_EQUAL (cuframes_publisher_send_event (source.publisher, CUFRAMES_EVENT_EOS, 2, NULL, 0), 0);
  subscriber = sink_open ("cam", &config);
  REQUIRE (subscriber != NULL);
  CHECK_EQUAL (send_text (&source, 0, "again"), 0);
  CHECK_EQUAL (source_publish_many (&source, 2), 2);
  CHECK_STORY (subscriber, "C R F F E again F F ");
  cuframes_subscriber_free (subscriber);
  subscriber = sink_open ("cam", &config);
  REQUIRE (subscriber != NULL);
  CHECK_STORY (subscriber, "C R F F E F F ");
  cuframes_subscriber_free (subscriber);
  source_close (&source);
}

/* The publisher goes while the subscriber has not even mapped the first format: nothing is lost. */
static void
the_last_format_is_sent_before_the_publisher_goes (void)
{
  CuframesSubscriber *subscriber;
  Source source;

  REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_ring (&source, 8, 1, "f") == 0);
  subscriber = sink_open ("cam", NULL);
  REQUIRE (subscriber != NULL);
  CHECK_EQUAL (source_publish_many (&source, 2), 2);
  CHECK_EQUAL (source_start_ring (&source, 8, 1, "g"), 0);
  CHECK_EQUAL (source_publish_many (&source, 3), 3);
  CHECK_EQUAL (send_text (&source, 0, "late"), 0);
  CHECK_EQUAL (source_publish (&source), 0);
  CHECK_EQUAL (cuframes_publisher_send_event (source.publisher, CUFRAMES_EVENT_EOS, 0, NULL, 0), 0);
  source_close (&source);
  CHECK_STORY (subscriber, "C R F F R F F F late F E D ");
  cuframes_subscriber_free (subscriber);
}

/* A hundred formats follow, and the first stays as it is: it costs one generation, no more. */
static void
who_never_maps_a_format_keeps_one_alive (void)
{
  unsigned arenas;
  Source source;
  Raw raw;

  REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_ring (&source, 4, 1, "f") == 0);
  REQUIRE (raw_join (&raw, "cam"));
  CHECK_EQUAL (source_start_ring (&source, 4, 1, "f"), 0);
  CHECK (WAIT_UNTIL (fixture_count_mappings ("memfd:cuframes-arena") == 2));
  arenas = fixture_count_mappings ("memfd:");
  for (int i = 0; i < 100; i++) {
    CHECK_EQUAL (source_start_ring (&source, 4, 1, "f"), 0);
    CHECK_EQUAL (source_publish (&source), 0);
  }
  CHECK (WAIT_UNTIL (fixture_count_mappings ("memfd:cuframes-arena") == 2));
  CHECK_EQUAL (fixture_count_mappings ("memfd:"), arenas);
  /* it says so in the end, and gets the newest */
  CHECK (raw_ready (&raw, raw.generation));
  CHECK_EQUAL (raw_next (raw.fd, NULL, 0), 4);
  CHECK (WAIT_UNTIL (fixture_count_mappings ("memfd:cuframes-arena") == 1));
  raw_close (&raw);
  source_close (&source);
}

/* Host memory that looks about when it is freed. */
typedef struct
{
  CuframesArena head;
  CuframesArena *inner;
  CuframesPublisher *publisher;
  pthread_t application;
  int *freed;                   /* atomic: 1 as it should be, 2 under the lock or on the application's thread */
} Watched;

static int
watched_export_fd (CuframesArena *arena, int *ret_fd)
{
  return cuframes_arena_export_fd (((Watched *) arena)->inner, ret_fd);
}

static void
watched_free (CuframesArena *arena)
{
  Watched *self = (Watched *) arena;
  const bool is_free = pthread_mutex_trylock (&self->publisher->lock) == 0;

  if (is_free)
    pthread_mutex_unlock (&self->publisher->lock);
  cuframes_arena_unref (self->inner);
  __atomic_store_n (self->freed, is_free && !pthread_equal (pthread_self (), self->application) ? 1 : 2, __ATOMIC_SEQ_CST);
  free (self);
}

static const CuframesArenaOps watched_ops = {.export_fd = watched_export_fd,.free = watched_free };

/* Unmapping a large ring takes milliseconds, in which nothing else may have to wait. */
static void
an_old_format_is_unmapped_beside_what_is_published (void)
{
  CuframesRingConfig config = {.slot_bytes = 4096,.slot_count = 4,.reserve_count = 1,.fence_offset_bytes = CUFRAMES_NONE,.format = "f",.format_bytes = 1 };
  Watched *watched = calloc (1, sizeof *watched);
  CuframesSubscriber *subscriber;
  CuframesArenaInfo info;
  CuframesRing *ring = NULL;
  int freed = 0;
  Source source;

  REQUIRE (source_open (&source, "cam", NULL) == 0);
  subscriber = sink_open ("cam", NULL);
  REQUIRE (subscriber != NULL && cuframes_arena_new_host (4 * 4096, &watched->inner) == 0);
  watched->publisher = source.publisher;
  watched->application = pthread_self ();
  watched->freed = &freed;
  cuframes_arena_get_info (watched->inner, &info);
  cuframes_arena_init (&watched->head, &watched_ops, &info, cuframes_arena_get_address (watched->inner));
  config.arena = &watched->head;
  CHECK_EQUAL (cuframes_publisher_start_ring (source.publisher, &config, &ring), 0);
  cuframes_arena_unref (config.arena);
  cuframes_ring_unref (ring);
  CHECK_STORY (subscriber, "C R ");
  CHECK_EQUAL (source_start_ring (&source, 4, 1, "g"), 0);
  CHECK_STORY (subscriber, "R ");
  CHECK (WAIT_UNTIL (__atomic_load_n (&freed, __ATOMIC_SEQ_CST) != 0));
  CHECK_EQUAL (freed, 1);
  cuframes_subscriber_free (subscriber);
  source_close (&source);
}

typedef struct
{
  Source *source;
  bool over;                    /* atomic */
} Stream;

static void *
publish_until_told (void *user_data)
{
  Stream *stream = user_data;

  while (!__atomic_load_n (&stream->over, __ATOMIC_RELAXED) && source_publish (stream->source) == 0)
    fixture_yield ();
  return NULL;
}

/* However long they take, and whatever is published meanwhile. */
static void
what_is_kept_comes_before_the_first_frame (void)
{
  const size_t byte_count = 4194304;
  uint8_t *bytes = calloc (1, byte_count);
  Source source;
  Stream stream = { &source, false };
  pthread_t thread;

  REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_ring (&source, 6, 1, "f") == 0);
  for (uint64_t key = 1; key <= 6; key++)
    CHECK_EQUAL (cuframes_publisher_send_event (source.publisher, CUFRAMES_EVENT_GST, key, bytes, byte_count), 0);
  CHECK_EQUAL (source_publish (&source), 0);
  REQUIRE (pthread_create (&thread, NULL, publish_until_told, &stream) == 0);
  for (int round = 0; round < 20; round++) {
    CuframesSubscriber *subscriber = sink_open ("cam", NULL);
    CuframesItem item = { 0 };
    unsigned events = 0;
    REQUIRE (subscriber != NULL);
    while (item.kind != CUFRAMES_ITEM_FRAME && sink_next (subscriber, &item) == 0)
      events += item.kind == CUFRAMES_ITEM_EVENT;
    CHECK_EQUAL (item.kind, CUFRAMES_ITEM_FRAME);
    CHECK_EQUAL (events, 6);
    cuframes_frame_unref (item.frame);
    cuframes_subscriber_free (subscriber);
  }
  __atomic_store_n (&stream.over, true, __ATOMIC_RELAXED);
  pthread_join (thread, NULL);
  source_close (&source);
  free (bytes);
}

static void
events_of_every_size_arrive (void)
{
  static const size_t sizes[] = { 0, 1, 32768, 32769, 1048576, CUFRAMES_EVENT_BYTES_MAX };
  uint8_t *bytes = malloc (CUFRAMES_EVENT_BYTES_MAX + 1);
  CuframesSubscriber *subscriber;
  CuframesItem item;
  Source source;

  for (size_t i = 0; i <= CUFRAMES_EVENT_BYTES_MAX; i++)
    bytes[i] = (uint8_t) (i * 7 + i / 256);
  REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_ring (&source, 4, 1, "f") == 0);
  subscriber = sink_open ("cam", NULL);
  REQUIRE (subscriber != NULL);
  CHECK_STORY (subscriber, "C R ");
  for (int i = 0; i < 6; i++) {
    CHECK_EQUAL (cuframes_publisher_send_event (source.publisher, CUFRAMES_EVENT_GST, 1, bytes, sizes[i]), 0);
    REQUIRE (sink_expect (subscriber, CUFRAMES_ITEM_EVENT, &item));
    CHECK (item.byte_count == sizes[i] && memcmp (item.bytes, bytes, sizes[i]) == 0);
  }
  CHECK_EQUAL (cuframes_publisher_send_event (source.publisher, CUFRAMES_EVENT_GST, 0, bytes, CUFRAMES_EVENT_BYTES_MAX + 1), -EMSGSIZE);
  cuframes_subscriber_free (subscriber);
  /* kept for one who joins later, too */
  subscriber = sink_open ("cam", NULL);
  REQUIRE (subscriber != NULL);
  CHECK (sink_expect (subscriber, CUFRAMES_ITEM_CONNECTED, &item));
  CHECK (sink_expect (subscriber, CUFRAMES_ITEM_FORMAT, &item));
  REQUIRE (sink_expect (subscriber, CUFRAMES_ITEM_EVENT, &item));
  CHECK (item.byte_count == CUFRAMES_EVENT_BYTES_MAX && memcmp (item.bytes, bytes, item.byte_count) == 0);
  cuframes_subscriber_free (subscriber);
  source_close (&source);
  free (bytes);
}

static void
formats_of_every_size_arrive (void)
{
  char *format = calloc (1, CUFRAMES_FORMAT_BYTES_MAX + 2);
  CuframesSubscriber *subscriber;
  CuframesItem item;
  Source source;

  REQUIRE (source_open (&source, "cam", NULL) == 0);
  subscriber = sink_open ("cam", NULL);
  REQUIRE (subscriber != NULL);
  CHECK (sink_expect (subscriber, CUFRAMES_ITEM_CONNECTED, &item));
  CHECK_EQUAL (source_start_ring (&source, 4, 1, ""), 0);
  CHECK (sink_expect (subscriber, CUFRAMES_ITEM_FORMAT, &item));
  CHECK_EQUAL (item.byte_count, 0);
  memset (format, 'f', CUFRAMES_FORMAT_BYTES_MAX);
  CHECK_EQUAL (source_start_ring (&source, 4, 1, format), 0);
  CHECK (sink_expect (subscriber, CUFRAMES_ITEM_FORMAT, &item));
  CHECK (item.byte_count == CUFRAMES_FORMAT_BYTES_MAX && memcmp (item.bytes, format, item.byte_count) == 0);
  format[CUFRAMES_FORMAT_BYTES_MAX] = 'f';
  CHECK_EQUAL (source_start_ring (&source, 4, 1, format), -EMSGSIZE);
  CHECK_EQUAL (source_publish (&source), 0);
  CHECK (sink_expect (subscriber, CUFRAMES_ITEM_FRAME, &item));
  cuframes_frame_unref (item.frame);
  cuframes_subscriber_free (subscriber);
  source_close (&source);
  free (format);
}

/* The subscriber sleeps while events and frames come one by one: none of them may be slept over. */
static void
no_wake_up_is_lost (void)
{
  const int rounds = fixture_is_slow () ? 300 : 5000;
  Source source;
  Child child;

  REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_ring (&source, 4, 1, "f") == 0);
  child_start (&child, NULL, "subscriber", NULL);
  CHECK_EQUAL (child_ask (&child, "connect cam next"), 0);
  CHECK_EQUAL (child_ask (&child, "next"), CUFRAMES_ITEM_CONNECTED);
  CHECK_EQUAL (child_ask (&child, "next"), CUFRAMES_ITEM_FORMAT);
  for (int i = 0; i < rounds; i++) {
    const bool is_event = i % 3 == 0, is_ring = i % 100 == 99;
    child_say (&child, "next");
    if (i % 7 == 0)
      fixture_yield ();         /* so that by turns it sleeps and does not yet */
    CHECK_EQUAL (is_ring ? source_start_ring (&source, 4, 1, "g") : is_event ? send_text (&source, 0, "e") : source_publish (&source), 0);
    CHECK_EQUAL (child_answer (&child), is_ring ? CUFRAMES_ITEM_FORMAT : is_event ? CUFRAMES_ITEM_EVENT : CUFRAMES_ITEM_FRAME);
  }
  CHECK_EQUAL (child_end (&child), 0);
  source_close (&source);
}

static const FixtureTest tests[] = {
  {"events keep their place among frames and formats", events_keep_their_place},
  {"the last event comes before the end, however fast they follow", the_last_event_comes_before_the_end},
  {"who is overrun still gets every event, and in its place", who_is_overrun_still_gets_every_event},
  {"late joiners are told what is kept for them", late_joiners_are_told_what_is_kept},
  {"what is kept for late joiners comes before their first frame", what_is_kept_comes_before_the_first_frame},
  {"the end of a stream comes behind the frames that are still there", the_end_of_a_stream_comes_behind_its_frames},
  {"the end of a stream comes before the next stream", the_end_of_a_stream_comes_before_the_next_one},
  {"the last format is sent before the publisher goes", the_last_format_is_sent_before_the_publisher_goes},
  {"who never maps a format keeps one alive, however many follow", who_never_maps_a_format_keeps_one_alive},
  {"an old format is unmapped beside what is published", an_old_format_is_unmapped_beside_what_is_published},
  {"events of every size arrive", events_of_every_size_arrive},
  {"formats of every size arrive", formats_of_every_size_arrive},
  {"no wake-up is lost between frames, events and formats", no_wake_up_is_lost},
};

FIXTURE_MAIN (tests, NULL, 0)
