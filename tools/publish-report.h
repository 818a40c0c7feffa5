/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What cuframes-publish says while it runs: to people on standard error and one line in place on a terminal, or to machines. */
#ifndef PUBLISH_REPORT_H
#define PUBLISH_REPORT_H

#include "publish-outlet.h"

typedef struct
{
  const gchar *channel;
  gboolean as_json;
  gboolean is_quiet;            /* no status */
  gboolean is_terminal;
  gboolean has_line;            /* on the terminal, without its end */
  gint error;                   /* of standard output: an errno */
  PublishOutlet output, complaints;
} PublishReport;

typedef struct
{
  const gchar *state;
  const gchar *decoder;
  gdouble fps_in, fps_out;
  gdouble bits_per_second;
  guint64 packets;              /* that came in */
  guint64 frames, frame_drops, copies;
  guint64 packets_published, packet_drops;
  guint64 skipped;              /* packets that were not decoded */
  guint subscribers, packet_subscribers, audio_subscribers;
  guint connections;
  gdouble uptime_s;
} PublishStatus;

void publish_report_init (PublishReport * self, const gchar * channel, gboolean as_json, gboolean is_quiet);
void publish_report_clear (PublishReport * self);
gboolean publish_report_status (PublishReport * self, const PublishStatus * status);
gboolean publish_report_event (PublishReport * self, const gchar * event, gdouble delay_s, const gchar * format, ...) G_GNUC_PRINTF (4, 5);
void publish_report_complain (PublishReport * self, const gchar * text);

#endif
