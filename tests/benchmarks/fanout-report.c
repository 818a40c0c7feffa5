/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Makes the table: one line per case, ratios against the floor and the alternatives of the same size and number of subscribers. */
#include "fanout-report.h"

#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "stamp-cuda.h"

/* What the project allows itself above one and a half times the floor, us. */
#define ALLOWANCE_HOST_US 20
#define ALLOWANCE_CUDA_US 25
#define UNKNOWN "-"

static gint
compare_samples (gconstpointer a, gconstpointer b)
{
  guint32 x = *(const guint32 *) a, y = *(const guint32 *) b;

  return x < y ? -1 : x > y;
}

/* In us; per mille 1000 is the largest. */
static gdouble
percentile (GArray * samples, guint per_mille)
{
  guint last = samples->len - 1;

  g_array_sort (samples, compare_samples);
  return g_array_index (samples, guint32, (guint) ((guint64) last * per_mille / 1000)) / 1000.0;
}

static gdouble
median (GArray * samples)
{
  return percentile (samples, 500);
}

static gboolean
alike (const FanoutRow * a, const FanoutRow * b)
{
  return a->width == b->width && a->height == b->height && a->cuda == b->cuda;
}

static FanoutRow *
find (GPtrArray * rows, const FanoutRow * of, FanoutCaseKind kind, const gchar * name)
{
  for (guint i = 0; i < rows->len; i++) {
    FanoutRow *row = g_ptr_array_index (rows, i);

    if (row->kind != kind || row->failure != NULL || !alike (row, of))
      continue;
    if (kind != FANOUT_CASE_BASELINE && row->subscribers != of->subscribers)
      continue;
    if (name == NULL || g_str_equal (row->name, name))
      return row;
  }
  return NULL;
}

/* Those that are not ours are what ours are compared with. */
static GPtrArray *
alternatives (GPtrArray * rows)
{
  GPtrArray *names = g_ptr_array_new ();

  for (guint i = 0; i < rows->len; i++) {
    FanoutRow *row = g_ptr_array_index (rows, i);

    if (row->kind == FANOUT_CASE_TRANSPORT && !g_str_has_prefix (row->name, "cuframes")
        && !g_ptr_array_find_with_equal_func (names, row->name, g_str_equal, NULL))
      g_ptr_array_add (names, row->name);
  }
  return names;
}

static gchar *
three (GArray * samples)
{
  if (samples->len == 0)
    return g_strdup (UNKNOWN);
  return g_strdup_printf ("%.0f / %.0f / %.0f", median (samples), percentile (samples, 990), percentile (samples, 1000));
}

static gchar *
ratio (GArray * samples, GArray * to)
{
  if (samples->len == 0 || to == NULL || to->len == 0 || median (to) <= 0)
    return g_strdup (UNKNOWN);
  return g_strdup_printf ("%.2f", median (samples) / median (to));
}

/* The project's own target for the case: to the pad, and to data verified where reading back costs something by itself. */
static gchar *
target (const FanoutRow * row, FanoutRow * floor)
{
  gdouble pad;

  if (row->kind != FANOUT_CASE_TRANSPORT || floor == NULL || floor->pad->len == 0)
    return g_strdup (UNKNOWN);
  pad = 1.5 * median (floor->pad) + (row->cuda ? ALLOWANCE_CUDA_US : ALLOWANCE_HOST_US);
  if (row->cuda && floor->verified->len != 0)
    return g_strdup_printf ("%.0f / %.0f", pad, pad + median (floor->verified));
  return g_strdup_printf ("%.0f", pad);
}

static gdouble
publisher_us (const FanoutRow * row)
{
  return (gdouble) row->publisher_cpu_ns / (gdouble) MAX (row->published, 1) / 1000.0;
}

static gchar *
publisher_cell (const FanoutRow * row, const FanoutRow * baseline)
{
  if (row->kind == FANOUT_CASE_TRANSPORT && baseline != NULL)
    return g_strdup_printf ("%.1f", publisher_us (row) - publisher_us (baseline));
  return row->kind == FANOUT_CASE_TRANSPORT ? g_strdup (UNKNOWN) : g_strdup_printf ("(%.1f)", publisher_us (row));
}

static gchar *
number (gint64 value)
{
  return value < 0 ? g_strdup (UNKNOWN) : g_strdup_printf ("%" G_GINT64_FORMAT, value);
}

static gchar *
pair (gint64 a, gint64 b)
{
  gchar *first = number (a), *second = number (b);
  gchar *both = g_strdup_printf ("%s / %s", first, second);

  g_free (first);
  g_free (second);
  return both;
}

