/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What other processes of the tests do: publish numbered frames, catch them, or run a pipeline, as they are told line by line. They end with
 * their standard input. */
#include "element-fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static gboolean
read_order (char *line, int line_bytes)
{
  if (fgets (line, line_bytes, stdin) == NULL)
    return FALSE;
  line[strcspn (line, "\n")] = 0;
  return TRUE;
}

/* PROPERTIES: "caps CAPS", "push FIRST COUNT" (says "pushed FLOW TIME-BEFORE"), "stat FIELD". */
static int
play_feeder (int argc, char **argv)
{
  guint64 first;
  guint count;
  Feeder feeder;
  char line[2048];

  if (!feeder_open (&feeder, argv[0])) {
    gchar *text = pipeline_take_error (feeder.pipeline);
    printf ("error %s\n", text);
    return 1;
  }
  printf ("open\n");
  while (read_order (line, sizeof line)) {
    if (g_str_has_prefix (line, "caps "))
      printf ("caps %d\n", feeder_begin (&feeder, line + 5));
    else if (sscanf (line, "push %" G_GUINT64_FORMAT " %u", &first, &count) == 2) {
      const guint64 start = fixture_now_ns ();
      printf ("pushed %d %" G_GUINT64_FORMAT "\n", feeder_push (&feeder, first, count), start);
    } else if (g_str_has_prefix (line, "stat "))
      printf ("stat %" G_GINT64_FORMAT "\n", stat_of (feeder.element, line + 5));
  }
  feeder_close (&feeder);
  return 0;
}

/* PROPERTIES: says "frame NUMBER DISCONT" of each frame and "caps", "eos", "error TEXT"; ends at the last two. */
static int
play_catcher (int argc, char **argv)
{
  Catcher catcher;
  gboolean over = FALSE;
  CatcherItem *item;

  if (!catcher_open (&catcher, argv[0]))
    over = TRUE;
  printf ("open\n");
  while (!over && (item = catcher_take (&catcher)) != NULL) {
    if (GST_IS_BUFFER (item->object))
      printf ("frame %" G_GUINT64_FORMAT " %d\n", item_number (item), GST_BUFFER_FLAG_IS_SET (item->object, GST_BUFFER_FLAG_DISCONT));
    else if (GST_EVENT_TYPE (item->object) == GST_EVENT_CAPS)
      printf ("caps\n");
    over = GST_IS_EVENT (item->object) && GST_EVENT_TYPE (item->object) == GST_EVENT_EOS;
    item_free (item);
  }
  if (!pipeline_is_well (catcher.pipeline))
    printf ("error\n");
  printf ("sound %d\n", catcher_is_sound (&catcher));
  catcher_close (&catcher);
  return 0;
}

/* DESCRIPTION: says "playing" or "failed", then "error TEXT" or "eos"; "stat FIELD", "fds", "error" (waits for one). */
static int
play_pipeline (int argc, char **argv)
{
  GstElement *pipeline = pipeline_new ("%s", argv[0]);
  char line[2048];
  gchar *text;

  printf ("%s\n", pipeline_play (pipeline) ? "playing" : "failed");
  while (read_order (line, sizeof line)) {
    if (g_str_has_prefix (line, "stat "))
      printf ("stat %" G_GINT64_FORMAT "\n", pipeline_stat (pipeline, line + 5));
    else if (strcmp (line, "fds") == 0)
      printf ("fds %u\n", fixture_count_fds ());
    else if (strcmp (line, "eos") == 0)
      printf ("eos %d\n", pipeline_reaches_eos (pipeline));
    else if (strcmp (line, "error") == 0) {
      text = pipeline_take_error (pipeline);
      printf ("error %s\n", text);
      g_free (text);
    }
  }
  pipeline_stop (pipeline);
  return 0;
}

const FixtureRole element_roles[] = {
  {"feeder", play_feeder},
  {"catcher", play_catcher},
  {"pipeline", play_pipeline},
};

const size_t element_role_count = G_N_ELEMENTS (element_roles);
