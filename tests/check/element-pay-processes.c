/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Buffers by cuframespay and cuframesdepay from one process to another, either of which may be killed or stopped: what arrives, and what stays
 * behind. */
#include "pay-fixture.h"

#include <signal.h>
#include <stdlib.h>

static GstBuffer *
make_frame (Feeder * feeder, const char *how, guint64 number)
{
  return strcmp (how, "own") == 0 ? feeder_own_frame (feeder, number) : feeder_frame (feeder, number);
}

static GstFlowReturn
push_frames (Feeder * feeder, const char *how, guint64 first, guint count)
{
  GstFlowReturn flow = GST_FLOW_OK;

  for (guint i = 0; i < count && flow == GST_FLOW_OK; i++)
    flow = gst_pad_push (feeder->pad, make_frame (feeder, how, first + i));
  return flow;
}

/* DESCRIPTOR PROPERTIES: "caps CAPS", "pool FIRST COUNT" or "own FIRST COUNT" (say "pushed FLOW"), "stat FIELD", "fds", "gap", "eos". */
static int
play_payer (int argc, char **argv)
{
  char line[1024], how[16];
  guint64 first;
  guint count;
  Feeder feeder;

  if (!payer_open (&feeder, argv[1], atoi (argv[0])))
    return 1;
  printf ("open\n");
  while (fgets (line, sizeof line, stdin) != NULL) {
    line[strcspn (line, "\n")] = 0;
    if (g_str_has_prefix (line, "caps "))
      printf ("caps %d\n", feeder_begin (&feeder, line + 5));
    else if (g_str_has_prefix (line, "stat "))
      printf ("stat %" G_GINT64_FORMAT "\n", stat_of (feeder.element, line + 5));
    else if (strcmp (line, "fds") == 0)
      printf ("fds %u\n", fixture_count_fds ());
    else if (strcmp (line, "gap") == 0)
      printf ("gap %d\n", feeder_event (&feeder, gst_event_new_gap (0, 1)));
    else if (strcmp (line, "eos") == 0)
      printf ("eos %d\n", feeder_event (&feeder, gst_event_new_eos ()));
    else if (sscanf (line, "%15s %" G_GUINT64_FORMAT " %u", how, &first, &count) == 3)
      printf ("pushed %d\n", push_frames (&feeder, how, first, count));
  }
  feeder_close (&feeder);
  return 0;
}

/* DESCRIPTOR HOW: says "frame NUMBER" of each frame, and with HOW "hold" keeps it. */
static int
play_holder (int argc, char **argv)
{
  GPtrArray *held = g_ptr_array_new_with_free_func ((GDestroyNotify) item_free);
  CatcherItem *item;
  Catcher catcher;

  if (!depayer_open (&catcher, "", atoi (argv[0])))
    return 1;
  printf ("open\n");
  while (!catcher.ended) {
    item = catcher_take_if (&catcher);
    if (item == NULL) {
      fixture_yield ();
      continue;
    }
    if (GST_IS_BUFFER (item->object))
      printf ("frame %" G_GUINT64_FORMAT "\n", item_number (item));
    if (strcmp (argv[1], "hold") == 0)
      g_ptr_array_add (held, item);
    else
      item_free (item);
  }
  g_ptr_array_unref (held);
  catcher_close (&catcher);
  return 0;
}

static gint64
ask (Child * child, const char *what, const char *answer)
{
  char line[256];

  child_say (child, "%s", what);
  while (child_read (child, line, sizeof line))
    if (g_str_has_prefix (line, answer))
      return g_ascii_strtoll (line + strlen (answer), NULL, 10);
  return -1;
}

/* A payer in another process, and a depayer at the other end of a pair of sockets. */
static gboolean
start_pair (int type, const char *properties, Child * child, Catcher * catcher)
{
  int ends[2];
  gchar *number;

  make_pair (type, ends);
  fcntl (ends[0], F_SETFD, 0);
  number = g_strdup_printf ("%d", ends[0]);
  child_start (child, NULL, "payer", number, properties, NULL);
  close (ends[0]);
  g_free (number);
  return child_expect (child, "open") && depayer_open (catcher, "", ends[1]);
}

/* Ends the test at the first that is not what it must be. */
static gboolean
take_numbers (Catcher * catcher, guint64 first, guint count)
{
  for (guint i = 0; i < count; i++) {
    const guint64 number = catcher_take_number (catcher);
    CHECK_EQUAL (number, first + i);
    if (number != first + i)
      return FALSE;
  }
  return TRUE;
}

