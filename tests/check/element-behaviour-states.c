/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* State changes as users of other elements that connect processes rely on them: by both pipelines, each in a process of its own, and by every
 * element of either; elements that are used again, side by side, or in a branch that comes and goes. */
#include "element-fixture.h"

#include <string.h>

#define STATES 4
/* A capsfilter would complain if it was up while the one behind it was not. */
#define PUBLISHER "videotestsrc is-live=true name=a ! queue name=b ! cuframessink name=cuframes channel=test"
#define SUBSCRIBER "cuframessrc name=cuframes channel=test ! queue name=a ! fakesink name=b sync=false async=false"

/* The process: a pipeline that is moved step by step */

typedef struct
{
  GstElement *pipeline, *end;
  gint buffers;                 /* that reached the end; atomic */
} Machine;

static GstPadProbeReturn
count_buffer (GstPad * pad, GstPadProbeInfo * info, gpointer data)
{
  g_atomic_int_inc ((gint *) data);
  return GST_PAD_PROBE_OK;
}

static gboolean
move (GstElement * element, gint state)
{
  return gst_element_set_state (element, state) != GST_STATE_CHANGE_FAILURE;
}

/* Errors and warnings since the last time. */
static gint
count_complaints (GstElement * pipeline, gboolean expected)
{
  GstBus *bus = gst_element_get_bus (pipeline);
  GstMessage *message;
  gint count = 0;

  while ((message = gst_bus_pop_filtered (bus, GST_MESSAGE_ERROR | GST_MESSAGE_WARNING)) != NULL) {
    GError *error = NULL;
    if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR)
      gst_message_parse_error (message, &error, NULL);
    else
      gst_message_parse_warning (message, &error, NULL);
    if (!expected)
      fprintf (stderr, "  says: %s\n", error->message);
    g_error_free (error);
    gst_message_unref (message);
    count++;
  }
  gst_object_unref (bus);
  return count;
}

static gint
obey (Machine * machine, const char *order, const char *name, gint number)
{
  GstElement *element = name[0] == 0 ? NULL : gst_bin_get_by_name (GST_BIN (machine->pipeline), name);
  gint answer = -1;

  if (strcmp (order, "element") == 0) {
    answer = move (element, number);
  } else if (strcmp (order, "state") == 0)
    answer = move (machine->pipeline, number);
  else if (strcmp (order, "settle") == 0)
    answer = gst_element_get_state (machine->pipeline, NULL, NULL, FIXTURE_BOUND_NS) != GST_STATE_CHANGE_FAILURE;
  else if (strcmp (order, "flows") == 0) {
    const gint before = g_atomic_int_get (&machine->buffers);
    answer = WAIT_UNTIL (g_atomic_int_get (&machine->buffers) > before + 1);
  } else if (strcmp (order, "complaints") == 0)
    answer = count_complaints (machine->pipeline, FALSE);
  else if (strcmp (order, "fds") == 0)
    answer = fixture_count_fds ();
  else if (strcmp (order, "mappings") == 0)
    answer = fixture_count_mappings ("memfd:cuframes");
  gst_clear_object (&element);
  return answer;
}

/* DESCRIPTION: "ORDER NAME NUMBER", see above; each is answered by a number. */
static int
play_machine (int argc, char **argv)
{
  Machine machine = {.pipeline = pipeline_new ("%s", argv[0]) };
  char line[128], order[32], name[32];
  GstPad *pad;
  gint number;

  machine.end = gst_bin_get_by_name (GST_BIN (machine.pipeline), strstr (argv[0], "fakesink") != NULL ? "b" : "cuframes");
  pad = gst_element_get_static_pad (machine.end, "sink");
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, count_buffer, &machine.buffers, NULL);
  gst_object_unref (pad);
  while (fgets (line, sizeof line, stdin) != NULL) {
    name[0] = 0;
    number = 0;
    if (sscanf (line, "%31s %d", order, &number) < 2)
      sscanf (line, "%31s %31s %d", order, name, &number);
    printf ("%d\n", obey (&machine, order, name, number));
  }
  gst_object_unref (machine.end);
  pipeline_stop (machine.pipeline);
  return 0;
}

