/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How frames are handed out: in place or copied, every one or the newest, and what happens when somebody is slow. */
#include "element-fixture.h"

#include <unistd.h>

/* Feeder and catcher are there and know each other's first frame, which has been taken. */
static gboolean
meet (Feeder * feeder, const char *sink, Catcher * catcher, const char *src)
{
  if (!feeder_open (feeder, sink) || !feeder_begin (feeder, SMALL) || !catcher_open (catcher, src))
    return FALSE;
  WAIT_UNTIL (stat_of (feeder->element, "num-subscribers") == 1);
  return feeder_push (feeder, 1, 1) == GST_FLOW_OK && catcher_take_number (catcher) == 1;
}

static void
part (Feeder * feeder, Catcher * catcher)
{
  CHECK (catcher_is_sound (catcher));
  CHECK (pipeline_is_well (feeder->pipeline));
  CHECK (pipeline_is_well (catcher->pipeline));
  catcher_close (catcher);
  feeder_close (feeder);
}

static void
test_copy_mode (void)
{
  Feeder feeder;
  Catcher catcher;
  guint fds, mappings;

  REQUIRE (meet (&feeder, "", &catcher, "io-mode=copy"));
  fds = fixture_count_fds ();
  mappings = fixture_count_mappings ("memfd:cuframes");
  for (guint i = 2; i <= 300; i++) {
    CHECK (feeder_push (&feeder, i, 1) == GST_FLOW_OK);
    CHECK (WAIT_UNTIL (stat_of (catcher.element, "delivered") == i));
  }
  CHECK (WAIT_UNTIL (catcher.frames == 300));
  CHECK_EQUAL (stat_of (catcher.element, "copied"), 300);
  CHECK_EQUAL (stat_of (feeder.element, "subscriber/copied"), 300);
  CHECK_EQUAL (stat_of (feeder.element, "slots-leased"), 0);
  /* All are still held, as plain memory. */
  CHECK_EQUAL (fixture_count_fds (), fds);
  CHECK_EQUAL (fixture_count_mappings ("memfd:cuframes"), mappings);
  for (guint i = 2; i <= 300; i++)
    CHECK_EQUAL (catcher_take_number (&catcher), i);
  part (&feeder, &catcher);
}

static void
test_auto_mode (void)
{
  Feeder feeder;
  Catcher catcher;

  REQUIRE (meet (&feeder, "max-leases=4", &catcher, ""));
  CHECK_EQUAL (stat_of (catcher.element, "max-leases"), 4);
  for (guint i = 2; i <= 100; i++) {
    CHECK (feeder_push (&feeder, i, 1) == GST_FLOW_OK);
    CHECK (WAIT_UNTIL (catcher.frames == i));
    CHECK (stat_of (feeder.element, "slots-leased") <= 4);
  }
  CHECK_EQUAL (stat_of (catcher.element, "missed"), 0);
  CHECK (stat_of (catcher.element, "copied") >= 90);
  for (guint i = 2; i <= 100; i++)
    CHECK_EQUAL (catcher_take_number (&catcher), i);
  CHECK (WAIT_UNTIL (stat_of (feeder.element, "slots-leased") == 0));
  /* With the leases back, frames come in place again. */
  for (guint i = 101; i <= 120; i++) {
    const gint64 copied = stat_of (catcher.element, "copied");
    CHECK (feeder_push (&feeder, i, 1) == GST_FLOW_OK);
    CHECK_EQUAL (catcher_take_number (&catcher), i);
    CHECK_EQUAL (stat_of (catcher.element, "copied"), copied);
  }
  part (&feeder, &catcher);
}

