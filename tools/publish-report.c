/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Nobody who does not read holds up the channels: a line that there is no room for is left out. */
#define _GNU_SOURCE
#include "publish-report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "text.h"

#define PROGRAM "cuframes-publish"

void
publish_report_init (PublishReport *self, const gchar *channel, gboolean as_json, gboolean is_quiet)
{
  *self = (PublishReport) {.channel = channel,.as_json = as_json,.is_quiet = is_quiet };
  self->is_terminal = !as_json && isatty (STDOUT_FILENO);
  publish_outlet_init (&self->output, STDOUT_FILENO);
  publish_outlet_init (&self->complaints, STDERR_FILENO);
}

void
publish_report_clear (PublishReport *self)
{
  publish_outlet_clear (&self->output);
  publish_outlet_clear (&self->complaints);
}

/* FALSE once standard output has failed; then self->error says why. */
static gboolean
put (PublishReport *self, const gchar *bytes, gsize size)
{
  if (self->error == 0)
    self->error = publish_outlet_put (&self->output, bytes, size);
  return self->error == 0;
}

/* On standard error, whose failure has nobody to be told of. channel: (nullable) */
static void
complain (PublishReport *self, const gchar *channel, const gchar *text)
{
  char *line = NULL;
  size_t size;
  FILE *out = open_memstream (&line, &size);

  if (out == NULL)
    return;
  fputs (PROGRAM ": ", out);
  if (channel != NULL) {
    text_put (out, channel);
    fputs (": ", out);
  }
  text_put (out, text);
  fputc ('\n', out);
  fclose (out);
  publish_outlet_put (&self->complaints, line, size);
  free (line);
}

static void
put_json_status (FILE *out, const PublishReport *self, const PublishStatus *s)
{
  fputs ("{\"event\":\"status\",\"channel\":", out);
  text_put_json (out, self->channel);
  fprintf (out, ",\"state\":\"%s\",\"decoder\":\"%s\",\"uptime_s\":%.3f,\"fps_in\":%.3f,\"fps_out\":%.3f,\"bits_per_second\":%.0f", s->state, s->decoder,
      s->uptime_s, s->fps_in, s->fps_out, s->bits_per_second);
  fprintf (out, ",\"packets_in\":%" G_GUINT64_FORMAT ",\"frames\":%" G_GUINT64_FORMAT ",\"drops\":%" G_GUINT64_FORMAT ",\"copies\":%" G_GUINT64_FORMAT,
      s->packets, s->frames, s->frame_drops, s->copies);
  fprintf (out, ",\"packets\":%" G_GUINT64_FORMAT ",\"packet_drops\":%" G_GUINT64_FORMAT ",\"skipped\":%" G_GUINT64_FORMAT, s->packets_published,
      s->packet_drops, s->skipped);
  fprintf (out, ",\"subscribers\":%u,\"packet_subscribers\":%u,\"audio_subscribers\":%u,\"connections\":%u}\n", s->subscribers, s->packet_subscribers,
      s->audio_subscribers, s->connections);
}

static void
put_plain_status (FILE *out, const PublishReport *self, const PublishStatus *s)
{
  text_put (out, self->channel);
  fprintf (out, ": %s  in %.1f fps %.2f Mbit/s  out %.1f fps  drops %" G_GUINT64_FORMAT "  skipped %" G_GUINT64_FORMAT "  subscribers %u, of packets %u",
      s->state, s->fps_in, s->bits_per_second / 1e6, s->fps_out, s->frame_drops + s->packet_drops, s->skipped, s->subscribers, s->packet_subscribers);
  if (s->audio_subscribers > 0)
    fprintf (out, ", of sound %u", s->audio_subscribers);
}

/* FALSE if standard output has failed. */
gboolean
publish_report_status (PublishReport *self, const PublishStatus *status)
{
  char *text = NULL;
  size_t size;
  gboolean good;
  FILE *out;

  if (self->is_quiet)
    return TRUE;
  out = open_memstream (&text, &size);
  if (out == NULL)
    return TRUE;
  if (self->as_json)
    put_json_status (out, self, status);
  else {
    if (self->is_terminal)
      fputs ("\r\033[K", out);
    put_plain_status (out, self, status);
    if (!self->is_terminal)
      fputc ('\n', out);
  }
  fclose (out);
  self->has_line = self->is_terminal;
  good = put (self, text, size);
  free (text);
  return good;
}

/* Leaves the terminal's line as it is and begins a new one. */
static void
end_line (PublishReport *self)
{
  if (self->has_line)
    put (self, "\n", 1);
  self->has_line = FALSE;
}

static gboolean
put_json_event (PublishReport *self, const gchar *event, gdouble delay_s, const gchar *sentence)
{
  char *text = NULL;
  size_t size;
  FILE *out = open_memstream (&text, &size);
  gboolean good;

  if (out == NULL)
    return TRUE;
  fprintf (out, "{\"event\":\"%s\",\"channel\":", event);
  text_put_json (out, self->channel);
  fputs (",\"text\":", out);
  text_put_json (out, sentence);
  if (delay_s >= 0)
    fprintf (out, ",\"delay_s\":%.3f", delay_s);
  fputs ("}\n", out);
  fclose (out);
  good = put (self, text, size);
  free (text);
  return good;
}

/* delay_s: negative if the event has none. FALSE if standard output has failed. */
gboolean
publish_report_event (PublishReport *self, const gchar *event, gdouble delay_s, const gchar *format, ...)
{
  gboolean good = TRUE;
  gchar *sentence;
  va_list args;

  va_start (args, format);
  sentence = g_strdup_vprintf (format, args);
  va_end (args);
  if (self->as_json)
    good = put_json_event (self, event, delay_s, sentence);
  else {
    end_line (self);
    complain (self, self->channel, sentence);
  }
  g_free (sentence);
  return good;
}

/* The one line that says why it ends. */
void
publish_report_complain (PublishReport *self, const gchar *text)
{
  end_line (self);
  complain (self, NULL, text);
}