/* All states of both, by every step from each */

typedef struct
{
  guint8 left[STATES * STATES];
  guint8 steps[STATES * STATES * 2 * (STATES - 1) + 1];
  guint count;
} Tour;

/* The numberth neighbour of a pair of states: one of the two goes to another state, not always to the next. */
static guint
neighbour (guint pair, guint number)
{
  const guint one = pair / STATES, other = pair % STATES, step = number % (STATES - 1) + 1;

  return number < STATES - 1 ? (one + step) % STATES * STATES + other : one * STATES + (other + step) % STATES;
}

/* Each pair has as many ways in as out, so one walk takes every way once: the circles that are found are put together from behind. */
static void
make_tour (Tour * tour, guint pair)
{
  while (tour->left[pair] > 0)
    make_tour (tour, neighbour (pair, --tour->left[pair]));
  tour->steps[tour->count++] = pair;
}

static gboolean
ask_both (Child * children, const char *order)
{
  return child_ask (&children[0], "%s", order) == 1 && child_ask (&children[1], "%s", order) == 1;
}

/* settled: each step is complete before the next. */
static void
take_tour (gboolean settled)
{
  const guint both_playing = STATES * STATES - 1;
  Child children[2];
  Tour tour = { 0 };
  guint flows = 0;

  memset (tour.left, 2 * (STATES - 1), sizeof tour.left);
  make_tour (&tour, 0);
  CHECK_EQUAL (tour.count, sizeof tour.steps);
  child_start (&children[0], NULL, "machine", PUBLISHER, NULL);
  child_start (&children[1], NULL, "machine", SUBSCRIBER, NULL);
  for (guint i = tour.count - 1; i > 0; i--) {
    const guint from = tour.steps[i], to = tour.steps[i - 1], who = from / STATES == to / STATES;
    const gint state = GST_STATE_NULL + (who == 0 ? to / STATES : to % STATES);
    REQUIRE (child_ask (&children[who], "state %d", state) == 1);
    if (settled)
      REQUIRE (ask_both (children, "settle"));
    if (to != both_playing)
      continue;
    REQUIRE (ask_both (children, "flows"));
    flows++;
  }
  CHECK_EQUAL (flows, 2 * (STATES - 1));
  for (guint i = 0; i < 2; i++) {
    CHECK_EQUAL (child_ask (&children[i], "complaints"), 0);
    CHECK_EQUAL (child_ask (&children[i], "state %d", GST_STATE_NULL), 1);
    CHECK_EQUAL (child_ask (&children[i], "mappings"), 0);
    CHECK_EQUAL (child_end (&children[i]), 0);
  }
}

static void
test_all_states (void)
{
  take_tour (TRUE);
}

static void
test_all_states_in_haste (void)
{
  take_tour (FALSE);
}

/* Every element of a pipeline by itself, while all others stay as they are. */

static const char *const orders[6][3] = {
  {"a", "b", "cuframes"}, {"a", "cuframes", "b"}, {"b", "a", "cuframes"}, {"b", "cuframes", "a"}, {"cuframes", "a", "b"}, {"cuframes", "b", "a"},
};

/* In an order in which somebody sends to an element that is down the pipeline stands still, as any does, but it complains of nothing, and the next
 * start is as the first. */
static void
move_elements (Child * mover, Child * children, GstState low)
{
  for (guint i = 0; i < G_N_ELEMENTS (orders); i++)
    for (guint j = 0; j < G_N_ELEMENTS (orders); j++) {
      for (guint k = 0; k < 3; k++)
        REQUIRE (child_ask (mover, "element %s %d", orders[i][k], low) == 1);
      for (guint k = 0; k < 3; k++)
        REQUIRE (child_ask (mover, "element %s %d", orders[j][k], GST_STATE_PLAYING) == 1);
      CHECK_EQUAL (child_ask (mover, "complaints"), 0);
      if (i != j)
        continue;
      REQUIRE (child_ask (mover, "state %d", GST_STATE_NULL) == 1);
      REQUIRE (child_ask (mover, "state %d", GST_STATE_PLAYING) == 1);
      CHECK (ask_both (children, "flows"));
    }
}