static void
test_zero_copy_mode (void)
{
  Feeder feeder;
  Catcher catcher;

  REQUIRE (meet (&feeder, "max-leases=3 slots=16", &catcher, "io-mode=zero-copy"));
  CHECK (feeder_push (&feeder, 2, 9) == GST_FLOW_OK);
  CHECK (WAIT_UNTIL (catcher.frames == 4));
  CHECK (STAYS (catcher.frames == 4, 20 * GST_MSECOND));
  for (guint i = 2; i <= 10; i++)
    CHECK_EQUAL (catcher_take_number (&catcher), i);
  CHECK_EQUAL (stat_of (catcher.element, "copied"), 0);
  part (&feeder, &catcher);
}

static void
test_one_lease (void)
{
  static const char *const modes[] = { "io-mode=zero-copy max-leases=1", "io-mode=auto max-leases=1", "io-mode=copy max-leases=1" };

  for (guint i = 0; i < G_N_ELEMENTS (modes); i++) {
    Feeder feeder;
    Catcher catcher;
    REQUIRE (meet (&feeder, "", &catcher, modes[i]));
    CHECK_EQUAL (stat_of (catcher.element, "max-leases"), 1);
    for (guint j = 2; j < 40; j++) {
      CHECK (feeder_push (&feeder, j, 1) == GST_FLOW_OK);
      CHECK_EQUAL (catcher_take_number (&catcher), j);
    }
    part (&feeder, &catcher);
  }
}

static void
test_leases_capped (void)
{
  Feeder feeder;
  Catcher catcher;

  REQUIRE (meet (&feeder, "max-leases=2", &catcher, "max-leases=60 io-mode=zero-copy"));
  CHECK_EQUAL (stat_of (catcher.element, "max-leases"), 2);
  CHECK (feeder_push (&feeder, 2, 6) == GST_FLOW_OK);
  for (guint i = 2; i <= 7; i++)
    CHECK_EQUAL (catcher_take_number (&catcher), i);
  part (&feeder, &catcher);
}

static void
test_latest (void)
{
  Feeder feeder;
  Catcher catcher;
  CatcherItem *item;

  REQUIRE (meet (&feeder, "slots=8", &catcher, "delivery=latest"));
  catcher_block (&catcher, TRUE);
  CHECK (feeder_push (&feeder, 2, 1) == GST_FLOW_OK);
  CHECK (WAIT_UNTIL (stat_of (catcher.element, "delivered") == 2));
  CHECK (feeder_push (&feeder, 3, 40) == GST_FLOW_OK);
  catcher_block (&catcher, FALSE);
  CHECK_EQUAL (catcher_take_number (&catcher), 2);
  item = catcher_take_frame (&catcher);
  REQUIRE (item != NULL);
  CHECK_EQUAL (item_number (item), 42);
  CHECK (GST_BUFFER_FLAG_IS_SET (item->object, GST_BUFFER_FLAG_DISCONT));
  item_free (item);
  CHECK_EQUAL (stat_of (catcher.element, "missed"), 39);
  CHECK_EQUAL (stat_of (feeder.element, "subscriber/missed"), 39);
  CHECK_EQUAL (stat_of (feeder.element, "drops"), 0);
  part (&feeder, &catcher);
}

static void
test_fifo_overrun (void)
{
  Feeder feeder;
  Catcher catcher;
  CatcherItem *item;
  guint64 number;
  gint64 missed;

  REQUIRE (meet (&feeder, "slots=8", &catcher, ""));
  catcher_block (&catcher, TRUE);
  CHECK (feeder_push (&feeder, 2, 1) == GST_FLOW_OK);
  CHECK (WAIT_UNTIL (stat_of (catcher.element, "delivered") == 2));
  CHECK (feeder_push (&feeder, 3, 40) == GST_FLOW_OK);
  catcher_block (&catcher, FALSE);
  CHECK_EQUAL (catcher_take_number (&catcher), 2);
  item = catcher_take_frame (&catcher);
  REQUIRE (item != NULL);
  number = item_number (item);
  CHECK (number > 30 && number <= 42);
  CHECK (GST_BUFFER_FLAG_IS_SET (item->object, GST_BUFFER_FLAG_DISCONT));
  item_free (item);
  missed = (gint64) number - 3;
  CHECK_EQUAL (stat_of (catcher.element, "missed"), missed);
  while (number < 42) {
    item = catcher_take_frame (&catcher);
    REQUIRE (item != NULL);
    CHECK_EQUAL (item_number (item), ++number);
    CHECK (!GST_BUFFER_FLAG_IS_SET (item->object, GST_BUFFER_FLAG_DISCONT));
    item_free (item);
  }
  part (&feeder, &catcher);
}

