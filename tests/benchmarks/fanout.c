/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One publisher, N subscribers in processes of their own: how long a frame takes to them and what it costs, beside the bare
 * wake-up of as many processes and beside other ways to share frames. See docs/benchmarking.md. */
#include <glib/gstdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stamp-cuda.h"
#include "fanout-report.h"
#include "fanout-run.h"

#define FLOOR_FRAMES 1000

typedef struct
{
  const gchar *name;
  gboolean cuda;
  const gchar *needs;
  const gchar *sink, *src;
} Preset;

/* {name} is the channel, {path} a socket of its own, {ring} room for 16 frames. */
static const Preset presets[] = {
  {"cuframes", FALSE, "cuframessink",
        "cuframessink channel={name} sync=false",
      "cuframessrc channel={name}"},
  {"shm", FALSE, "shmsink",
        "shmsink socket-path={path} shm-size={ring} wait-for-connection=false sync=false enable-last-sample=false",
      "shmsrc socket-path={path} is-live=true"},
  {"unixfd", FALSE, "unixfdsink",
        "unixfdsink socket-path={path} sync=false enable-last-sample=false",
      "unixfdsrc socket-path={path}"},
  {"cuframes-spin", FALSE, "cuframessink",
        "cuframessink channel={name} sync=false",
      "cuframessrc channel={name} spin-us=20000"},
  {"cuframes-cuda", TRUE, "cuframessink",
        "cuframessink channel={name} sync=false gpu-sync=host",
      "cuframessrc channel={name}"},
  {"cuframes-cuda-fence", TRUE, "cuframessink",
        "cuframessink channel={name} sync=false gpu-sync=fence",
      "cuframessrc channel={name}"},
  {"cuframes-cuda-spin", TRUE, "cuframessink",
        "cuframessink channel={name} sync=false gpu-sync=host",
      "cuframessrc channel={name} spin-us=20000"},
  {"cuframes-cuda-fence-spin", TRUE, "cuframessink",
        "cuframessink channel={name} sync=false gpu-sync=fence",
      "cuframessrc channel={name} spin-us=20000"},
  {"cudaipc-legacy", TRUE, "cudaipcsink",
        "cudaipcsink address={path} ipc-mode=legacy sync=false enable-last-sample=false",
      "cudaipcsrc address={path} io-mode=copy"},
  {"cudaipc-import", TRUE, "cudaipcsink",
        "cudaipcsink address={path} ipc-mode=legacy sync=false enable-last-sample=false",
      "cudaipcsrc address={path} io-mode=import"},
  {"cudaipc-mmap", TRUE, "cudaipcsink",
        "cudaipcsink address={path} ipc-mode=mmap sync=false enable-last-sample=false",
      "cudaipcsrc address={path}"},
};

static struct
{
  gchar **sizes;
  gchar *format, *subscribers, *cases, *sink, *src, *source;
  gint fps, frames, warmup, repeat, slow, slow_ms;
  gchar *markdown, *section, *json;
  gboolean no_floor, cuda;
} options = {.fps = 60,.frames = 600,.warmup = 60,.repeat = 1,.slow_ms = 100 };

static const GOptionEntry entries[] = {
  {"size", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options.sizes, "Size of the frames; may be given more than once (1920x1080)", "WxH"},
  {"format", 0, 0, G_OPTION_ARG_STRING, &options.format, "Format of the frames (NV12)", "FORMAT"},
  {"fps", 0, 0, G_OPTION_ARG_INT, &options.fps, "Frames per second, 0 for flat out (60)", "N"},
  {"frames", 0, 0, G_OPTION_ARG_INT, &options.frames, "Frames that are measured in each case (600)", "N"},
  {"warmup", 0, 0, G_OPTION_ARG_INT, &options.warmup, "Frames before them (60)", "N"},
  {"subscribers", 0, 0, G_OPTION_ARG_STRING, &options.subscribers, "Numbers of subscribers, one case each (1,4)", "N,N"},
  {"cases", 0, 0, G_OPTION_ARG_STRING, &options.cases, "Presets to compare; --list names them (cuframes,shm,unixfd)", "A,B"},
  {"sink", 0, 0, G_OPTION_ARG_STRING, &options.sink, "Sink of the case 'custom'; {name}, {path} and {ring} are filled in", "ELEMENT"},
  {"src", 0, 0, G_OPTION_ARG_STRING, &options.src, "Source of the case 'custom'", "ELEMENT"},
  {"source", 0, 0, G_OPTION_ARG_STRING, &options.source, "Publish what this makes, not stamped frames", "ELEMENTS"},
  {"cuda", 0, 0, G_OPTION_ARG_NONE, &options.cuda, "The case 'custom' has its frames in CUDA memory", NULL},
  {"slow", 0, 0, G_OPTION_ARG_INT, &options.slow, "Of the subscribers, this many hold each frame for a while (0)", "N"},
  {"slow-ms", 0, 0, G_OPTION_ARG_INT, &options.slow_ms, "How long they hold it (100)", "MS"},
  {"repeat", 0, 0, G_OPTION_ARG_INT, &options.repeat, "Rounds over all cases; their samples are put together (1)", "N"},
  {"no-floor", 0, 0, G_OPTION_ARG_NONE, &options.no_floor, "Leave out the bare wake-up and the publisher alone", NULL},
  {"markdown", 0, 0, G_OPTION_ARG_FILENAME, &options.markdown, "Write the table into a section of this file", "FILE"},
  {"section", 0, 0, G_OPTION_ARG_STRING, &options.section, "Name of that section (Host memory)", "NAME"},
  {"json", 0, 0, G_OPTION_ARG_FILENAME, &options.json, "Write the results as JSON, - for standard output", "FILE"},
  {NULL}
};