static void
test_every_element (void)
{
  static const GstState lows[] = { GST_STATE_PAUSED, GST_STATE_READY, GST_STATE_NULL };
  Child children[2];

  child_start (&children[0], NULL, "machine", PUBLISHER, NULL);
  child_start (&children[1], NULL, "machine", SUBSCRIBER, NULL);
  for (guint i = 0; i < 2; i++)
    REQUIRE (child_ask (&children[i], "state %d", GST_STATE_PLAYING) == 1);
  REQUIRE (ask_both (children, "flows"));
  for (guint i = 0; i < 2; i++)
    for (guint j = 0; j < G_N_ELEMENTS (lows); j++)
      move_elements (&children[i], children, lows[j]);
  for (guint i = 0; i < 2; i++) {
    CHECK_EQUAL (child_ask (&children[i], "complaints"), 0);
    CHECK_EQUAL (child_end (&children[i]), 0);
  }
}

/* Whoever stops first, the other has nothing to complain of, and nothing of it stays. */
static void
test_stops_without_error (void)
{
  for (guint i = 0; i < 2; i++) {
    Child children[2];
    long fds[2];
    child_start (&children[0], NULL, "machine", PUBLISHER, NULL);
    child_start (&children[1], NULL, "machine", SUBSCRIBER, NULL);
    for (guint j = 0; j < 6; j++) {
      for (guint k = 0; k < 2; k++)
        CHECK_EQUAL (child_ask (&children[k], "state %d", GST_STATE_PLAYING), 1);
      CHECK (ask_both (children, "flows"));
      CHECK_EQUAL (child_ask (&children[i], "state %d", GST_STATE_NULL), 1);
      CHECK_EQUAL (child_ask (&children[1 - i], "complaints"), 0);
      CHECK_EQUAL (child_ask (&children[1 - i], "state %d", GST_STATE_NULL), 1);
      for (guint k = 0; k < 2; k++) {
        CHECK_EQUAL (child_ask (&children[k], "complaints"), 0);
        if (j == 1)
          fds[k] = child_ask (&children[k], "fds");
      }
    }
    for (guint k = 0; k < 2; k++) {
      CHECK (WAIT_UNTIL (child_ask (&children[k], "fds") <= fds[k]));
      CHECK_EQUAL (child_end (&children[k]), 0);
    }
  }
}

/* Elements that are used again */

static void
test_another_channel (void)
{
  static const GstState lows[] = { GST_STATE_READY, GST_STATE_NULL };
  Feeder feeder;
  Catcher catcher;
  guint64 number = 0;

  REQUIRE (feeder_open (&feeder, "channel=first"));
  REQUIRE (catcher_open (&catcher, "channel=first start=oldest"));
  for (guint i = 0; i < 6; i++) {
    gchar *channel = g_strdup_printf ("channel-%u", i);
    REQUIRE (feeder_begin (&feeder, SMALL));
    CHECK (feeder_push (&feeder, ++number, 1) == GST_FLOW_OK);
    CHECK_EQUAL (catcher_take_number (&catcher), number);
    CHECK (move (feeder.pipeline, lows[i % 2]));
    CHECK (move (catcher.pipeline, lows[i / 2 % 2]));
    g_object_set (feeder.element, "channel", channel, NULL);
    g_object_set (catcher.element, "channel", channel, NULL);
    feeder.begun = FALSE;
    CHECK (move (i % 2 == 0 ? feeder.pipeline : catcher.pipeline, GST_STATE_PLAYING));
    CHECK (move (i % 2 == 0 ? catcher.pipeline : feeder.pipeline, GST_STATE_PLAYING));
    catcher_drop_all (&catcher);
    g_free (channel);
  }
  CHECK_EQUAL (count_complaints (feeder.pipeline, FALSE), 0);
  CHECK_EQUAL (count_complaints (catcher.pipeline, FALSE), 0);
  feeder_close (&feeder);
  catcher_close (&catcher);
}

