/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The elements' CUDA contexts, of which neighbours ask in threads of theirs. */
#include "cuda-elements-fixture.h"
#include "gstcuframescompat.h"

#define ROUNDS 1000u

typedef struct
{
  GstElement *element;
  const gchar *pad;
  gint over;                    /* atomic */
  gint answers;                 /* atomic */
} Asker;

/* As a neighbour that looks for a context. */
static gpointer
ask_without_end (gpointer data)
{
  Asker *asker = data;
  GstPad *pad = gst_element_get_static_pad (asker->element, asker->pad);

  while (!g_atomic_int_get (&asker->over)) {
    GstQuery *query = gst_query_new_context (GST_CUDA_CONTEXT_TYPE);
    if (gst_pad_query (pad, query))
      g_atomic_int_inc (&asker->answers);
    gst_query_unref (query);
  }
  gst_object_unref (pad);
  return NULL;
}

/* (transfer full): not a persistent one. */
static GstContext *
new_context (void)
{
  GstCudaContext *cuda_context = gst_cuda_context_new (0);
  GstContext *context = gst_context_new (GST_CUDA_CONTEXT_TYPE, FALSE);

  gst_structure_set (gst_context_writable_structure (context), GST_CUDA_CONTEXT_TYPE, GST_TYPE_CUDA_CONTEXT, cuda_context,
      "cuda-device-id", G_TYPE_UINT, 0, NULL);
  gst_object_unref (cuda_context);
  return context;
}

/* ELEMENT, the pad that is asked, its properties: is given a context that nobody else has and closed, over and over, while it is asked for it. Says
 * "answered" when it also did. */
static int
play_asked (int argc, char **argv)
{
  GstElement *pipeline = pipeline_new ("%s name=asked %s", argv[0], argv[2]);
  Asker asker = {.element = gst_bin_get_by_name (GST_BIN (pipeline), "asked"),.pad = argv[1] };
  GstContext *kept;
  GThread *thread;

  (void) argc;
  if (!gst_cuda_load_library ())
    return 1;
  /* What refers to a context that has gone mostly ends in one. */
  g_log_set_always_fatal ((GLogLevelFlags) (G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL));
  kept = new_context ();
  thread = g_thread_new ("asker", ask_without_end, &asker);
  for (guint i = 0; i < ROUNDS || g_atomic_int_get (&asker.answers) == 0; i++) {
    GstContext *context = new_context ();

    gst_element_set_state (pipeline, GST_STATE_PAUSED);
    gst_element_set_context (asker.element, context);
    /* GstElement keeps the newest; the element stays with its first. */
    gst_element_set_context (asker.element, kept);
    gst_context_unref (context);
    gst_element_set_state (pipeline, GST_STATE_READY);
  }
  g_atomic_int_set (&asker.over, TRUE);
  g_thread_join (thread);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_context_unref (kept);
  printf ("answered\n");
  gst_object_unref (asker.element);
  gst_object_unref (pipeline);
  return 0;
}

static const FixtureRole roles[] = {
  {"asked", play_asked},
};

static void
check_asked (const char *element, const char *pad, const char *properties)
{
  Child asked;

  START (&asked, AT_ONCE, "asked", element, pad, properties);
  CHECK (child_expect (&asked, "answered"));
  expect_end (&asked);
}

static void
test_asked_while_it_closes (void)
{
  check_asked ("cuframessink", "sink", "channel=test");
  check_asked ("cuframessrc", "src", "channel=test");
  check_asked ("cuframespay", "sink", "");
  check_asked ("cuframesdepay", "src", "");
}

static const FixtureTest tests[] = {
  {"an element can be asked for its context while it closes", test_asked_while_it_closes},
};

ELEMENT_MAIN (tests, roles, sizeof roles / sizeof roles[0])