static void
test_start (void)
{
  static const struct
  {
    const char *property;
    guint64 first;
  } starts[] = { {"start=oldest", 11}, {"start=latest", 20}, {"start=next", 21} };

  for (guint i = 0; i < G_N_ELEMENTS (starts); i++) {
    Feeder feeder;
    Catcher catcher;
    guint64 number;
    REQUIRE (feeder_open (&feeder, "slots=8"));
    REQUIRE (feeder_begin (&feeder, SMALL));
    CHECK (feeder_push (&feeder, 1, 20) == GST_FLOW_OK);
    REQUIRE (catcher_open (&catcher, starts[i].property));
    /* One more frame takes the slot of one that is still to be read. */
    CHECK (WAIT_UNTIL (stat_of (catcher.element, "generation") == 1 && (i == 2 || stat_of (catcher.element, "sequence") == 20)));
    if (i == 2)
      CHECK (STAYS (catcher.frames == 0, 20 * GST_MSECOND));
    CHECK (feeder_push (&feeder, 21, 1) == GST_FLOW_OK);
    number = catcher_take_number (&catcher);
    /* The oldest is one of the slots that subscribers may count on, or of those that upstream does not write to. */
    CHECK (number == starts[i].first || (i == 0 && number >= 10 && number <= 14));
    CHECK_EQUAL (stat_of (catcher.element, "missed"), 0);
    part (&feeder, &catcher);
  }
}

static void
test_spin (void)
{
  Feeder feeder;
  Catcher catcher;
  gint64 wakeups;

  REQUIRE (meet (&feeder, "", &catcher, "spin-us=1000000"));
  wakeups = stat_of (catcher.element, "wakeups");
  for (guint i = 2; i < 50; i++) {
    CHECK (feeder_push (&feeder, i, 1) == GST_FLOW_OK);
    CHECK_EQUAL (catcher_take_number (&catcher), i);
  }
  CHECK (stat_of (catcher.element, "wakeups") - wakeups < 10);
  /* It can be stopped at once all the same. */
  const guint64 start = fixture_now_ns ();
  gst_element_set_state (catcher.pipeline, GST_STATE_READY);
  CHECK (fixture_now_ns () - start < GST_SECOND + GST_SECOND / 2);
  part (&feeder, &catcher);
}

static void
test_overflow_drop (void)
{
  Feeder feeder;
  Catcher catcher;

  REQUIRE (meet (&feeder, "slots=2 max-leases=8", &catcher, "io-mode=zero-copy start=oldest"));
  for (guint i = 2; i < 60; i++) {
    CHECK (gst_pad_push (feeder.pad, feeder_frame (&feeder, i)) == GST_FLOW_OK);
    CHECK (WAIT_UNTIL (catcher.frames >= MIN (i, 3)));
  }
  CHECK (stat_of (feeder.element, "drops") > 0);
  CHECK_EQUAL (stat_of (feeder.element, "drops") + stat_of (feeder.element, "frames"), 59);
  catcher_drop_all (&catcher);
  CHECK (feeder_push (&feeder, 100, 1) == GST_FLOW_OK);
  CHECK_EQUAL (catcher_take_number (&catcher), 100);
  part (&feeder, &catcher);
}