/* Sets every property that can be set, to what it is. */
static guint
touch_properties (GstElement * element)
{
  guint count, touched = 0;
  GParamSpec **specs = g_object_class_list_properties (G_OBJECT_GET_CLASS (element), &count);

  for (guint i = 0; i < count; i++)
    if (specs[i]->owner_type == G_OBJECT_TYPE (element) && (specs[i]->flags & G_PARAM_READWRITE) == G_PARAM_READWRITE) {
      GValue value = G_VALUE_INIT;
      g_value_init (&value, specs[i]->value_type);
      g_object_get_property (G_OBJECT (element), specs[i]->name, &value);
      g_object_set_property (G_OBJECT (element), specs[i]->name, &value);
      g_value_unset (&value);
      touched++;
    }
  g_free (specs);
  return touched;
}

static void
check_properties (GstElement * pipeline, GstElement * element)
{
  static const GstState states[] = { GST_STATE_NULL, GST_STATE_READY, GST_STATE_PAUSED, GST_STATE_PLAYING, GST_STATE_NULL };
  gchar *channel = NULL;

  for (guint i = 0; i < G_N_ELEMENTS (states); i++) {
    guint touched, complaints;
    CHECK (move (pipeline, states[i]));
    touched = touch_properties (element);
    complaints = count_complaints (pipeline, TRUE);
    CHECK (touched > 8);
    CHECK_EQUAL (complaints, states[i] > GST_STATE_READY ? touched : 0);
    g_object_set (element, "channel", states[i] > GST_STATE_READY ? "another" : "test", NULL);
    g_object_get (element, "channel", &channel, NULL);
    CHECK (strcmp (channel, "test") == 0);
    g_clear_pointer (&channel, g_free);
    count_complaints (pipeline, TRUE);
  }
}

static void
test_properties (void)
{
  Feeder feeder;
  Catcher catcher;

  feeder_prepare (&feeder, "");
  check_properties (feeder.pipeline, feeder.element);
  feeder_close (&feeder);
  REQUIRE (catcher_prepare (&catcher, ""));
  check_properties (catcher.pipeline, catcher.element);
  catcher_close (&catcher);
}

/* Side by side */

static void
test_side_by_side (void)
{
  GstElement *publisher = pipeline_new ("videotestsrc is-live=true ! " SMALL " ! tee name=t ! queue ! cuframessink channel=one "
      "t. ! queue ! cuframessink channel=two videotestsrc is-live=true ! " WIDE " ! cuframessink channel=three");
  static const char *const properties[] = { "channel=one", "channel=two", "channel=three", "channel=one delivery=latest" };
  GstElement *subscriber = pipeline_new ("cuframessrc channel=one ! queue ! fakesink name=b1 cuframessrc channel=two ! queue ! fakesink "
      "cuframessrc channel=three ! fakesink");
  Catcher catchers[G_N_ELEMENTS (properties)];

  for (guint i = 0; i < G_N_ELEMENTS (properties); i++)
    REQUIRE (catcher_open (&catchers[i], properties[i]));
  REQUIRE (pipeline_play (publisher));
  REQUIRE (pipeline_play (subscriber));
  for (guint i = 0; i < G_N_ELEMENTS (properties); i++)
    for (guint j = 0; j < 5; j++) {
      CatcherItem *item = catcher_take_frame (&catchers[i]);
      CHECK (item != NULL);
      item_free (item);
    }
  CHECK (gst_element_get_state (subscriber, NULL, NULL, FIXTURE_BOUND_NS) == GST_STATE_CHANGE_NO_PREROLL
      || gst_element_get_state (subscriber, NULL, NULL, FIXTURE_BOUND_NS) == GST_STATE_CHANGE_SUCCESS);
  CHECK_EQUAL (count_complaints (publisher, FALSE), 0);
  CHECK_EQUAL (count_complaints (subscriber, FALSE), 0);
  pipeline_stop (subscriber);
  pipeline_stop (publisher);
  for (guint i = 0; i < G_N_ELEMENTS (properties); i++)
    catcher_close (&catchers[i]);
}

