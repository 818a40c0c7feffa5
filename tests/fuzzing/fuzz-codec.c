/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* libFuzzer target for the codec.  The first byte chooses caps, event or metas;
 * the rest is what a hostile peer sends.  What is accepted is used as an
 * application would, with every warning of GLib and GStreamer fatal.
 *
 * Leaks are looked for by replaying the corpus, not at the end of a long run:
 * GLib gives up old tables of quarks on purpose (ASAN_OPTIONS=detect_leaks=0).
 *
 * With WRITE_CORPUS in the environment nothing is fuzzed: the rich examples of
 * the codec's tests are written into that folder as seeds. */

#include "codec-fixture.h"
#include "fuzz.h"

static void
write_corpus (const gchar * folder)
{
  guint8 which;
  GBytes *blob;

  for (which = 0; (blob = fixture_blob (which)); which++) {
    gsize size;
    gconstpointer data = g_bytes_get_data (blob, &size);
    GByteArray *seed = g_byte_array_new ();
    gchar *name = g_strdup_printf ("seed-%u", which);
    gchar *path = g_build_filename (folder, name, NULL);

    g_byte_array_append (seed, &which, 1);
    g_byte_array_append (seed, data, size);
    if (!g_file_set_contents (path, (gchar *) seed->data, seed->len, NULL))
      exit (EXIT_FAILURE);
    g_free (path);
    g_free (name);
    g_byte_array_unref (seed);
    g_bytes_unref (blob);
  }
}

int
LLVMFuzzerInitialize (int *argc, char ***argv)
{
  const gchar *folder = g_getenv ("WRITE_CORPUS");

  gst_registry_fork_set_enabled (FALSE);
  gst_init (NULL, NULL);
  fixture_init ();
  g_log_set_always_fatal (G_LOG_LEVEL_WARNING | G_LOG_LEVEL_CRITICAL
      | G_LOG_LEVEL_ERROR);
  if (folder) {
    write_corpus (folder);
    exit (EXIT_SUCCESS);
  }
  return 0;
}

int
LLVMFuzzerTestOneInput (const uint8_t * data, size_t size)
{
  if (size > 0)
    fixture_exercise (data[0], data + 1, size - 1);
  return 0;
}