static gchar *folder;           /* sockets of this run */

static void
on_signal (int number)
{
  fanout_interrupted = number;
}

static const Preset *
find_preset (const gchar * name)
{
  static Preset custom = {.name = "custom" };

  for (guint i = 0; i < G_N_ELEMENTS (presets); i++)
    if (g_str_equal (presets[i].name, name))
      return &presets[i];
  if (!g_str_equal (name, "custom") || options.sink == NULL || options.src == NULL)
    return NULL;
  custom.cuda = options.cuda;
  custom.sink = options.sink;
  custom.src = options.src;
  return &custom;
}

static void
fill_in (gchar * to, const gchar * template, const gchar * name, const gchar * path, const gchar * ring)
{
  GString *text = g_string_new (template);

  g_string_replace (text, "{name}", name, 0);
  g_string_replace (text, "{path}", path, 0);
  g_string_replace (text, "{ring}", ring, 0);
  g_strlcpy (to, text->str, FANOUT_TEXT_BYTES);
  g_string_free (text, TRUE);
}

static void
fill_in_elements (FanoutConfig * config, const Preset * preset)
{
  static guint serial;
  GstVideoInfo info;
  gchar *name = g_strdup_printf ("fanout%u", serial++);
  gchar *path = g_build_filename (folder, name, NULL);
  gchar *ring;

  gst_video_info_set_format (&info, gst_video_format_from_string (config->format), config->width, config->height);
  ring = g_strdup_printf ("%" G_GSIZE_FORMAT, 16 * (GST_VIDEO_INFO_SIZE (&info) + 4096));
  fill_in (config->sink, preset->sink, name, path, ring);
  fill_in (config->src, preset->src, name, path, ring);
  g_free (ring);
  g_free (path);
  g_free (name);
}

/* What is missing to run the preset here, or NULL. */
static gchar *
missing (const Preset * preset)
{
  GstElementFactory *factory;

  if (preset->cuda && stamp_cuda_missing () != NULL)
    return g_strdup (stamp_cuda_missing ());
  if (preset->needs == NULL)
    return NULL;
  factory = gst_element_factory_find (preset->needs);
  if (factory == NULL)
    return g_strdup_printf ("this GStreamer has no %s", preset->needs);
  gst_object_unref (factory);
  return NULL;
}

static FanoutRow *
row_of (GPtrArray * rows, const gchar * name, FanoutCaseKind kind, const FanoutConfig * config)
{
  for (guint i = 0; i < rows->len; i++) {
    FanoutRow *row = g_ptr_array_index (rows, i);

    if (row->kind == kind && g_str_equal (row->name, name) && row->width == config->width && row->height == config->height
        && row->subscribers == config->subscribers && row->cuda == config->cuda)
      return row;
  }
  g_ptr_array_add (rows, fanout_row_new (name, kind, config));
  return g_ptr_array_index (rows, rows->len - 1);
}

static void
run (GPtrArray * rows, const gchar * name, FanoutCaseKind kind, const FanoutConfig * config)
{
  FanoutRow *row = row_of (rows, name, kind, config);

  if (row->failure != NULL || fanout_interrupted)
    return;
  g_printerr ("%s, %ux%u, %u subscribers ...\n", name, config->width, config->height, config->subscribers);
  fanout_run (row, config);
  if (row->failure != NULL)
    g_printerr ("  %s\n", row->failure);
}

/* The floor has a pace even where the cases have none, and a median needs no more than this. */
static void
run_floor (GPtrArray * rows, const FanoutConfig * like)
{
  FanoutConfig config = *like;

  config.frames = MIN (config.frames, FLOOR_FRAMES);
  run (rows, "pipe", FANOUT_CASE_FLOOR, &config);
}