static void
pass_between_processes (int type)
{
  Child child;
  Catcher catcher;

  REQUIRE (start_pair (type, FOR_EVER, &child, &catcher));
  child_say (&child, "caps " SMALL);
  CHECK (child_expect (&child, "caps 1"));
  child_say (&child, "pool 1 300");
  REQUIRE (take_numbers (&catcher, 1, 300));
  CHECK (child_expect (&child, "pushed 0"));
  child_say (&child, "own 301 50");
  REQUIRE (take_numbers (&catcher, 301, 50));
  CHECK (child_expect (&child, "pushed 0"));
  CHECK_EQUAL (ask (&child, "stat buffers", "stat "), 350);
  CHECK_EQUAL (ask (&child, "stat copies", "stat "), 50);
  CHECK_EQUAL (ask (&child, "stat drops", "stat "), 0);
  CHECK_EQUAL (stat_of (catcher.element, "buffers"), 350);
  CHECK_EQUAL (stat_of (catcher.element, "missed"), 0);
  CHECK_EQUAL (stat_of (catcher.element, "invalid"), 0);
  CHECK (catcher_is_sound (&catcher));
  child_say (&child, "eos");
  CHECK (WAIT_UNTIL (catcher.ended));
  CHECK (pipeline_is_well (catcher.pipeline));
  CHECK_EQUAL (child_end (&child), 0);
  catcher_close (&catcher);
}

static void
test_stream (void)
{
  pass_between_processes (SOCK_STREAM);
}

static void
test_seqpacket (void)
{
  pass_between_processes (SOCK_SEQPACKET);
}

static void
test_dgram (void)
{
  pass_between_processes (SOCK_DGRAM);
}

/* A multisocketsink lets go of what it has sent when the next message comes. */
static void
let_go (Child * child, Catcher * catcher)
{
  GstEvent *gap;

  CHECK_EQUAL (ask (child, "gap", "gap "), 1);
  gap = catcher_take_event (catcher, GST_EVENT_GAP);
  CHECK (gap != NULL);
  gst_clear_event (&gap);
  CHECK (WAIT_UNTIL (ask (child, "stat held", "stat ") == 0));
}

static void
test_descriptors (void)
{
  static const char *const ways[] = { "pool", "own" };
  Child child;
  Catcher catcher;

  for (guint i = 0; i < G_N_ELEMENTS (ways); i++) {
    gint64 here, there;
    gchar *order;
    REQUIRE (start_pair (SOCK_STREAM, FOR_EVER, &child, &catcher));
    child_say (&child, "caps " SMALL);
    CHECK (child_expect (&child, "caps 1"));
    child_say (&child, "%s 1 40", ways[i]);
    REQUIRE (take_numbers (&catcher, 1, 40));
    CHECK (child_expect (&child, "pushed 0"));
    let_go (&child, &catcher);
    there = ask (&child, "fds", "fds ");
    here = fixture_count_fds ();
    order = g_strdup_printf ("%s 41 1000", ways[i]);
    child_say (&child, "%s", order);
    REQUIRE (take_numbers (&catcher, 41, 1000));
    CHECK (child_expect (&child, "pushed 0"));
    let_go (&child, &catcher);
    CHECK_EQUAL (ask (&child, "fds", "fds "), there);
    CHECK (WAIT_UNTIL (fixture_count_fds () == here));
    g_free (order);
    CHECK_EQUAL (child_end (&child), 0);
    CHECK (WAIT_UNTIL (catcher.ended));
    catcher_close (&catcher);
  }
}

static void
test_sender_is_killed (void)
{
  CatcherItem *held[3];
  int ends[2];
  Child child;
  Catcher catcher;

  REQUIRE (start_pair (SOCK_SEQPACKET, "max-held=4 " FOR_EVER, &child, &catcher));
  child_say (&child, "caps " SMALL);
  CHECK (child_expect (&child, "caps 1"));
  child_say (&child, "pool 1 3");
  CHECK (child_expect (&child, "pushed 0"));
  for (guint i = 0; i < 3; i++)
    held[i] = catcher_take_frame (&catcher);
  child_kill (&child);
  CHECK (WAIT_UNTIL (catcher.ended));
  for (guint i = 0; i < 3; i++) {
    CHECK_EQUAL (item_number (held[i]), i + 1);
    item_free (held[i]);
  }
  catcher_close (&catcher);
  make_pair (SOCK_STREAM, ends);
  close (ends[0]);
  REQUIRE (depayer_open (&catcher, "", ends[1]));
  CHECK (WAIT_UNTIL (catcher.ended));
  catcher_close (&catcher);
}