static void
add (GPtrArray * cells, gchar * take_text)
{
  g_ptr_array_add (cells, take_text);
}

static GPtrArray *
head_cells (GPtrArray * others, gboolean slow, gboolean gpu)
{
  GPtrArray *cells = g_ptr_array_new_with_free_func (g_free);
  static const gchar *const before[] = { "case", "size", "fps", "subscribers", "to pad p50 / p99 / max", "verified p50 / p99 / max",
    "target", "/ floor"
  };
  static const gchar *const after[] = { "push p50 / p99 / max", "publisher CPU", "subscriber CPU", "copies", "torn", "repeated",
    "stale", "reordered", "missed", "drops", "RSS growth", "fds", "maps"
  };

  for (guint i = 0; i < G_N_ELEMENTS (before); i++)
    add (cells, g_strdup (before[i]));
  for (guint i = 0; i < others->len; i++)
    add (cells, g_strdup_printf ("/ %s", (const gchar *) g_ptr_array_index (others, i)));
  for (guint i = 0; i < G_N_ELEMENTS (after); i++)
    add (cells, g_strdup (after[i]));
  if (slow)
    add (cells, g_strdup ("slow ones missed"));
  if (gpu)
    add (cells, g_strdup ("GPU growth"));
  return cells;
}

static void
add_name (GPtrArray * cells, const FanoutRow * row)
{
  static const gchar *const kinds[] = { "pipe wake-up (floor)", "fakesink (baseline)", NULL };

  add (cells, g_strdup (kinds[row->kind] != NULL ? kinds[row->kind] : row->name));
  add (cells, g_strdup_printf ("%ux%u", row->width, row->height));
  if (row->fps != 0)
    add (cells, g_strdup_printf ("%u", row->fps));
  else if (row->wall_ns != 0 && row->kind != FANOUT_CASE_FLOOR)
    add (cells, g_strdup_printf ("%.0f (flat out)", (gdouble) row->published * 1e9 / (gdouble) row->wall_ns));
  else
    add (cells, g_strdup (UNKNOWN));
  add (cells, g_strdup_printf ("%u", row->subscribers));
}

static void
add_latency (GPtrArray * cells, FanoutRow * row, GPtrArray * rows, GPtrArray * others)
{
  FanoutRow *floor = find (rows, row, FANOUT_CASE_FLOOR, NULL);
  gboolean transport = row->kind == FANOUT_CASE_TRANSPORT;

  add (cells, three (row->pad));
  add (cells, transport || row->cuda ? three (row->verified) : g_strdup (UNKNOWN));
  add (cells, target (row, floor));
  add (cells, transport && floor != NULL ? ratio (row->cuda ? row->pad : row->verified, floor->pad) : g_strdup (UNKNOWN));
  for (guint i = 0; i < others->len; i++) {
    FanoutRow *other = find (rows, row, FANOUT_CASE_TRANSPORT, g_ptr_array_index (others, i));

    add (cells, transport && other != NULL && other != row ? ratio (row->verified, other->verified) : g_strdup (UNKNOWN));
  }
}

static void
add_cost (GPtrArray * cells, FanoutRow * row, GPtrArray * rows)
{
  guint64 frames = row->frames;

  add (cells, three (row->push));
  add (cells, publisher_cell (row, find (rows, row, FANOUT_CASE_BASELINE, NULL)));
  add (cells, frames == 0 ? g_strdup (UNKNOWN) : g_strdup_printf ("%.1f",
          (gdouble) row->subscriber_cpu_ns / (gdouble) frames / 1000.0));
}

static void
add_errors (GPtrArray * cells, const FanoutRow * row)
{
  if (row->kind != FANOUT_CASE_TRANSPORT) {
    for (guint i = 0; i < 10; i++)
      add (cells, g_strdup (UNKNOWN));
    return;
  }
  add (cells, pair (row->publisher_copies, row->subscriber_copies));
  add (cells, number ((gint64) (row->torn + row->absent)));
  add (cells, number ((gint64) row->repeated));
  add (cells, number ((gint64) row->stale));
  add (cells, number ((gint64) row->reordered));
  add (cells, number ((gint64) row->missed));
  add (cells, number (row->drops));
  add (cells, pair (row->publisher_rss_kib, row->subscriber_rss_kib));
  add (cells, number (row->fds));
  add (cells, number (row->maps));
}