static void
test_overflow_wait (void)
{
  Feeder feeder;
  Catcher catcher;
  guint64 expected = 2;

  REQUIRE (meet (&feeder, "slots=4 overflow=wait overflow-timeout=20000000000", &catcher, "start=oldest"));
  Child child;
  child_start (&child, NULL, "catcher", "channel=test start=oldest", NULL);
  CHECK (child_expect (&child, "frame"));
  for (guint i = 0; i < 20; i++) {
    CHECK (feeder_push (&feeder, 2 + i * 10, 10) == GST_FLOW_OK);
    for (guint j = 0; j < 10; j++)
      CHECK_EQUAL (catcher_take_number (&catcher), expected++);
  }
  for (guint i = 2; i < 202; i++) {
    gchar *line = g_strdup_printf ("frame %u", i);
    char got[256];
    CHECK (child_read (&child, got, sizeof got) && g_str_has_prefix (got, line));
    g_free (line);
  }
  CHECK_EQUAL (stat_of (feeder.element, "drops"), 0);
  CHECK (feeder_event (&feeder, gst_event_new_eos ()));
  CHECK (child_expect (&child, "sound 1"));
  CHECK_EQUAL (child_end (&child), 0);
  part (&feeder, &catcher);
}

/* From the first frame on, and over changes of caps. */
static void
test_wait_loses_nothing (void)
{
  Feeder feeder;
  Catcher catcher;

  REQUIRE (feeder_open (&feeder, "slots=4 overflow=wait overflow-timeout=20000000000 wait-for-subscribers=1"));
  REQUIRE (catcher_open (&catcher, "start=oldest io-mode=copy"));
  for (guint i = 0; i < 6; i++) {
    REQUIRE (feeder_begin (&feeder, i % 2 == 0 ? SMALL : WIDE));
    CHECK (feeder_push (&feeder, i * 50, 50) == GST_FLOW_OK);
  }
  CHECK (WAIT_UNTIL (catcher.frames == 300));
  CHECK_EQUAL (stat_of (catcher.element, "missed"), 0);
  part (&feeder, &catcher);
}

static void
test_wait_times_out (void)
{
  Feeder feeder;
  Catcher catcher;
  guint64 start;

  REQUIRE (meet (&feeder, "slots=4 overflow=wait overflow-timeout=50000000", &catcher, "start=oldest"));
  catcher_block (&catcher, TRUE);
  CHECK (feeder_push (&feeder, 2, 3) == GST_FLOW_OK);
  start = fixture_now_ns ();
  CHECK (feeder_push (&feeder, 5, 6) == GST_FLOW_OK);
  CHECK (fixture_now_ns () - start >= 100 * GST_MSECOND);
  CHECK (fixture_now_ns () - start < 5 * GST_SECOND);
  catcher_block (&catcher, FALSE);
  part (&feeder, &catcher);
}

