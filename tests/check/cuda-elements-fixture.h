/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of GPU memory between elements share: how they start their processes on a driver, what these must say, and that nothing of them
 * is left on a GPU. */
#ifndef CUDA_ELEMENTS_FIXTURE_H
#define CUDA_ELEMENTS_FIXTURE_H

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cuda-roles.h"

#define ON_GPU "video/x-raw(memory:CUDAMemory),format=NV12,width=320,height=240,framerate=30/1"
#define LATE "FAKECUDA_DELAY_US=3000"
#define AT_ONCE "FAKECUDA_DELAY_US=0"
#define COUNT 60u

/* environment: see cuda-roles.h */
#define START(child, environment, ...) \
  do { \
    gchar *all_ = g_strdup_printf ("%s=%s FAKECUDA_REPORT%s%s", CUDA_ROLE_ENVIRONMENT, environment, report == NULL ? "" : "=", \
        report == NULL ? "" : report); \
    child_start ((child), all_, __VA_ARGS__, NULL); \
    g_free (all_); \
  } while (0)

/* On a real driver nothing counts what is left, and nothing can be taken away from it. */
static inline gboolean
is_real (void)
{
  return g_strcmp0 (g_getenv ("CUFRAMES_TEST_GPU"), "real") == 0;
}

/* What a test needs that takes something away from the driver. */
static inline gboolean
needs_software (void)
{
  if (is_real ())
    fixture_skip ("a real driver lacks nothing");
  return is_real ();
}

static const gchar *report;     /* where processes say what they left behind */

static inline void
report_here (void)
{
  report = fixture_path ("report");
}

/* As many processes as that have ended and said what they left: nothing. */
static inline void
expect_nothing_left (guint processes)
{
  gchar *text = NULL, **lines;
  guint count = 0;

  if (is_real ()) {
    report = NULL;
    return;
  }
  g_file_get_contents (report, &text, NULL, NULL);
  unlink (report);
  report = NULL;
  REQUIRE (text != NULL);
  lines = g_strsplit (text, "\n", -1);
  for (gchar ** line = lines; *line != NULL && **line != 0; line++) {
    const gchar *counts = strchr (*line, ' ');
    count++;
    if (strpbrk (counts, "123456789") != NULL)
      fixture_fail (__FILE__, __LINE__, __func__, *line);
  }
  CHECK_EQUAL (count, processes);
  g_strfreev (lines);
  g_free (text);
}

static inline gint64
ask_for (Child * child, const char *what, const char *name)
{
  char line[256] = "";

  child_say (child, "%s %s", what, name);
  while (child_read (child, line, sizeof line))
    if (g_str_has_prefix (line, "stat "))
      return g_ascii_strtoll (line + 5, NULL, 10);
  return -1;
}

static inline gint64
ask (Child * child, const char *field)
{
  return ask_for (child, "stat", field);
}

/* The child's next line that starts so must say all of that. */
static inline void
expect_text (Child * child, const char *start, ...)
{
  char line[2048] = "";
  const char *part;
  va_list list;

  while (!g_str_has_prefix (line, start))
    if (!child_read (child, line, sizeof line)) {
      fixture_fail (__FILE__, __LINE__, __func__, start);
      return;
    }
  printf ("  says: %s\n", line);
  va_start (list, start);
  while ((part = va_arg (list, const char *)) != NULL)
    if (strstr (line, part) == NULL)
      fixture_fail (__FILE__, __LINE__, __func__, part);
  va_end (list);
}

static inline void
expect_total (Child * reader, guint count)
{
  gchar *wanted = g_strdup_printf ("total %u bad 0", count);

  expect_text (reader, "total", wanted, NULL);
  g_free (wanted);
}

static inline void
expect_end (Child * child)
{
  CHECK_EQUAL (child_end (child), 0);
}

#endif