/* A payer here, and the other process at the other end. */
static gboolean
start_holder (const char *how, const char *properties, Feeder * feeder, Child * child)
{
  int ends[2];
  gchar *number;

  make_pair (SOCK_STREAM, ends);
  fcntl (ends[1], F_SETFD, 0);
  number = g_strdup_printf ("%d", ends[1]);
  child_start (child, NULL, "holder", number, how, NULL);
  close (ends[1]);
  g_free (number);
  return child_expect (child, "open") && payer_open (feeder, properties, ends[0]) && feeder_begin (feeder, SMALL);
}

static guint
count_receivers (GstElement * sender)
{
  guint count;

  g_object_get (sender, "num-handles", &count, NULL);
  return count;
}

static void
test_receiver_is_killed (void)
{
  GstElement *sender;
  Feeder feeder;
  Child child;

  REQUIRE (start_holder ("hold", "max-held=6", &feeder, &child));
  CHECK_EQUAL (feeder_push (&feeder, 1, 6), GST_FLOW_OK);
  CHECK (child_expect (&child, "frame 6"));
  CHECK_EQUAL (feeder_push (&feeder, 7, 3), GST_FLOW_OK);
  CHECK_EQUAL (stat_of (feeder.element, "drops"), 3);
  CHECK_EQUAL (stat_of (feeder.element, "held"), 6);
  child_kill (&child);
  sender = gst_bin_get_by_name (GST_BIN (feeder.pipeline), "sender");
  CHECK (WAIT_UNTIL (count_receivers (sender) == 0));
  gst_object_unref (sender);
  CHECK (feeder_event (&feeder, gst_event_new_gap (0, 1)));
  CHECK (WAIT_UNTIL (stat_of (feeder.element, "held") == 0));
  CHECK_EQUAL (feeder_push (&feeder, 10, 1), GST_FLOW_OK);
  CHECK_EQUAL (stat_of (feeder.element, "drops"), 3);
  CHECK (pipeline_is_well (feeder.pipeline));
  feeder_close (&feeder);
}

/* Pushes one more and looks whether it was let through. */
static gboolean
passes (Feeder * feeder, guint64 * number)
{
  const gint64 before = stat_of (feeder->element, "buffers");

  return feeder_push (feeder, (*number)++, 1) == GST_FLOW_OK && stat_of (feeder->element, "buffers") > before;
}

static void
test_receiver_is_stopped (void)
{
  guint64 number = 1;
  Feeder feeder;
  Child child;
  gchar *last;

  REQUIRE (start_holder ("read", "max-held=8", &feeder, &child));
  CHECK (passes (&feeder, &number));
  CHECK (child_expect (&child, "frame 1"));
  kill (child.pid, SIGSTOP);
  CHECK_EQUAL (feeder_push (&feeder, number, 200), GST_FLOW_OK);
  number += 200;
  CHECK (stat_of (feeder.element, "held") <= 8);
  CHECK (stat_of (feeder.element, "drops") >= 192);
  kill (child.pid, SIGCONT);
  CHECK (WAIT_UNTIL (passes (&feeder, &number)));
  last = g_strdup_printf ("frame %" G_GUINT64_FORMAT, number - 1);
  CHECK (child_expect (&child, last));
  g_free (last);
  CHECK (pipeline_is_well (feeder.pipeline));
  feeder_close (&feeder);
  CHECK_EQUAL (child_wait (&child), 0);
}

static const FixtureTest tests[] = {
  {"frames cross to another process over a stream socket", test_stream},
  {"frames cross to another process over a sequenced packet socket", test_seqpacket},
  {"frames cross to another process over a datagram socket", test_dgram},
  {"a thousand buffers cost neither side a descriptor", test_descriptors},
  {"a sender that is killed, and a socket that is closed, end the stream", test_sender_is_killed},
  {"a receiver that is killed gives all back", test_receiver_is_killed},
  {"a receiver that is stopped costs frames, no more, and goes on", test_receiver_is_stopped},
};

static const FixtureRole roles[] = {
  {"payer", play_payer},
  {"holder", play_holder},
};

ELEMENT_MAIN (tests, roles, G_N_ELEMENTS (roles))