static void
test_overflow_evict (void)
{
  Feeder feeder;
  Catcher slow, fast;
  CatcherItem *held[4];
  guint64 last = 0;
  guint more = 0;

  REQUIRE (meet (&feeder, "slots=4 max-leases=4 overflow=evict", &slow, "io-mode=zero-copy start=oldest"));
  REQUIRE (catcher_open (&fast, "start=next"));
  CHECK (WAIT_UNTIL (stat_of (feeder.element, "num-subscribers") == 2));
  CHECK (WAIT_UNTIL (stat_of (fast.element, "generation") == 1));
  for (guint i = 0; i < 4; i++) {
    CHECK (feeder_push (&feeder, 2 + i, 1) == GST_FLOW_OK);
    held[i] = catcher_take_frame (&slow);
    CHECK_EQUAL (item_number (held[i]), 2 + i);
  }
  /* On until it happens, and two frames more. The new ring that upstream negotiates is filled by the slow one as well, which has to come to that. */
  for (guint i = 6; i < 40 && more < 3; i++) {
    if (gst_pad_check_reconfigure (feeder.pad))
      REQUIRE (feeder_negotiate (&feeder));
    CHECK (feeder_push (&feeder, i, 1) == GST_FLOW_OK);
    CHECK (WAIT_UNTIL (fast.frames == i - 1 && slow.frames >= MIN (i, 9)));
    catcher_drop_all (&fast);
    more += stat_of (feeder.element, "evicted") > 0;
  }
  CHECK_EQUAL (more, 3);
  CHECK_EQUAL (stat_of (feeder.element, "evicted"), 1);
  CHECK_EQUAL (stat_of (feeder.element, "drops"), 0);
  CHECK_EQUAL (stat_of (fast.element, "missed"), 0);
  /* The one that was evicted keeps what it holds and comes back. */
  for (guint i = 0; i < 4; i++) {
    CHECK_EQUAL (item_number (held[i]), 2 + i);
    item_free (held[i]);
  }
  CHECK (WAIT_UNTIL (stat_of (slow.element, "connections") == 2));
  CHECK (feeder_push (&feeder, 50, 1) == GST_FLOW_OK);
  while (last != 50 && last != G_MAXUINT64)
    last = catcher_take_number (&slow);
  CHECK_EQUAL (last, 50);
  CHECK (WAIT_UNTIL (stat_of (feeder.element, "num-subscribers") == 2));
  catcher_close (&fast);
  catcher_close (&slow);
  CHECK (pipeline_is_well (feeder.pipeline));
  feeder_close (&feeder);
}

/* Signals and the action */

typedef struct
{
  gint added, removed, notified;        /* atomic */
  guint id, pid;
  gchar *name;
} Told;

static void
on_added (GstElement * element, guint id, const GstStructure * subscriber, Told * told)
{
  told->id = id;
  gst_structure_get_uint (subscriber, "pid", &told->pid);
  g_free (told->name);
  told->name = g_strdup (gst_structure_get_string (subscriber, "name"));
  stat_of (element, "frames");
  g_atomic_int_inc (&told->added);
}

static void
on_removed (GstElement * element, guint id, const GstStructure * subscriber, Told * told)
{
  CHECK (gst_structure_has_field (subscriber, "delivered"));
  g_atomic_int_inc (&told->removed);
}

static void
on_notify (GstElement * element, GParamSpec * spec, Told * told)
{
  g_atomic_int_inc (&told->notified);
}

static void
test_signals (void)
{
  Told told = { 0 };
  gboolean evicted = FALSE;
  guint count = 99;
  Feeder feeder;
  Catcher catcher;

  REQUIRE (feeder_open (&feeder, ""));
  g_signal_connect (feeder.element, "subscriber-added", G_CALLBACK (on_added), &told);
  g_signal_connect (feeder.element, "subscriber-removed", G_CALLBACK (on_removed), &told);
  g_signal_connect (feeder.element, "notify::num-subscribers", G_CALLBACK (on_notify), &told);
  REQUIRE (feeder_begin (&feeder, SMALL));
  CHECK (feeder_push (&feeder, 1, 1) == GST_FLOW_OK);
  REQUIRE (catcher_open (&catcher, "reconnect=false"));
  CHECK (WAIT_UNTIL (g_atomic_int_get (&told.added) == 1));
  CHECK_EQUAL (told.pid, getpid ());
  CHECK (g_strcmp0 (told.name, "element-delivery") == 0 || g_strcmp0 (told.name, "element-deliver") == 0);
  CHECK_EQUAL (catcher_take_number (&catcher), 1);
  g_object_get (feeder.element, "num-subscribers", &count, NULL);
  CHECK_EQUAL (count, 1);
  CHECK_EQUAL (stat_of (feeder.element, "subscriber/id"), told.id);
  CHECK_EQUAL (stat_of (feeder.element, "subscriber/delivered"), 1);
  CHECK_EQUAL (stat_of (feeder.element, "subscriber/lag"), 0);
  g_signal_emit_by_name (feeder.element, "evict", told.id + 7, &evicted);
  CHECK (!evicted);
  g_signal_emit_by_name (feeder.element, "evict", told.id, &evicted);
  CHECK (evicted);
  CHECK (WAIT_UNTIL (g_atomic_int_get (&told.removed) == 1));
  CHECK (WAIT_UNTIL (g_atomic_int_get (&told.notified) >= 2));
  pipeline_stop_at_error (catcher.pipeline, "has gone");
  CHECK_EQUAL (stat_of (feeder.element, "num-subscribers"), 0);
  CHECK_EQUAL (stat_of (feeder.element, "evicted"), 1);
  catcher_close (&catcher);
  feeder_close (&feeder);
  g_free (told.name);
}