static void
run_baseline (GPtrArray * rows, const FanoutConfig * like)
{
  FanoutConfig config = *like;

  config.subscribers = config.slow = 0;
  config.baseline = TRUE;
  g_strlcpy (config.sink, "fakesink sync=false async=false enable-last-sample=false", sizeof config.sink);
  run (rows, "fakesink", FANOUT_CASE_BASELINE, &config);
}

static void
run_case (GPtrArray * rows, FanoutConfig * config, const Preset * preset)
{
  gchar *why = missing (preset);

  config->cuda = preset->cuda;
  if (why != NULL) {
    FanoutRow *row = row_of (rows, preset->name, FANOUT_CASE_TRANSPORT, config);

    row->unavailable = TRUE;
    if (row->failure == NULL)
      row->failure = g_strdup (why);
    g_free (why);
    return;
  }
  fill_in_elements (config, preset);
  run (rows, preset->name, FANOUT_CASE_TRANSPORT, config);
}

static gboolean
uses (gchar ** cases, gboolean cuda)
{
  for (guint i = 0; cases[i] != NULL; i++) {
    const Preset *preset = find_preset (cases[i]);

    if (preset->cuda == cuda && (!cuda || stamp_cuda_missing () == NULL))
      return TRUE;
  }
  return FALSE;
}

static void
run_round (GPtrArray * rows, FanoutConfig * config, gchar ** cases, gchar ** counts)
{
  for (guint memory = 0; memory < 2; memory++)
    if (!options.no_floor && uses (cases, memory)) {
      config->cuda = memory;
      run_baseline (rows, config);
    }
  for (guint n = 0; counts[n] != NULL; n++) {
    config->subscribers = (guint) CLAMP (atoi (counts[n]), 1, FANOUT_SUBSCRIBERS_MAX);
    for (guint memory = 0; memory < 2; memory++) {
      config->cuda = memory;
      if (!options.no_floor && uses (cases, memory))
        run_floor (rows, config);
      for (guint i = 0; cases[i] != NULL; i++)
        if (find_preset (cases[i])->cuda == (gboolean) memory)
          run_case (rows, config, find_preset (cases[i]));
    }
  }
}

static gboolean
run_size (GPtrArray * rows, const gchar * size, gchar ** cases, gchar ** counts)
{
  FanoutConfig config = {.fps = (guint) options.fps,.frames = (guint64) options.frames,.warmup = (guint64) options.warmup,
    .slow = (guint) options.slow,.slow_ms = (guint) options.slow_ms
  };

  if (sscanf (size, "%ux%u", &config.width, &config.height) != 2 || config.width < 64 || config.height < 16) {
    g_printerr ("--size %s: WIDTHxHEIGHT, at least 64x16, is wanted\n", size);
    return FALSE;
  }
  g_strlcpy (config.format, options.format, sizeof config.format);
  if (options.source != NULL)
    g_strlcpy (config.source, options.source, sizeof config.source);
  run_round (rows, &config, cases, counts);
  return TRUE;
}

static gboolean
check_options (gchar ** cases)
{
  for (guint i = 0; cases[i] != NULL; i++)
    if (find_preset (cases[i]) == NULL) {
      g_printerr ("no case is called %s. There are:", cases[i]);
      for (guint p = 0; p < G_N_ELEMENTS (presets); p++)
        g_printerr (" %s", presets[p].name);
      g_printerr (", and custom with --sink and --src\n");
      return FALSE;
    }
  if (gst_video_format_from_string (options.format) == GST_VIDEO_FORMAT_UNKNOWN) {
    g_printerr ("--format %s: not a raw video format\n", options.format);
    return FALSE;
  }
  if (options.frames < 1 || options.fps < 0 || options.warmup < 0 || options.slow < 0) {
    g_printerr ("numbers of frames must be above 0, the others not below\n");
    return FALSE;
  }
  return TRUE;
}

static gchar *
command_line (int argc, char **argv)
{
  GString *text = g_string_new (NULL);
  gchar *program = g_path_get_basename (argv[0]);

  g_string_append (text, program);
  for (int i = 1; i < argc; i++) {
    gboolean plain = strpbrk (argv[i], " '\"!{}$\\") == NULL;
    gchar *quoted = plain ? g_strdup (argv[i]) : g_shell_quote (argv[i]);

    g_string_append_printf (text, " %s", quoted);
    g_free (quoted);
  }
  g_free (program);
  return g_string_free (text, FALSE);
}