/* Both ends of a channel in one pipeline. The pipeline waits for a first frame at all sinks that are asynchronous, so the one that the others depend
 * on must not be. */
static void
test_round_trip (void)
{
  GstElement *pipeline = pipeline_new ("videotestsrc is-live=true ! " SMALL " ! cuframessink channel=test async=false cuframessrc channel=test ! "
      "queue ! fakesink name=b");
  GstElement *end = gst_bin_get_by_name (GST_BIN (pipeline), "b");
  GstPad *pad = gst_element_get_static_pad (end, "sink");
  gint buffers = 0;

  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, count_buffer, &buffers, NULL);
  for (guint i = 0; i < 5; i++) {
    const gint before = g_atomic_int_get (&buffers);
    REQUIRE (pipeline_play (pipeline));
    CHECK (WAIT_UNTIL (g_atomic_int_get (&buffers) > before + 2));
    CHECK (move (pipeline, i % 2 == 0 ? GST_STATE_READY : GST_STATE_NULL));
  }
  CHECK_EQUAL (count_complaints (pipeline, FALSE), 0);
  gst_object_unref (pad);
  gst_object_unref (end);
  pipeline_stop (pipeline);
}

/* Branches that come and go */

typedef struct
{
  GstElement *pipeline, *tee, *branch;
  GstPad *tee_pad;
  gint buffers, unlinked;       /* atomic */
} Tree;

static void
tree_open (Tree * tree, const char *description)
{
  GstElement *end;
  GstPad *pad;

  *tree = (Tree) {.pipeline = pipeline_new ("%s", description) };
  tree->tee = gst_bin_get_by_name (GST_BIN (tree->pipeline), "t");
  end = gst_bin_get_by_name (GST_BIN (tree->pipeline), "b");
  pad = gst_element_get_static_pad (end, "sink");
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, count_buffer, &tree->buffers, NULL);
  gst_object_unref (pad);
  gst_object_unref (end);
}

static gboolean
tree_flows (Tree * tree)
{
  const gint before = g_atomic_int_get (&tree->buffers);

  return WAIT_UNTIL (g_atomic_int_get (&tree->buffers) > before + 1);
}

static void
tree_grow (Tree * tree, const char *description)
{
  GstPad *pad;

  tree->branch = gst_parse_bin_from_description (description, TRUE, NULL);
  element_track (tree->branch);
  gst_bin_add (GST_BIN (GST_OBJECT_PARENT (tree->tee)), tree->branch);
  CHECK (gst_element_sync_state_with_parent (tree->branch));
  tree->tee_pad = gst_element_request_pad_simple (tree->tee, "src_%u");
  pad = gst_element_get_static_pad (tree->branch, "sink");
  CHECK_EQUAL (gst_pad_link (tree->tee_pad, pad), GST_PAD_LINK_OK);
  gst_object_unref (pad);
}

static GstPadProbeReturn
unlink_branch (GstPad * pad, GstPadProbeInfo * info, gpointer data)
{
  Tree *tree = data;
  GstPad *peer = gst_pad_get_peer (pad);

  gst_pad_unlink (pad, peer);
  gst_object_unref (peer);
  g_atomic_int_set (&tree->unlinked, 1);
  return GST_PAD_PROBE_REMOVE;
}