static void
test_stats_fields (void)
{
  static const char *const sink_fields[] = {
    "frames", "drops", "copies", "bytes", "wakeups", "evicted", "refused", "memory-bytes", "generation", "slots", "slots-leased", "slots-held",
    "num-subscribers", "subscriber/id", "subscriber/pid", "subscriber/delivered", "subscriber/missed", "subscriber/copied",
    "subscriber/leases-held", "subscriber/lag",
  };
  static const char *const src_fields[] = {
    "connected", "delivered", "missed", "copied", "wakeups", "leases-held", "generation", "connections",
  };
  Feeder feeder;
  Catcher catcher;

  REQUIRE (meet (&feeder, "", &catcher, "io-mode=zero-copy"));
  CHECK (feeder_push (&feeder, 2, 1) == GST_FLOW_OK);
  CHECK (WAIT_UNTIL (catcher.frames == 2));
  for (guint i = 0; i < G_N_ELEMENTS (sink_fields); i++)
    if (stat_of (feeder.element, sink_fields[i]) < 0)
      fixture_fail (__FILE__, __LINE__, __func__, sink_fields[i]);
  for (guint i = 0; i < G_N_ELEMENTS (src_fields); i++)
    if (stat_of (catcher.element, src_fields[i]) < 0)
      fixture_fail (__FILE__, __LINE__, __func__, src_fields[i]);
  CHECK_EQUAL (stat_of (feeder.element, "bytes"), 2 * GST_VIDEO_INFO_SIZE (&feeder.info));
  CHECK_EQUAL (stat_of (feeder.element, "subscriber/leases-held"), 1);
  CHECK_EQUAL (stat_of (catcher.element, "leases-held"), 1);
  item_free (catcher_take_frame (&catcher));
  CHECK (WAIT_UNTIL (stat_of (catcher.element, "leases-held") == 0));
  CHECK (WAIT_UNTIL (stat_of (feeder.element, "subscriber/leases-held") == 0));
  part (&feeder, &catcher);
}

static const FixtureTest tests[] = {
  {"io-mode=copy holds nothing of the ring, whatever is queued downstream", test_copy_mode},
  {"io-mode=auto copies when its leases are used up, and goes back", test_auto_mode},
  {"io-mode=zero-copy waits when its leases are used up", test_zero_copy_mode},
  {"one lease is enough in every mode", test_one_lease},
  {"the publisher's limit of leases holds", test_leases_capped},
  {"delivery=latest skips to the newest frame and says so", test_latest},
  {"a fifo that was overrun goes on with the oldest frame and says so", test_fifo_overrun},
  {"start chooses the first frame", test_start},
  {"spinning needs no wake-up", test_spin},
  {"overflow=drop drops and counts, and the publisher goes on", test_overflow_drop},
  {"overflow=wait loses nothing with two subscribers", test_overflow_wait},
  {"overflow=wait loses nothing from the first frame on and over changes of caps", test_wait_loses_nothing},
  {"overflow=wait goes on when its time is over", test_wait_times_out},
  {"overflow=evict takes off who holds the oldest frame, and the others miss nothing", test_overflow_evict},
  {"signals tell of subscribers, and evict takes one off", test_signals},
  {"statistics have their fields", test_stats_fields},
};

ELEMENT_MAIN (tests, NULL, 0)