static gboolean
write_results (GPtrArray * rows, const gchar * command, gboolean gpu)
{
  gchar *table = fanout_report_table (rows), *machine = fanout_report_machine (gpu);
  GDateTime *now = g_date_time_new_now_utc ();
  gchar *date = g_date_time_format (now, "%Y-%m-%d");
  gchar *text = g_strdup_printf ("%s* Measured %s with `%s`\n\nTimes in us, memory in KiB.\n\n%s", machine, date, command, table);
  gchar *json = fanout_report_json (rows);
  gboolean good = TRUE;
  GError *error = NULL;

  g_print ("%s", text);
  if (options.markdown != NULL)
    good = fanout_report_write_section (options.markdown, options.section, text, &error);
  if (good && g_strcmp0 (options.json, "-") == 0)
    g_print ("%s", json);
  else if (good && options.json != NULL)
    good = g_file_set_contents (options.json, json, -1, &error);
  if (!good)
    g_printerr ("%s\n", error->message);
  g_clear_error (&error);
  g_free (json);
  g_free (text);
  g_free (date);
  g_date_time_unref (now);
  g_free (machine);
  g_free (table);
  return good;
}

/* Each case unlinks its own sockets; what a killed process left goes here. */
static void
remove_folder (void)
{
  GDir *dir = g_dir_open (folder, 0, NULL);

  for (const gchar * name = dir != NULL ? g_dir_read_name (dir) : NULL; name != NULL; name = g_dir_read_name (dir)) {
    gchar *path = g_build_filename (folder, name, NULL);

    g_unlink (path);
    g_free (path);
  }
  if (dir != NULL)
    g_dir_close (dir);
  g_rmdir (folder);
}

static gboolean
all_good (GPtrArray * rows)
{
  guint64 errors = 0;
  guint runs = 0;

  for (guint i = 0; i < rows->len; i++) {
    errors += fanout_row_errors (g_ptr_array_index (rows, i));
    runs += ((FanoutRow *) g_ptr_array_index (rows, i))->runs;
  }
  if (errors != 0)
    g_printerr ("%" G_GUINT64_FORMAT " frames were torn, repeated, stale or reordered\n", errors);
  return errors == 0 && runs != 0;
}

static gboolean
measure (GPtrArray * rows, gchar ** cases, gchar ** counts)
{
  for (gint round = 0; round < options.repeat; round++)
    for (guint i = 0; options.sizes[i] != NULL; i++)
      if (!run_size (rows, options.sizes[i], cases, counts))
        return FALSE;
  return TRUE;
}

static void
set_defaults (void)
{
  if (options.sizes == NULL)
    options.sizes = g_strsplit ("1920x1080", ",", -1);
  if (options.format == NULL)
    options.format = g_strdup ("NV12");
  if (options.cases == NULL)
    options.cases = g_strdup (options.sink != NULL ? "custom" : "cuframes,shm,unixfd");
  if (options.subscribers == NULL)
    options.subscribers = g_strdup ("1,4");
  if (options.section == NULL)
    options.section = g_strdup ("Host memory");
}

int
main (int argc, char **argv)
{
  gchar *command = command_line (argc, argv);
  GOptionContext *context;
  GPtrArray *rows;
  gchar **cases, **counts;
  GError *error = NULL;
  gboolean good;
  struct sigaction action = {.sa_handler = on_signal };
  int status = fanout_run_child (argc, argv);

  if (status >= 0)
    return status;
  context = g_option_context_new ("- frames from one process to many: latency, cost and errors");
  g_option_context_set_description (context, "Exit status: 0, 1 if a frame was torn, repeated, stale or reordered or nothing ran,\n"
      "2 for wrong options. No time is ever a failure.\n");
  g_option_context_add_main_entries (context, entries, NULL);
  g_option_context_add_group (context, gst_init_get_option_group ());
  if (!g_option_context_parse (context, &argc, &argv, &error)) {
    g_printerr ("%s\n", error->message);
    return 2;
  }
  set_defaults ();
  cases = g_strsplit (options.cases, ",", -1);
  counts = g_strsplit (options.subscribers, ",", -1);
  folder = g_dir_make_tmp ("fanout-XXXXXX", NULL);
  if (!check_options (cases) || folder == NULL)
    return 2;
  g_setenv ("CUFRAMES_DIR", folder, TRUE);
  sigaction (SIGINT, &action, NULL);
  sigaction (SIGTERM, &action, NULL);
  rows = g_ptr_array_new_with_free_func ((GDestroyNotify) fanout_row_free);
  good = measure (rows, cases, counts) && !fanout_interrupted && write_results (rows, command, uses (cases, TRUE)) && all_good (rows);
  remove_folder ();
  g_ptr_array_unref (rows);
  g_strfreev (cases);
  g_strfreev (counts);
  g_option_context_free (context);
  g_free (command);
  return good ? 0 : 1;
}