static GPtrArray *
row_cells (FanoutRow * row, GPtrArray * rows, GPtrArray * others, gboolean slow, gboolean gpu)
{
  GPtrArray *cells = g_ptr_array_new_with_free_func (g_free);

  add_name (cells, row);
  if (row->failure != NULL) {
    add (cells, g_strdup_printf ("%s: %s", row->unavailable ? "absent" : "failed", row->failure));
    return cells;
  }
  add_latency (cells, row, rows, others);
  add_cost (cells, row, rows);
  add_errors (cells, row);
  if (slow)
    add (cells, row->slow != 0 ? number ((gint64) row->slow_missed) : g_strdup (UNKNOWN));
  if (gpu)
    add (cells, row->cuda ? number (row->gpu_kib) : g_strdup (UNKNOWN));
  return cells;
}

static void
append_line (GString * text, GPtrArray * cells, const guint * widths, guint columns)
{
  for (guint i = 0; i < columns; i++) {
    const gchar *cell = i < cells->len ? g_ptr_array_index (cells, i) : UNKNOWN;

    g_string_append_printf (text, "| %-*s ", (int) widths[i], cell);
  }
  g_string_append (text, "|\n");
}

static gchar *
layout (GPtrArray * lines)
{
  GString *text = g_string_new (NULL);
  guint columns = ((GPtrArray *) g_ptr_array_index (lines, 0))->len;
  guint *widths = g_new0 (guint, columns);

  for (guint l = 0; l < lines->len; l++) {
    GPtrArray *cells = g_ptr_array_index (lines, l);

    for (guint i = 0; i < cells->len; i++)
      widths[i] = MAX (widths[i], (guint) strlen (g_ptr_array_index (cells, i)));
  }
  for (guint l = 0; l < lines->len; l++) {
    append_line (text, g_ptr_array_index (lines, l), widths, columns);
    if (l != 0)
      continue;
    for (guint i = 0; i < columns; i++) {
      g_string_append_c (text, '|');
      for (guint c = 0; c < widths[i] + 2; c++)
        g_string_append_c (text, '-');
    }
    g_string_append (text, "|\n");
  }
  g_free (widths);
  return g_string_free (text, FALSE);
}

gchar *
fanout_report_table (GPtrArray * rows)
{
  GPtrArray *lines = g_ptr_array_new_with_free_func ((GDestroyNotify) g_ptr_array_unref);
  GPtrArray *others = alternatives (rows);
  gboolean slow = FALSE, gpu = FALSE;
  gchar *text;

  for (guint i = 0; i < rows->len; i++) {
    slow |= ((FanoutRow *) g_ptr_array_index (rows, i))->slow != 0;
    gpu |= ((FanoutRow *) g_ptr_array_index (rows, i))->cuda;
  }
  g_ptr_array_add (lines, head_cells (others, slow, gpu));
  for (guint i = 0; i < rows->len; i++)
    g_ptr_array_add (lines, row_cells (g_ptr_array_index (rows, i), rows, others, slow, gpu));
  text = layout (lines);
  g_ptr_array_unref (others);
  g_ptr_array_unref (lines);
  return text;
}

static void
json_samples (GString * text, const gchar * name, GArray * samples)
{
  if (samples->len == 0)
    return;
  g_string_append_printf (text, ", \"%s_us\": {\"p50\": %.1f, \"p99\": %.1f, \"max\": %.1f, \"count\": %u}", name,
      median (samples), percentile (samples, 990), percentile (samples, 1000), samples->len);
}

static void
json_number (GString * text, const gchar * name, gint64 value)
{
  g_string_append_printf (text, ", \"%s\": %" G_GINT64_FORMAT, name, value);
}