static void
tree_cut (Tree * tree)
{
  g_atomic_int_set (&tree->unlinked, 0);
  gst_pad_add_probe (tree->tee_pad, GST_PAD_PROBE_TYPE_IDLE, unlink_branch, tree, NULL);
  CHECK (WAIT_UNTIL (g_atomic_int_get (&tree->unlinked)));
  gst_element_release_request_pad (tree->tee, tree->tee_pad);
  gst_clear_object (&tree->tee_pad);
  gst_object_ref (tree->branch);
  gst_bin_remove (GST_BIN (GST_OBJECT_PARENT (tree->tee)), tree->branch);
  CHECK (gst_element_set_state (tree->branch, GST_STATE_NULL) == GST_STATE_CHANGE_SUCCESS);
  gst_clear_object (&tree->branch);
}

static void
tree_close (Tree * tree)
{
  gst_clear_object (&tree->tee);
  pipeline_stop (tree->pipeline);
}

static void
test_publishing_branch (void)
{
  Catcher catcher;
  Tree tree;

  REQUIRE (catcher_open (&catcher, ""));
  tree_open (&tree, "videotestsrc is-live=true ! video/x-raw,format=NV12,width=64,height=48,framerate=100/1 ! tee name=t ! queue ! "
      "fakesink name=b async=false");
  REQUIRE (pipeline_play (tree.pipeline));
  for (guint i = 0; i < 8; i++) {
    tree_grow (&tree, i % 2 == 0 ? "queue ! cuframessink channel=test async=false" : "cuframessink channel=test async=false");
    item_free (catcher_take_frame (&catcher));
    CHECK (tree_flows (&tree));
    tree_cut (&tree);
    CHECK (tree_flows (&tree));
    CHECK (WAIT_UNTIL (stat_of (catcher.element, "connected") == 0));
    catcher_drop_all (&catcher);
  }
  CHECK_EQUAL (count_complaints (tree.pipeline, FALSE), 0);
  CHECK_EQUAL (count_complaints (catcher.pipeline, FALSE), 0);
  tree_close (&tree);
  catcher_close (&catcher);
}

static void
test_reading_branch (void)
{
  GstElement *publisher = pipeline_new ("videotestsrc is-live=true ! video/x-raw,format=NV12,width=64,height=48,framerate=100/1 ! "
      "cuframessink name=cuframes channel=test");
  Tree tree;

  tree_open (&tree, "cuframessrc name=cuframes channel=test ! tee name=t ! queue ! fakesink name=b async=false");
  REQUIRE (pipeline_play (publisher));
  REQUIRE (pipeline_play (tree.pipeline));
  for (guint i = 0; i < 8; i++) {
    CHECK (tree_flows (&tree));
    tree_grow (&tree, "queue ! videoconvert ! video/x-raw,format=RGB ! fakesink async=false");
    CHECK (tree_flows (&tree));
    tree_cut (&tree);
  }
  CHECK (tree_flows (&tree));
  CHECK_EQUAL (pipeline_stat (publisher, "num-subscribers"), 1);
  CHECK_EQUAL (count_complaints (tree.pipeline, FALSE), 0);
  tree_close (&tree);
  CHECK (WAIT_UNTIL (pipeline_stat (publisher, "slots-leased") == 0));
  pipeline_stop (publisher);
}

static const FixtureTest tests[] = {
  {"two pipelines in processes of their own take every step from every pair of states", test_all_states},
  {"they do so without waiting for a step to be complete", test_all_states_in_haste},
  {"every element of either pipeline goes down and up by itself in every order", test_every_element},
  {"whoever stops first, neither side complains and nothing stays", test_stops_without_error},
  {"the same elements serve another channel after READY and after NULL", test_another_channel},
  {"a property set while the channel is open is refused with a warning", test_properties},
  {"several sinks and sources work side by side in one pipeline", test_side_by_side},
  {"both ends of a channel work in one pipeline", test_round_trip},
  {"a branch that publishes comes and goes while the rest goes on", test_publishing_branch},
  {"a branch behind a src comes and goes while the rest goes on", test_reading_branch},
};

static const FixtureRole roles[] = {
  {"machine", play_machine},
};

ELEMENT_MAIN (tests, roles, G_N_ELEMENTS (roles))