static void
json_row (GString * text, const FanoutRow * row)
{
  static const gchar *const kinds[] = { "floor", "baseline", "transport" };
  gchar *failure = row->failure != NULL ? g_strescape (row->failure, NULL) : NULL;

  g_string_append_printf (text, "{\"case\": \"%s\", \"kind\": \"%s\", \"width\": %u, \"height\": %u, \"fps\": %u, \"subscribers\": %u",
      row->name, kinds[row->kind], row->width, row->height, row->fps, row->subscribers);
  if (failure != NULL)
    g_string_append_printf (text, ", \"failure\": \"%s\"", failure);
  json_samples (text, "pad", row->pad);
  json_samples (text, "verified", row->verified);
  json_samples (text, "push", row->push);
  g_string_append_printf (text, ", \"publisher_cpu_us\": %.2f, \"subscriber_cpu_us\": %.2f", publisher_us (row),
      row->frames == 0 ? 0.0 : (gdouble) row->subscriber_cpu_ns / (gdouble) row->frames / 1000.0);
  json_number (text, "published", (gint64) row->published);
  json_number (text, "wall_ns", (gint64) row->wall_ns);
  json_number (text, "late", (gint64) row->late);
  json_number (text, "received", (gint64) row->frames);
  json_number (text, "torn", (gint64) (row->torn + row->absent));
  json_number (text, "repeated", (gint64) row->repeated);
  json_number (text, "stale", (gint64) row->stale);
  json_number (text, "reordered", (gint64) row->reordered);
  json_number (text, "missed", (gint64) row->missed);
  json_number (text, "slow_missed", (gint64) row->slow_missed);
  json_number (text, "publisher_copies", row->publisher_copies);
  json_number (text, "subscriber_copies", row->subscriber_copies);
  json_number (text, "drops", row->drops);
  json_number (text, "publisher_rss_growth_kib", row->publisher_rss_kib);
  json_number (text, "subscriber_rss_growth_kib", row->subscriber_rss_kib);
  json_number (text, "gpu_growth_kib", row->gpu_kib);
  json_number (text, "fds_growth", row->fds);
  json_number (text, "maps_growth", row->maps);
  g_string_append (text, "}");
  g_free (failure);
}

gchar *
fanout_report_json (GPtrArray * rows)
{
  GString *text = g_string_new ("[\n");

  for (guint i = 0; i < rows->len; i++) {
    json_row (text, g_ptr_array_index (rows, i));
    g_string_append (text, i + 1 < rows->len ? ",\n" : "\n");
  }
  return g_string_free (g_string_append (text, "]\n"), FALSE);
}

static gchar *
cpu_model (void)
{
  gchar *contents = NULL, *model = NULL;
  gchar *at;

  if (g_file_get_contents ("/proc/cpuinfo", &contents, NULL, NULL) && (at = strstr (contents, "model name")) != NULL) {
    at = strchr (at, ':');
    model = at != NULL ? g_strndup (at + 2, strcspn (at + 2, "\n")) : NULL;
  }
  g_free (contents);
  return model != NULL ? model : g_strdup ("CPU not named");
}

gchar *
fanout_report_machine (gboolean with_gpu)
{
  gchar *cpu = cpu_model (), *version = gst_version_string ();
  gchar *gpu = with_gpu ? stamp_cuda_describe () : NULL;
  struct utsname kernel;
  gchar *text;

  uname (&kernel);
  text = g_strdup_printf ("* CPU: %s, %u cores\n* Kernel: %s %s, %s\n* %s\n%s%s%s", cpu, g_get_num_processors (), kernel.sysname,
      kernel.release, kernel.machine, version, gpu != NULL ? "* GPU: " : "", gpu != NULL ? gpu : "", gpu != NULL ? "\n" : "");
  g_free (cpu);
  g_free (version);
  g_free (gpu);
  return text;
}

/* Where the section starts, and in @ret_end where the next one does. */
static const gchar *
find_section (const gchar * contents, const gchar * heading, const gchar ** ret_end)
{
  const gchar *at = g_str_has_prefix (contents, heading) ? contents : NULL;
  gchar *within = g_strconcat ("\n", heading, NULL);

  if (at == NULL && (at = strstr (contents, within)) != NULL)
    at++;
  g_free (within);
  if (at == NULL)
    return NULL;
  *ret_end = strstr (at + 1, "\n## ");
  *ret_end = *ret_end != NULL ? *ret_end + 1 : at + strlen (at);
  return at;
}

gboolean
fanout_report_write_section (const gchar * path, const gchar * title, const gchar * text, GError ** error)
{
  gchar *contents = NULL, *heading = g_strdup_printf ("## %s\n", title);
  const gchar *start, *end = NULL;
  GString *whole = g_string_new (NULL);
  gboolean written;

  if (!g_file_get_contents (path, &contents, NULL, NULL))
    contents = g_strdup ("# Performance\n\nMeasured by tests/benchmarks/fanout; docs/benchmarking.md says what the columns mean.\n");
  start = find_section (contents, heading, &end);
  if (start == NULL)
    start = end = contents + strlen (contents);
  g_string_append_len (whole, contents, start - contents);
  if (*end == '\0' && whole->len > 1 && !g_str_has_suffix (whole->str, "\n\n"))
    g_string_append (whole, "\n");
  g_string_append_printf (whole, "%s\n%s%s%s", heading, text, *end != '\0' ? "\n" : "", end);
  written = g_file_set_contents (path, whole->str, (gssize) whole->len, error);
  g_string_free (whole, TRUE);
  g_free (heading);
  g_free (contents);
  return written;
}
